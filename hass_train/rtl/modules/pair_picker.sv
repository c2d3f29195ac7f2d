// Keeps the pairs of non-zeros of a round among CHOICES places, and picks the first PICKS of them in each cycle.
//
//   `load`: non-zero values, non-zero weights ──► pairs left ──► the first ones ──► places
//                                                  ▲        └──► the others ──┐
//                                                  └──────────────────────────┘
//
// Pick n goes to the n-th pair left, and is idle if there is none; its place is then a valid one all the same.
// `ended`: no pair remains after this cycle.
module pair_picker #(
    parameter int CHOICES = 3,
    parameter int PICKS = 1,
    localparam int PLACE = CHOICES > 1 ? $clog2(CHOICES) : 1
) (
    input  logic                   clock,
    input  logic                   move,
    input  logic                   load,
    input  logic [    CHOICES-1:0] nonzero,
    input  logic [    CHOICES-1:0] zero_weight,
    output logic [PICKS*PLACE-1:0] places,
    output logic [      PICKS-1:0] idle,
    output logic                   ended
);
  localparam int GROUPS = (CHOICES + 3) / 4;  // of four places
  logic [CHOICES-1:0] rest, left;  // rest: after this cycle
  logic [CHOICES:0] found[PICKS+2];  // [n][k]: at least n pairs are below place k
  logic [GROUPS-1:0] in_group[5];  // [n][g]: at least n pairs are in a group

  for (genvar g = 0; g < GROUPS; g++) begin : groups
    logic a, b, c, d;
    assign {d, c, b, a} = 4'(left >> 4 * g);
    assign in_group[0][g] = 1;
    assign in_group[1][g] = a | b | c | d;
    assign in_group[2][g] = a & b | c & d | (a | b) & (c | d);
    assign in_group[3][g] = a & b & (c | d) | (a | b) & c & d;
    assign in_group[4][g] = a & b & c & d;
  end
  assign found[0] = '1;
  for (genvar n = 1; n <= PICKS + 1; n++) begin : counts
    assign found[n][0] = 0;
    for (genvar k = 1; k <= CHOICES; k++)
      if (k % 4 == 0 || k == CHOICES) begin : group_ends  // by whole groups, so that it is fast
        logic [4:0] ways;
        for (genvar i = 0; i < 5; i++) assign ways[i] = i <= n ? found[i<=n?n-i:0][(k-1)/4*4] & in_group[i][(k-1)/4] : 0;
        assign found[n][k] = |ways;
      end else assign found[n][k] = found[n][k-1] | found[n-1][k-1] & left[k-1];
  end

  assign rest = left & found[PICKS][CHOICES-1:0];
  // pairs that are loaded have a register of their own, so that `load` need not be early
  logic fresh;
  logic [CHOICES-1:0] loaded, kept;
  assign left = fresh ? loaded : kept;
  always_ff @(posedge clock)
    if (move) begin
      fresh  <= load;
      loaded <= nonzero & ~zero_weight;
      kept   <= rest;
    end
  assign ended = !found[PICKS+1][CHOICES];

  for (genvar n = 0; n < PICKS; n++) begin : picks
    // the number of places above the first without a pair below them, by halving: a bit asks at the place in the middle
    logic [2**PLACE-1:0] below;
    (* keep *) logic [PLACE-1:0] place;  // else synthesis mixes it with what it chooses, in its own way
    assign below = (2 ** PLACE)'({{2 ** PLACE{1'b1}}, found[n+1][CHOICES-1:0]});
    for (genvar i = 0; i < PLACE; i++) begin : place_bits
      localparam int MIDDLES = 2 ** (PLACE - 1 - i);
      logic [MIDDLES-1:0] middles;
      logic one;
      for (genvar m = 0; m < MIDDLES; m++) assign middles[m] = below[(2*m+1)<<i];
      if (MIDDLES == 1) assign one = middles[0];
      else begin : several
        choose #(.CHOICES(MIDDLES), .BITS(1)) choice (.words(middles), .place(place[PLACE-1:i+1]), .chosen(one));
      end
      assign place[i] = !one;
    end
    assign places[n*PLACE+:PLACE] = place;
    assign idle[n] = !found[n+1][CHOICES];
  end
endmodule
