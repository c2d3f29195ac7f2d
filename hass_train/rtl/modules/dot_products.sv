// The dot products of FILTERS filters with the same activations, on MULTIPLIERS lanes: chains of DSPs, each of which
// adds its product to what its neighbour hands on. Lane d of a chain works d·SKEW cycles after its first:
//
//   activations ─┬────────[2 cycles]──×  lane 0    IN_DSP = 0: SKEW = 1, and an accumulator adds a round's steps up
//                ├─[SKEW]─[2 cycles]──×  lane 1    IN_DSP = 1: SKEW = STEPS; each DSP adds up its own steps, beginning
//                ⋮                    ▼                        with the whole sum of its neighbour: no accumulators
//                                   sums
//
// Weights come a cycle after their activations, and wait in a register: block RAM and multipliers are slow. In lanes 4
// to 7 of a chain they come 4 cycles later than that, in lanes 8 to 11 8, and so on; with IN_DSP in every lane when it
// works. Sums come 4 cycles after the last lane's step, one more with an accumulator, and one for each level of the tree
// that adds chains.
//
// Products: with PRODUCTS = 2 two filters share a DSP, (w1·2^FIELD + w0)·a; with PRODUCTS = 4 two columns do too, that
// is (w1·2^FIELD + w0)·(a1·2^(2·FIELD) + a0). Every field but the top one starts at half its range, so that none ever
// borrows from the next: it is read by inverting its highest bit, without a correction. Chains are no longer than four
// lanes then, which fields hold, unless IN_DSP, where they must hold a whole round. Weights come packed: that of an odd
// filter less one where that of the even one before it is negative; none is −2^(WEIGHT_BITS−1). An odd last filter has
// DSPs of its own.
module dot_products #(
    parameter int MULTIPLIERS = 3,  // of a filter
    parameter int FILTERS = 4,      // with the same activations
    parameter int COLUMNS = 1,      // 2 only with PRODUCTS = 4
    parameter int DATA_BITS = 8,    // signed, as all
    parameter int WEIGHT_BITS = 8,
    parameter int SUM_BITS = 20,    // enough for all pairs of a round
    parameter int STEPS = 3,        // the most that a round takes
    parameter int PRODUCTS = 1,     // a DSP
    parameter int IN_DSP = 0        // 1: DSPs accumulate
) (
    input  logic                                          clock,
    input  logic                                          move,         // all registers wait without it
    input  logic                                          further,      // a step comes, and its round goes on
    input  logic [     COLUMNS*MULTIPLIERS*DATA_BITS-1:0] activations,  // lane fastest
    input  logic [MULTIPLIERS*FILTERS*WEIGHT_BITS-1:0]    weights,      // filter fastest, then lane
    output logic [          COLUMNS*FILTERS*SUM_BITS-1:0] sums          // filter fastest
);
  localparam int CHAINS = PRODUCTS > 1 && IN_DSP == 0 ? (MULTIPLIERS + 3) / 4 : 1;
  localparam int LONGEST = (MULTIPLIERS + CHAINS - 1) / CHAINS;
  localparam int SKEW = IN_DSP != 0 ? STEPS : 1;
  localparam int FIELD = IN_DSP == 0 ? DATA_BITS + WEIGHT_BITS + 1  // four products
      : PRODUCTS == 4 ? (24 - DATA_BITS) / 2 : 25 - WEIGHT_BITS;  // as many as go into a DSP
  localparam int LEVELS = $clog2(CHAINS);
  localparam int X_BITS = COLUMNS == 2 ? 2 * FIELD + DATA_BITS + 1 : DATA_BITS;

  // the operands on the activations' side, once for all filters, but for the two registers that DSPs have
  logic [MULTIPLIERS*X_BITS-1:0] operands;
  logic [MULTIPLIERS-1:0] flags;  // where a lane adds its product: begins (IN_DSP), or else goes on with, a sum
  for (genvar c = 0; c < CHAINS; c++) begin : skewed
    localparam int START = c * MULTIPLIERS / CHAINS, LENGTH = (c + 1) * MULTIPLIERS / CHAINS - START;
    for (genvar i = 0; i < LENGTH; i++) begin : lanes
      localparam int LANE = START + i, CYCLES = (i + LONGEST - LENGTH) * SKEW;
      logic signed [X_BITS-1:0] operand;
      if (COLUMNS == 2) begin : two
        logic signed [DATA_BITS-1:0] low, high;
        assign low = activations[LANE*DATA_BITS+:DATA_BITS];
        assign high = activations[(MULTIPLIERS+LANE)*DATA_BITS+:DATA_BITS];
        logic signed [DATA_BITS:0] above;
        assign above = high - $signed({1'b0, low[DATA_BITS-1]});
        assign operand = {above, {2 * FIELD - DATA_BITS{low[DATA_BITS-1]}}, low};
      end else begin : one
        assign operand = activations[LANE*DATA_BITS+:DATA_BITS];
      end
      delay #(.WIDTH(X_BITS), .CYCLES(CYCLES)) skew (
          .clock(clock), .enable(move), .in(operand), .out(operands[LANE*X_BITS+:X_BITS])
      );
      delay #(.CYCLES(CYCLES + 4), .WIDTH(1)) skew_flag (
          .clock(clock), .enable(move), .in(IN_DSP != 0 ? !further : further), .out(flags[LANE])
      );
    end
  end
  logic sum_further;  // where accumulators add what comes out of chains
  delay #(.CYCLES((LONGEST - 1) * SKEW + 4 + LEVELS), .WIDTH(1)) skew_sum_further (
      .clock(clock), .enable(move), .in(further), .out(sum_further)
  );

  localparam int TOGETHER = PRODUCTS > 1 ? 2 : 1;
  for (genvar f = 0; f < FILTERS; f += TOGETHER) begin : filters
    localparam int HERE = f + TOGETHER > FILTERS ? 1 : TOGETHER;  // an odd one stays alone
    localparam int TOP = (HERE - 1) * FIELD + (COLUMNS - 1) * 2 * FIELD;  // where the top field begins
    localparam int CHAIN_BITS = TOP == 0 ? SUM_BITS : TOP + FIELD > 48 ? 48 : TOP + FIELD;
    localparam int Y_BITS = (HERE - 1) * FIELD + WEIGHT_BITS;
    localparam logic [47:0] HALF = 48'd1 << (FIELD - 1);
    localparam logic [47:0] BELOW = TOP == 0 ? 48'd0 : HERE == 1 || COLUMNS == 1 ? HALF
        : HALF | HALF << FIELD | HALF << 2 * FIELD;
    localparam bit IN_FABRIC = IN_DSP == 0 && STEPS > 1;
    localparam bit FOLLOWED = IN_FABRIC && PRODUCTS == 1;  // the accumulator of a DSP that can

    logic [CHAINS*CHAIN_BITS-1:0] totals;
    for (genvar c = 0; c < CHAINS; c++) begin : chains
      localparam int START = c * MULTIPLIERS / CHAINS, LENGTH = (c + 1) * MULTIPLIERS / CHAINS - START;
      logic signed [CHAIN_BITS-1:0] handed[LENGTH+1];
      assign handed[0] = BELOW[CHAIN_BITS-1:0];
      for (genvar i = 0; i < LENGTH; i++) begin : lanes
        localparam int LANE = START + i, DELAY = i + LONGEST - LENGTH, CYCLES = DELAY * SKEW;
        localparam int NEEDED = X_BITS + Y_BITS + $clog2(i + 1);
        localparam int AHEAD = IN_DSP != 0 ? 0 : DELAY % 4;  // cycles that weights come before they are wanted
        logic signed [Y_BITS-1:0] weight, late;
        logic signed [WEIGHT_BITS-1:0] low;
        assign low = weights[(LANE*FILTERS+f)*WEIGHT_BITS+:WEIGHT_BITS];
        if (HERE == 1) assign weight = low;
        else assign weight = {
              weights[(LANE*FILTERS+f+1)*WEIGHT_BITS+:WEIGHT_BITS], {FIELD - WEIGHT_BITS{low[WEIGHT_BITS-1]}}, low
            };
        delay #(.WIDTH(Y_BITS), .CYCLES(AHEAD > 1 ? AHEAD - 1 : 0)) wait_more (
            .clock(clock), .enable(move), .in(weight), .out(late)
        );
        multiply_add #(
            .X_BITS(X_BITS), .Y_BITS(Y_BITS), .SUM_BITS(CHAIN_BITS),
            .USED_BITS(TOP == 0 && NEEDED < CHAIN_BITS ? NEEDED : CHAIN_BITS), .X_REGISTERS(2),
            .Y_REGISTERS(AHEAD > 1 ? 2 : AHEAD + 1),
            .ACCUMULATE(IN_DSP != 0 && STEPS > 1 ? 1 : FOLLOWED && i == LENGTH - 1 ? 2 : 0)
        ) dsp (
            .clock(clock), .move(move), .begins(flags[LANE]), .further(flags[LANE]), .x(operands[LANE*X_BITS+:X_BITS]), .y(late),
            .sum_in(handed[i]), .sum(handed[i+1])
        );
      end
      assign totals[c*CHAIN_BITS+:CHAIN_BITS] = handed[LENGTH];
    end

    for (genvar k = 0; k < HERE * COLUMNS; k++) begin : fields
      localparam int PLACE = (k % HERE) * FIELD + (k / HERE) * 2 * FIELD;
      localparam int SUM = (k / HERE) * FILTERS + f + k % HERE;
      if (TOP == 0 && PRODUCTS == 1) begin : whole
        assign sums[SUM*SUM_BITS+:SUM_BITS] = totals[SUM_BITS-1:0];
      end else begin : part
        field_sums #(
            .TERMS(CHAINS), .IN_BITS(CHAIN_BITS), .PLACE(PLACE), .FIELD(FIELD), .TOP(PLACE == TOP),
            .SUM_BITS(SUM_BITS), .ACCUMULATE(IN_FABRIC)
        ) sum (
            .clock(clock), .move(move), .further(sum_further), .in(totals), .sum(sums[SUM*SUM_BITS+:SUM_BITS])
        );
      end
    end
  end
endmodule
