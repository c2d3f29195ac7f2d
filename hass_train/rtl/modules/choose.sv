// Chooses one of CHOICES words by its place, without a register. It is written so that synthesis takes few LUTs for any
// number of choices: a LUT of six inputs chooses among 4 bits, four LUTs and the multiplexers behind them among 16.
//
//   16 words ──► 16:1 ──┐
//   16 words ──► 16:1 ──┼─► gated by the high bits of the place, and ored
//    4 words ──►  4:1 ──┘
//
// A place beyond the last word gives any value.
module choose #(
    parameter int CHOICES = 9,
    parameter int BITS = 8,  // of a word
    localparam int PLACE = CHOICES > 1 ? $clog2(CHOICES) : 1
) (
    input  logic [CHOICES*BITS-1:0] words,
    input  logic [       PLACE-1:0] place,
    output logic [        BITS-1:0] chosen
);
  localparam int SIXTEENS = (CHOICES + 3) / 16;  // a block of 13 to 15 words is one, too
  localparam int FOURS = CHOICES > 16 * SIXTEENS ? (CHOICES - 16 * SIXTEENS + 3) / 4 : 0;

  logic [5:0] at;
  assign at = 6'(place);

  for (genvar b = 0; b < BITS; b++) begin : bits
    logic [63:0] bit_of;
    logic [SIXTEENS+FOURS-1:0] part;
    for (genvar k = 0; k < 64; k++) begin : words_of
      if (k < CHOICES) assign bit_of[k] = words[k*BITS+b];
      else assign bit_of[k] = 1'bx;
    end
    for (genvar g = 0; g < SIXTEENS; g++) begin : sixteens
      logic [15:0] each;
      logic one;
      assign each = bit_of[16*g+:16];
      assign one = each[at[3:0]];
      assign part[g] = one & (SIXTEENS + FOURS == 1 || at[5:4] == g);
    end
    for (genvar q = 0; q < FOURS; q++) begin : fours
      localparam int START = 16 * SIXTEENS + 4 * q;
      logic [3:0] each;
      logic one;
      assign each = bit_of[START+:4];
      if (CHOICES - START == 1) assign one = each[0];
      else if (CHOICES - START == 2) assign one = each[1] & at[0] | each[0] & ~at[0];
      else if (CHOICES - START == 3) assign one = each[2] & at[1] | ~at[1] & (each[1] & at[0] | each[0] & ~at[0]);
      else
        assign one = at[1] & (each[3] & at[0] | each[2] & ~at[0]) | ~at[1] & (each[1] & at[0] | each[0] & ~at[0]);
      assign part[SIXTEENS+q] = one & (SIXTEENS + FOURS == 1 || at[5:2] == START / 4);
    end
    assign chosen[b] = |part;
  end
endmodule
