// Sums of the products of a window with FILTERS filters, of which only the non-zero weights are stored and multiplied.
//
//   window ──► every multiplier chooses a value by its index ──► dot product ──► sums after each round
//   rows: (weight, index) of every multiplier, last ──┘
//
// A window stays at the input for ROUNDS rounds, each with filters of its own. A round takes as many cycles as it has
// rows in the memory, of which the last one is marked: the schedule is static, and every round follows the one before
// at once. Multipliers with nothing to do have weights of zero. Latency: that of dot_product, 3 to 8 cycles, and one
// in which the first row is fetched.
// Order of words: window: position, bundle, column (fastest first); sums: filter, bundle, column; a row: lane, filter,
// bundle, each the weight and above it the index, then the mark.
module weight_engine #(
    parameter int POSITIONS = 9,    // values of a window
    parameter int MULTIPLIERS = 3,  // of each filter
    parameter int FILTERS = 1,      // side by side
    parameter int BUNDLES = 1,      // windows side by side, with weights of their own
    parameter int COLUMNS = 1,      // windows side by side that share weights
    parameter int ROUNDS = 1,       // blocks of filters that meet a window, one after the other
    parameter int ROWS = 4,         // of the memory
    parameter int DATA_BITS = 8,    // of a value, signed
    parameter int WEIGHT_BITS = 8,  // signed
    parameter int LANES = 0,        // 1: multiplier j chooses among the positions k with k mod MULTIPLIERS = j alone
    parameter int PRODUCTS = 1,     // 2: two columns share a DSP48; no weight may be −2^(WEIGHT_BITS−1)
    localparam int MAX_CHOICES = LANES != 0 ? (POSITIONS + MULTIPLIERS - 1) / MULTIPLIERS : POSITIONS,
    localparam int INDEX = MAX_CHOICES > 1 ? $clog2(MAX_CHOICES) : 1,
    localparam int ENTRY = WEIGHT_BITS + INDEX,
    localparam int SUM_BITS = DATA_BITS + WEIGHT_BITS + $clog2(POSITIONS),
    localparam int ADDRESS = ROWS > 1 ? $clog2(ROWS) : 1,
    localparam int ROW_BITS = BUNDLES * FILTERS * MULTIPLIERS * ENTRY + 1
) (
    input  logic                                           clock,
    input  logic                                           reset,
    input  logic                                           in_valid,
    output logic                                           in_ready,
    input  logic [COLUMNS*BUNDLES*POSITIONS*DATA_BITS-1:0] in_data,
    output logic                                           out_valid,
    input  logic                                           out_ready,
    output logic [   COLUMNS*BUNDLES*FILTERS*SUM_BITS-1:0] out_data,
    output logic                                           weight_enable,
    output logic [                            ADDRESS-1:0] weight_address,
    input  logic [                           ROW_BITS-1:0] weight_data
);
  if (POSITIONS < 1 || MULTIPLIERS < 1 || FILTERS < 1 || BUNDLES < 1 || ROUNDS < 1)
    $error("POSITIONS, MULTIPLIERS, FILTERS, BUNDLES and ROUNDS must be at least 1");
  if (DATA_BITS < 1 || WEIGHT_BITS < 1 || COLUMNS < 1 || ROWS < 1 || PRODUCTS < 1)
    $error("DATA_BITS, WEIGHT_BITS, COLUMNS, ROWS and PRODUCTS must be at least 1");
  if (MULTIPLIERS > POSITIONS) $error("MULTIPLIERS must be at most POSITIONS");
  if (ROWS < ROUNDS) $error("ROWS must be at least ROUNDS");
  if (MAX_CHOICES > 64) $error("POSITIONS must be so few that a multiplier chooses among 64 at most");
  if (DATA_BITS < 2 || DATA_BITS > 16) $error("DATA_BITS must be 2 to 16");
  if (WEIGHT_BITS < 2 || WEIGHT_BITS > 16) $error("WEIGHT_BITS must be 2 to 16");
  if (PRODUCTS > 2 || PRODUCTS == 2 && (COLUMNS < 2 || DATA_BITS > 8 || WEIGHT_BITS > 8))
    $error("PRODUCTS must be 1, or 2 with COLUMNS of at least 2, and DATA_BITS and WEIGHT_BITS of at most 8");

  logic step, move, start, last;
  logic [ROW_BITS-1:0] entries;  // block RAM is slow: its row waits in a register
  always_ff @(posedge clock) if (weight_enable) entries <= weight_data;
  assign last = entries[ROW_BITS-1];
  engine_control #(.ROWS(ROWS), .ROUNDS(ROUNDS)) control (
      .clock(clock), .reset(reset), .in_valid(in_valid), .in_ready(in_ready), .out_ready(out_ready), .last(last),
      .done(out_valid), .step(step), .move(move), .start(start), .enable(weight_enable), .address(weight_address)
  );

  localparam int SETS = (COLUMNS + PRODUCTS - 1) / PRODUCTS;  // columns that share DSPs
  logic [SETS*BUNDLES*FILTERS-1:0] done;
  assign out_valid = done[0];

  for (genvar s = 0; s < SETS; s++) begin : sets
    for (genvar b = 0; b < BUNDLES; b++) begin : bundles
      for (genvar f = 0; f < FILTERS; f++) begin : filters
        localparam int ENTRIES = (b * FILTERS + f) * MULTIPLIERS;
        logic [PRODUCTS*MULTIPLIERS*DATA_BITS-1:0] values;
        logic [MULTIPLIERS*WEIGHT_BITS-1:0] weights;
        logic [PRODUCTS*SUM_BITS-1:0] sum;
        for (genvar j = 0; j < MULTIPLIERS; j++) begin : lanes
          localparam int STRIDE = LANES != 0 ? MULTIPLIERS : 1;
          localparam int FROM = LANES != 0 ? j : 0;
          localparam int CHOICES = (POSITIONS - FROM + STRIDE - 1) / STRIDE;
          localparam int PLACE = CHOICES > 1 ? $clog2(CHOICES) : 1;
          logic [PLACE-1:0] place;
          assign place = entries[(ENTRIES+j)*ENTRY+WEIGHT_BITS+:PLACE];
          assign weights[j*WEIGHT_BITS+:WEIGHT_BITS] = entries[(ENTRIES+j)*ENTRY+:WEIGHT_BITS];
          for (genvar p = 0; p < PRODUCTS; p++) begin : columns
            localparam int WINDOW = ((s * PRODUCTS + p) * BUNDLES + b) * POSITIONS;
            logic [DATA_BITS-1:0] chosen;
            assign values[(p*MULTIPLIERS+j)*DATA_BITS+:DATA_BITS] = chosen;
            if (s * PRODUCTS + p < COLUMNS) begin : real_column
              logic [CHOICES*DATA_BITS-1:0] words;
              for (genvar k = 0; k < CHOICES; k++) begin : choices
                assign words[k*DATA_BITS+:DATA_BITS] = in_data[(WINDOW+k*STRIDE+FROM)*DATA_BITS+:DATA_BITS];
              end
              choose #(.CHOICES(CHOICES), .BITS(DATA_BITS)) choice (.words(words), .place(place), .chosen(chosen));
            end else assign chosen = 0;
          end
        end
        dot_product #(
            .LANES(MULTIPLIERS), .DATA_BITS(DATA_BITS), .WEIGHT_BITS(WEIGHT_BITS), .SUM_BITS(SUM_BITS),
            .PRODUCTS(PRODUCTS)
        ) dot (
            .clock(clock), .reset(reset), .move(move), .first(start), .last(step && last), .idle(MULTIPLIERS'(0)),
            .values(values), .weights(weights), .done(done[(s*BUNDLES+b)*FILTERS+f]), .sum(sum)
        );
        for (genvar p = 0; p < PRODUCTS; p++) begin : results
          if (s * PRODUCTS + p < COLUMNS) begin : real_column
            assign out_data[(((s*PRODUCTS+p)*BUNDLES+b)*FILTERS+f)*SUM_BITS+:SUM_BITS] = sum[p*SUM_BITS+:SUM_BITS];
          end
        end
      end
    end
  end
endmodule
