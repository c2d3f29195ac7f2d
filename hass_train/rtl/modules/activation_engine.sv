// Sums of products of windows with filters, without the pairs whose activation is zero: MULTIPLIERS lanes share
// a window of POSITIONS values, position step·MULTIPLIERS + lane in lane `lane`, and each lane takes its
// activations that are not zero, one a cycle. A round takes as long as the fullest lane of any bundle, at least one.
//
//   window ──► register ──► lane_picker, per lane ─┬─ value ──────────────────► dot_products, per bundle ──► sums
//                                                  └─ step ──► row ──► weights ──┘
//
// in: one window, position fastest, then bundle. It stays there until it is loaded for the last of its ROUNDS rounds; a
// round is loaded while the one before ends.
// out: ROUNDS words a window, filter fastest, then bundle; the weights of round r of pass p and a step are those of
// row block·STEPS + step where block = p·ROUNDS + r; but step·BLOCKS + block if that saves adders, which is where only
// BLOCKS = PASSES·ROUNDS is a power of two. Windows take passes in turn.
// weight: a row holds BUNDLES × MULTIPLIERS × FILTERS weights, filter fastest, then lane, packed as in `dot_products`.
// Port bundle·MULTIPLIERS + lane looks only at the FILTERS weights of its bundle and lane: a memory of these is enough.
// The sums come LATENCY cycles after the last one of their round.
module activation_engine #(
    parameter int POSITIONS = 9,    // pairs of a round, a filter
    parameter int MULTIPLIERS = 3,  // of a filter, at most POSITIONS
    parameter int FILTERS = 4,      // side by side, with the same activations
    parameter int BUNDLES = 1,      // side by side in lock-step, with their own activations and weights and sums
    parameter int ROUNDS = 1,       // filter blocks that meet a window
    parameter int PASSES = 1,       // windows until weights repeat
    parameter int DATA_BITS = 8,    // signed
    parameter int WEIGHT_BITS = 8,  // signed
    parameter int PRODUCTS = 1,     // a DSP: 2 = two filters
    localparam int STEPS = (POSITIONS + MULTIPLIERS - 1) / MULTIPLIERS,
    localparam int DEPTH = PASSES * ROUNDS * STEPS,
    localparam int ADDRESS = DEPTH > 1 ? $clog2(DEPTH) : 1,
    localparam int PORTS = BUNDLES * MULTIPLIERS,
    localparam int ROW = PORTS * FILTERS * WEIGHT_BITS,
    localparam int SUM_BITS = DATA_BITS + WEIGHT_BITS + $clog2(POSITIONS)
) (
    input  logic                                   clock,
    input  logic                                   reset,
    input  logic                                   in_valid,
    output logic                                   in_ready,
    input  logic [BUNDLES*POSITIONS*DATA_BITS-1:0] in_data,
    output logic [                      PORTS-1:0] weight_enable,
    output logic [              PORTS*ADDRESS-1:0] weight_address,
    input  logic [                  PORTS*ROW-1:0] weight_data,
    output logic                                   out_valid,
    input  logic                                   out_ready,
    output logic [   BUNDLES*FILTERS*SUM_BITS-1:0] out_data
);
  localparam int CHAINS = PRODUCTS > 1 ? (MULTIPLIERS + 3) / 4 : 1;
  localparam int LONGEST = (MULTIPLIERS + CHAINS - 1) / CHAINS;
  localparam int LATENCY = 5 + LONGEST - 1 + $clog2(CHAINS) + (STEPS > 1 ? 1 : 0);
  localparam int STEP = STEPS > 1 ? $clog2(STEPS) : 1;
  localparam int GROUPS = (LONGEST + 3) / 4;  // of lanes of a chain, whose rows are read at the same time

  if (POSITIONS < 1 || MULTIPLIERS < 1 || FILTERS < 1 || BUNDLES < 1 || ROUNDS < 1 || PASSES < 1 || PRODUCTS < 1)
    $error("POSITIONS, MULTIPLIERS, FILTERS, BUNDLES, ROUNDS, PASSES and PRODUCTS must be at least 1");
  if (MULTIPLIERS > POSITIONS) $error("MULTIPLIERS must be at most POSITIONS");
  if (PRODUCTS != 1 && PRODUCTS != 2) $error("PRODUCTS must be 1 or 2");
  if (PRODUCTS > 1 && FILTERS == 1) $error("PRODUCTS must be 1 where FILTERS is");
  if (DATA_BITS < 4 || DATA_BITS > 16 / PRODUCTS || WEIGHT_BITS < 4 || WEIGHT_BITS > 16 / PRODUCTS)
    $error("DATA_BITS and WEIGHT_BITS must be 4 to 16/PRODUCTS");

  logic move, free, load, full, more, last_round;  // full: a round is being picked
  logic [PORTS-1:0] each_more;
  assign move = !out_valid || out_ready;
  assign more = |each_more;
  assign free = !full || !more;
  assign load = move && free && in_valid;
  assign in_ready = move && free && last_round;

  logic [LATENCY-1:0] ending;  // rounds that are under way: after their last steps
  logic loaded;
  logic [BUNDLES*POSITIONS*DATA_BITS-1:0] taken, window;  // window: beside what is picked
  always_ff @(posedge clock) begin
    if (move) taken <= in_data;
    if (move && loaded) window <= taken;
    if (move) loaded <= load;
    if (reset) {full, ending} <= '0;
    else if (move) begin
      full   <= in_valid || full && more;
      ending <= {ending[LATENCY-2:0], full && !more};
    end
  end
  assign out_valid = ending[LATENCY-1];

  localparam int BLOCKS = PASSES * ROUNDS;
  localparam bit BY_STEP = STEPS != 1 << $clog2(STEPS) && BLOCKS == 1 << $clog2(BLOCKS);
  logic [ADDRESS-1:0] base, row;  // of the first step of the round that is loaded next, and of the present one
  round_counter #(.DEPTH(DEPTH), .STEPS(BY_STEP ? 1 : STEPS), .BLOCKS(BLOCKS), .ROUNDS(ROUNDS)) counter (
      .clock(clock), .reset(reset), .enable(load), .base(base), .last_round(last_round)
  );
  always_ff @(posedge clock) if (load) row <= base;
  logic [GROUPS*ADDRESS-1:0] bases;  // beside the steps of each group of lanes
  for (genvar g = 0; g < GROUPS; g++) begin : groups
    delay #(.WIDTH(ADDRESS), .CYCLES(g == 0 ? 1 : 4)) skew (
        .clock(clock), .enable(move), .in(g == 0 ? row : bases[(g>0?g-1:0)*ADDRESS+:ADDRESS]),
        .out(bases[g*ADDRESS+:ADDRESS])
    );
  end

  logic further;  // beside what is picked
  delay #(.WIDTH(1), .CYCLES(1)) picked_further (
      .clock(clock), .enable(move), .in(full && more), .out(further)
  );
  assign weight_enable = {PORTS{move}};
  for (genvar b = 0; b < BUNDLES; b++) begin : bundles
    logic [MULTIPLIERS*DATA_BITS-1:0] activations;
    logic [MULTIPLIERS*FILTERS*WEIGHT_BITS-1:0] weights;
    for (genvar j = 0; j < MULTIPLIERS; j++) begin : lanes
      localparam int PORT = b * MULTIPLIERS + j, GROUP = CHAINS > 1 ? 0 : j / 4;
      localparam int PLACES = (POSITIONS - j + MULTIPLIERS - 1) / MULTIPLIERS;
      localparam int PLACE = PLACES > 1 ? $clog2(PLACES) : 1;
      logic [PLACES*DATA_BITS-1:0] values;
      logic [PLACES-1:0] nonzero;
      logic [PLACE-1:0] place;
      logic [STEP-1:0] step, late;
      assign step = place;
      for (genvar s = 0; s < PLACES; s++) begin : steps
        localparam int AT = (b * POSITIONS + s * MULTIPLIERS + j) * DATA_BITS;
        assign values[s*DATA_BITS+:DATA_BITS] = window[AT+:DATA_BITS];
        assign nonzero[s] = |in_data[AT+:DATA_BITS];
      end
      if (STEPS == 1) begin : at_once
        assign {place, each_more[PORT]} = '0;
        assign activations[j*DATA_BITS+:DATA_BITS] = values;
      end else begin : picked
        logic some;
        logic [DATA_BITS-1:0] chosen;
        lane_picker #(.STEPS(PLACES)) picker (
            .clock(clock), .move(move), .load(load), .bits(nonzero), .more(each_more[PORT]), .step(place), .some(some)
        );
        choose #(.CHOICES(PLACES), .BITS(DATA_BITS)) choice (.words(values), .place(place), .chosen(chosen));
        assign activations[j*DATA_BITS+:DATA_BITS] = some ? chosen : '0;
      end
      delay #(.WIDTH(STEP), .CYCLES(4 * GROUP)) skew (.clock(clock), .enable(move), .in(step), .out(late));
      if (STEPS == 1) assign weight_address[PORT*ADDRESS+:ADDRESS] = bases[GROUP*ADDRESS+:ADDRESS];
      else if (BLOCKS == 1) assign weight_address[PORT*ADDRESS+:ADDRESS] = late;
      else if (BY_STEP) assign weight_address[PORT*ADDRESS+:ADDRESS] = {late, bases[GROUP*ADDRESS+:$clog2(BLOCKS)]};
      else if (STEPS == 1 << STEP)
        assign weight_address[PORT*ADDRESS+:ADDRESS] = {bases[GROUP*ADDRESS+STEP+:ADDRESS-STEP], late};
      else assign weight_address[PORT*ADDRESS+:ADDRESS] = bases[GROUP*ADDRESS+:ADDRESS] + late;
      assign weights[j*FILTERS*WEIGHT_BITS+:FILTERS*WEIGHT_BITS] =
          weight_data[PORT*ROW+PORT*FILTERS*WEIGHT_BITS+:FILTERS*WEIGHT_BITS];
    end
    dot_products #(
        .MULTIPLIERS(MULTIPLIERS), .FILTERS(FILTERS), .DATA_BITS(DATA_BITS), .WEIGHT_BITS(WEIGHT_BITS),
        .SUM_BITS(SUM_BITS), .STEPS(STEPS), .PRODUCTS(PRODUCTS)
    ) products (
        .clock(clock), .move(move), .further(further), .activations(activations), .weights(weights),
        .sums(out_data[b*FILTERS*SUM_BITS+:FILTERS*SUM_BITS])
    );
  end
endmodule
