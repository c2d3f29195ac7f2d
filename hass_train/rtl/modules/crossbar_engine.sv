// Sums of the products of a window with FILTERS filters; pairs in which the value or the weight is zero are skipped.
//
//   window ──► non-zero? ──► pairs ──► first N left ──► their values, addresses of their weights ──► dot product
//   mask: zero weights ──────┘
//
// In each cycle the N = MULTIPLIERS multipliers of a filter take its first N pairs left, wherever they are (HASS).
// A window stays at the input for ROUNDS rounds, each with filters of its own. A round takes ⌈pairs / N⌉ cycles of the
// filter and bundle that has most pairs, at least one; the next one follows at once. Latency: 6 to 11 cycles.
// Order of words: window: position, bundle (fastest first); sums: filter, bundle; weight ports: multiplier, filter,
// bundle. Row {round, position} of the weights, or {position, round} if that has fewer rows, has a word for each filter
// and bundle. A port is given all of them and takes its own, so a memory of its own slice will do. A row of the mask:
// position, filter, bundle, 1 where the weight is zero.
module crossbar_engine #(
    parameter int POSITIONS = 9,    // values of a window
    parameter int MULTIPLIERS = 3,  // of each filter
    parameter int FILTERS = 1,      // side by side
    parameter int BUNDLES = 1,      // windows side by side, with weights of their own
    parameter int ROUNDS = 1,       // blocks of filters that meet a window, one after the other
    parameter int PASSES = 1,       // windows until the weights repeat
    parameter int DATA_BITS = 8,    // of a value, signed
    parameter int WEIGHT_BITS = 8,  // signed
    localparam int STEPS = POSITIONS,
    localparam int ENGINES = BUNDLES * FILTERS,
    localparam int PORTS = ENGINES * MULTIPLIERS,
    localparam int PLACE = POSITIONS > 1 ? $clog2(POSITIONS) : 1,
    localparam int SUM_BITS = DATA_BITS + WEIGHT_BITS + $clog2(POSITIONS),
    localparam int BLOCKS = ROUNDS * PASSES,
    localparam int BLOCK_BITS = $clog2(BLOCKS),
    localparam int STEP_BITS = $clog2(STEPS),
    localparam int MASK_ADDRESS = BLOCKS > 1 ? BLOCK_BITS : 1,
    localparam int ABOVE = (BLOCKS - 1) * (1 << STEP_BITS) + STEPS,
    localparam int BELOW = (STEPS - 1) * (1 << BLOCK_BITS) + BLOCKS,
    localparam int DEPTH = ABOVE <= BELOW ? ABOVE : BELOW,
    localparam int ADDRESS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input  logic                                   clock,
    input  logic                                   reset,
    input  logic                                   in_valid,
    output logic                                   in_ready,
    input  logic [BUNDLES*POSITIONS*DATA_BITS-1:0] in_data,
    output logic                                   out_valid,
    input  logic                                   out_ready,
    output logic [   BUNDLES*FILTERS*SUM_BITS-1:0] out_data,
    output logic [                      PORTS-1:0] weight_enable,
    output logic [              PORTS*ADDRESS-1:0] weight_address,
    input  logic [  PORTS*ENGINES*WEIGHT_BITS-1:0] weight_data,
    output logic                                   mask_enable,
    output logic [               MASK_ADDRESS-1:0] mask_address,
    input  logic [  BUNDLES*FILTERS*POSITIONS-1:0] mask_data
);
  if (POSITIONS < 1 || MULTIPLIERS < 1 || FILTERS < 1 || BUNDLES < 1)
    $error("POSITIONS, MULTIPLIERS, FILTERS and BUNDLES must be at least 1");
  if (ROUNDS < 1 || DATA_BITS < 1 || WEIGHT_BITS < 1 || PASSES < 1)
    $error("ROUNDS, DATA_BITS, WEIGHT_BITS and PASSES must be at least 1");
  if (MULTIPLIERS > POSITIONS) $error("MULTIPLIERS must be at most POSITIONS");
  if (POSITIONS > 64) $error("POSITIONS must be at most 64");
  if (DATA_BITS < 2 || DATA_BITS > 16) $error("DATA_BITS must be 2 to 16");
  if (WEIGHT_BITS < 2 || WEIGHT_BITS > 16) $error("WEIGHT_BITS must be 2 to 16");

  logic move, load, start, last;
  logic [MASK_ADDRESS-1:0] row;
  logic [ENGINES-1:0] ended;
  pair_control #(.ROWS(BLOCKS), .ROUNDS(ROUNDS)) control (
      .clock(clock), .reset(reset), .in_valid(in_valid), .in_ready(in_ready), .out_ready(out_ready), .ended(&ended),
      .done(out_valid), .move(move), .load(load), .start(start), .last(last), .enable(mask_enable),
      .address(mask_address), .row(row)
  );

  // `late_…` and `window`: beside the places, which are registered
  logic late_start, late_last;
  logic [MASK_ADDRESS-1:0] late_row;
  logic [BUNDLES*POSITIONS*DATA_BITS-1:0] taken, window;
  logic [BUNDLES*FILTERS*POSITIONS-1:0] mask;
  always_ff @(posedge clock) begin
    if (mask_enable) mask <= mask_data;
    if (move) taken <= in_data;
    if (move && start) window <= taken;
    if (move) late_row <= row;
    if (move) late_start <= start;
    if (reset) late_last <= 0;
    else if (move) late_last <= last;
  end

  logic [BUNDLES*POSITIONS-1:0] nonzero;
  for (genvar p = 0; p < BUNDLES * POSITIONS; p++) assign nonzero[p] = |in_data[p*DATA_BITS+:DATA_BITS];

  assign weight_enable = {PORTS{move}};
  logic [BUNDLES*FILTERS-1:0] done;
  assign out_valid = done[0];

  for (genvar b = 0; b < BUNDLES; b++) begin : bundles
    for (genvar f = 0; f < FILTERS; f++) begin : filters
      localparam int ENGINE = b * FILTERS + f;
      logic [MULTIPLIERS*DATA_BITS-1:0] values;
      logic [MULTIPLIERS*WEIGHT_BITS-1:0] weights;
      logic [MULTIPLIERS-1:0] idle;
      logic [MULTIPLIERS*PLACE-1:0] picked, places;
      logic [MULTIPLIERS-1:0] none, late_none;
      pair_picker #(.CHOICES(POSITIONS), .PICKS(MULTIPLIERS)) picker (
          .clock(clock), .move(move), .load(load), .nonzero(nonzero[b*POSITIONS+:POSITIONS]),
          .zero_weight(mask[ENGINE*POSITIONS+:POSITIONS]), .places(picked), .idle(none), .ended(ended[ENGINE])
      );
      always_ff @(posedge clock)
        if (move) begin
          places <= picked;
          late_none <= none;
          idle <= late_none;
        end
      for (genvar j = 0; j < MULTIPLIERS; j++) begin : lanes
        localparam int PORT = ENGINE * MULTIPLIERS + j;
        logic [PLACE-1:0] place;
        assign place = places[j*PLACE+:PLACE];
        choose #(.CHOICES(POSITIONS), .BITS(DATA_BITS)) choice (
            .words(window[b*POSITIONS*DATA_BITS+:POSITIONS*DATA_BITS]), .place(place),
            .chosen(values[j*DATA_BITS+:DATA_BITS]));
        if (STEPS == 1) assign weight_address[PORT*ADDRESS+:ADDRESS] = ADDRESS'(late_row);
        else if (BLOCKS == 1) assign weight_address[PORT*ADDRESS+:ADDRESS] = ADDRESS'(place);
        else if (ABOVE <= BELOW) assign weight_address[PORT*ADDRESS+:ADDRESS] = ADDRESS'({late_row, STEP_BITS'(place)});
        else assign weight_address[PORT*ADDRESS+:ADDRESS] = ADDRESS'({place, late_row});
        assign weights[j*WEIGHT_BITS+:WEIGHT_BITS] = weight_data[(PORT*ENGINES+ENGINE)*WEIGHT_BITS+:WEIGHT_BITS];
      end
      dot_product #(
          .LANES(MULTIPLIERS), .DATA_BITS(DATA_BITS), .WEIGHT_BITS(WEIGHT_BITS), .SUM_BITS(SUM_BITS), .LATE(1),
          .IDLE(1)
      ) dot (
          .clock(clock), .reset(reset), .move(move), .first(late_start || MULTIPLIERS == POSITIONS), .last(late_last), .idle(idle),
          .values(values), .weights(weights), .done(done[ENGINE]), .sum(out_data[ENGINE*SUM_BITS+:SUM_BITS])
      );
    end
  end
endmodule
