// Picks the first PICKS pairs of non-zeros among CHOICES places in each cycle, until none is left and the round ends.
//
// The places behind the last one picked stay open for the next cycle. Pick n goes to the n-th pair still open, and is
// idle if there is none; its place is then a valid one all the same. `ended`: no pair remains after this cycle. A round
// ends (`leave`) when all pickers have, and all places are open in its first cycle (`start`).
module pair_picker #(
    parameter int CHOICES = 3,
    parameter int PICKS = 1,
    localparam int PLACE = CHOICES > 1 ? $clog2(CHOICES) : 1
) (
    input  logic                   clock,
    input  logic                   reset,
    input  logic                   step,
    input  logic                   start,
    input  logic                   leave,
    input  logic [    CHOICES-1:0] nonzero,
    input  logic [    CHOICES-1:0] zero_weight,
    output logic [PICKS*PLACE-1:0] places,
    output logic [      PICKS-1:0] idle,
    output logic                   ended
);
  logic [CHOICES-1:0] open, pairs;
  logic [CHOICES:0] found[PICKS+1];  // [n][k]: at least n pairs are below place k

  assign pairs = nonzero & ~zero_weight & open;
  assign found[0] = '1;
  for (genvar n = 1; n <= PICKS; n++) begin : counts
    assign found[n][0] = 0;
    for (genvar k = 0; k < CHOICES; k++) assign found[n][k+1] = found[n][k] | found[n-1][k] & pairs[k];
  end

  assign ended = ~|(pairs & found[PICKS][CHOICES-1:0]);
  if (CHOICES == 1) assign open = start;
  else begin : several
    logic [CHOICES-1:1] later;
    assign open = {later, start};
    always_ff @(posedge clock)
      if (reset || step && leave) later <= '1;
      else if (step) later <= found[PICKS][CHOICES-1:1];
  end

  for (genvar n = 0; n < PICKS; n++) begin : picks
    // the number of places above the first without a pair below them, by halving: a bit asks at the place in the middle
    logic [2**PLACE-1:0] below;
    (* keep *) logic [PLACE-1:0] place;  // seen by nobody but `choose`, synthesis would mix both in its own way
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
