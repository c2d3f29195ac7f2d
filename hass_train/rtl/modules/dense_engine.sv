// Sums of products of windows with filters, all pairs of them: MULTIPLIERS multipliers for each filter take a window of
// POSITIONS values in STEPS cycles, position step·MULTIPLIERS + lane in lane `lane`.
//
//   window ──► a value per lane ──► dot_products, per bundle and column ──► sums          weights: row by row, in order
//
// in: one window, position fastest, then bundle, then column. It stays there for ROUNDS·STEPS cycles.
// out: ROUNDS words a window, filter fastest, then bundle, then column; the weights of round r of pass p are those of
// rows (p·ROUNDS + r)·STEPS and following; windows take passes in turn.
// weight: a row holds BUNDLES × MULTIPLIERS × FILTERS weights, filter fastest, then lane, packed as in `dot_products`;
// zeros where a lane has no position in the last step. Every port reads all rows, each a little later than the one
// before, and lane j looks at port j / LANES only: a memory of these lanes' weights is enough for a port.
// A round takes STEPS cycles. Sums come LATENCY cycles after its last one.
module dense_engine #(
    parameter int POSITIONS = 9,    // pairs of a round, a filter
    parameter int MULTIPLIERS = 3,  // of a filter, at most POSITIONS
    parameter int FILTERS = 4,      // side by side, with the same activations
    parameter int BUNDLES = 1,      // side by side, with their own activations and weights; sums stay apart
    parameter int COLUMNS = 1,      // side by side, with their own activations and the same weights
    parameter int ROUNDS = 1,       // filter blocks that meet a window
    parameter int PASSES = 1,       // windows until weights repeat
    parameter int DATA_BITS = 8,    // signed
    parameter int WEIGHT_BITS = 8,  // signed
    parameter int PRODUCTS = 1,     // a DSP: 2 = two filters, 4 = two filters × two columns
    parameter int IN_DSP = 0,       // 1: DSPs accumulate, at the price of delays that filters share
    localparam int STEPS = (POSITIONS + MULTIPLIERS - 1) / MULTIPLIERS,
    localparam int DEPTH = PASSES * ROUNDS * STEPS,
    localparam int ADDRESS = DEPTH > 1 ? $clog2(DEPTH) : 1,
    localparam int CHAINS = PRODUCTS > 1 && IN_DSP == 0 ? (MULTIPLIERS + 3) / 4 : 1,
    localparam int LONGEST = (MULTIPLIERS + CHAINS - 1) / CHAINS,
    localparam int LANES = IN_DSP != 0 ? 1 : CHAINS > 1 ? MULTIPLIERS : 4,
    localparam int PORTS = (MULTIPLIERS + LANES - 1) / LANES,
    localparam int ROW = BUNDLES * MULTIPLIERS * FILTERS * WEIGHT_BITS,
    localparam int SUM_BITS = DATA_BITS + WEIGHT_BITS + $clog2(POSITIONS)
) (
    input  logic                                           clock,
    input  logic                                           reset,
    input  logic                                           in_valid,
    output logic                                           in_ready,
    input  logic [COLUMNS*BUNDLES*POSITIONS*DATA_BITS-1:0] in_data,
    output logic [                              PORTS-1:0] weight_enable,
    output logic [                      PORTS*ADDRESS-1:0] weight_address,
    input  logic [                          PORTS*ROW-1:0] weight_data,
    output logic                                           out_valid,
    input  logic                                           out_ready,
    output logic [   COLUMNS*BUNDLES*FILTERS*SUM_BITS-1:0] out_data
);
  localparam int SKEW = IN_DSP != 0 ? STEPS : 1;
  localparam int LATENCY = 4 + (LONGEST - 1) * SKEW + $clog2(CHAINS) + (IN_DSP == 0 && STEPS > 1 ? 1 : 0);

  localparam int FIELD = PRODUCTS == 4 ? (24 - DATA_BITS) / 2 : 25 - WEIGHT_BITS;  // of a DSP that is shared
  localparam int CAPACITY = ((1 << (FIELD - 1)) - 1) / ((1 << (DATA_BITS - 1)) * ((1 << (WEIGHT_BITS - 1)) - 1));

  if (POSITIONS < 1 || MULTIPLIERS < 1 || FILTERS < 1 || BUNDLES < 1 || ROUNDS < 1 || PASSES < 1 || PRODUCTS < 1
      || COLUMNS < 1)
    $error("POSITIONS, MULTIPLIERS, FILTERS, BUNDLES, ROUNDS, PASSES, PRODUCTS and COLUMNS must be at least 1");
  if (MULTIPLIERS > POSITIONS) $error("MULTIPLIERS must be at most POSITIONS");
  if (IN_DSP > 1) $error("IN_DSP must be 0 or 1");
  if (PRODUCTS != 1 && PRODUCTS != 2 && PRODUCTS != 4) $error("PRODUCTS must be 1, 2 or 4");
  if (PRODUCTS > 1 && FILTERS == 1) $error("PRODUCTS must be 1 where FILTERS is");
  if (PRODUCTS == 4 && COLUMNS == 1) $error("PRODUCTS must be at most 2 where COLUMNS is 1");
  if (PRODUCTS > 1 && (DATA_BITS > 16 / PRODUCTS || WEIGHT_BITS > 16 / PRODUCTS))
    $error("DATA_BITS and WEIGHT_BITS must be at most 16/PRODUCTS");
  if (IN_DSP != 0 && PRODUCTS > 1 && POSITIONS > CAPACITY) $error("IN_DSP must be 0: DSPs sum too few products up");
  if (DATA_BITS < 4 || DATA_BITS > 16 || WEIGHT_BITS < 4 || WEIGHT_BITS > 16)
    $error("DATA_BITS and WEIGHT_BITS must be 4 to 16");

  logic move, last_step, last_round;
  assign move = !out_valid || out_ready;
  assign in_ready = move && last_step && last_round;

  // where it is: rows are counted, and steps and rounds are bits of that where they can be
  localparam int STEP = STEPS > 1 ? $clog2(STEPS) : 1;
  logic [ADDRESS-1:0] row;
  logic [STEP-1:0] step;
  row_counter #(.DEPTH(DEPTH), .STEPS(STEPS), .ROUNDS(ROUNDS)) counter (
      .clock(clock), .reset(reset), .enable(move && in_valid), .row(row), .step(step), .last_step(last_step),
      .last_round(last_round)
  );

  logic [LATENCY-1:0] ending;  // rounds that are under way: after their last steps
  always_ff @(posedge clock) begin
    if (reset) ending <= '0;
    else if (move) ending <= {ending[LATENCY-2:0], in_valid && last_step};
  end
  assign out_valid = ending[LATENCY-1];

  logic [PORTS*ADDRESS-1:0] rows;
  assign weight_enable = {PORTS{move}};
  assign weight_address = rows;
  for (genvar p = 0; p < PORTS; p++) begin : ports
    if (p == 0) assign rows[ADDRESS-1:0] = row;
    else begin : later
      delay #(.WIDTH(ADDRESS), .CYCLES(LANES * SKEW)) skew (
          .clock(clock), .enable(move), .in(rows[(p-1)*ADDRESS+:ADDRESS]), .out(rows[p*ADDRESS+:ADDRESS])
      );
    end
  end

  localparam int PAIR = PRODUCTS == 4 ? 2 : 1;  // columns that share DSPs
  for (genvar c = 0; c < COLUMNS; c += PAIR) begin : columns
    for (genvar b = 0; b < BUNDLES; b++) begin : bundles
      localparam int HERE = c + PAIR > COLUMNS ? 1 : PAIR;
      logic [HERE*MULTIPLIERS*DATA_BITS-1:0] activations;
      logic [MULTIPLIERS*FILTERS*WEIGHT_BITS-1:0] weights;
      logic [HERE*FILTERS*SUM_BITS-1:0] sums;
      for (genvar j = 0; j < MULTIPLIERS; j++) begin : lanes
        localparam int FROM = (b * MULTIPLIERS + j) * FILTERS * WEIGHT_BITS;
        assign weights[j*FILTERS*WEIGHT_BITS+:FILTERS*WEIGHT_BITS] =
            weight_data[j/LANES*ROW+FROM+:FILTERS*WEIGHT_BITS];
        for (genvar k = 0; k < HERE; k++) begin : values
          localparam int PLACES = (POSITIONS - j + MULTIPLIERS - 1) / MULTIPLIERS;
          localparam int WIDE = PLACES == 1 << $clog2(PLACES) ? PLACES : STEPS, BITS = $clog2(WIDE);
          logic [WIDE*DATA_BITS-1:0] choices;
          for (genvar s = 0; s < WIDE; s++) begin : steps
            localparam int POSITION = (s < PLACES ? s : 0) * MULTIPLIERS + j;  // where there is none, weights are zero
            assign choices[s*DATA_BITS+:DATA_BITS] = in_data[(((c+k)*BUNDLES+b)*POSITIONS+POSITION)*DATA_BITS+:DATA_BITS];
          end
          if (BITS == 0) assign activations[(k*MULTIPLIERS+j)*DATA_BITS+:DATA_BITS] = choices;
          else begin : several
            logic [DATA_BITS-1:0] chosen;
            choose #(.CHOICES(WIDE), .BITS(DATA_BITS)) choice (.words(choices), .place(step[BITS-1:0]), .chosen(chosen));
            assign activations[(k*MULTIPLIERS+j)*DATA_BITS+:DATA_BITS] = chosen;
          end
        end
      end
      dot_products #(
          .MULTIPLIERS(MULTIPLIERS), .FILTERS(FILTERS), .COLUMNS(HERE), .DATA_BITS(DATA_BITS),
          .WEIGHT_BITS(WEIGHT_BITS), .SUM_BITS(SUM_BITS), .STEPS(STEPS), .PRODUCTS(PRODUCTS), .IN_DSP(IN_DSP)
      ) products (
          .clock(clock), .move(move), .further(in_valid && !last_step), .activations(activations),
          .weights(weights), .sums(sums)
      );
      for (genvar k = 0; k < HERE; k++) begin : outputs
        assign out_data[((c+k)*BUNDLES+b)*FILTERS*SUM_BITS+:FILTERS*SUM_BITS] =
            sums[k*FILTERS*SUM_BITS+:FILTERS*SUM_BITS];
      end
    end
  end
endmodule
