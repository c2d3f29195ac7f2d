// Surrounds a map that streams through by constant rows and columns.
//
//   V V V V V    TOP rows
//   V a b c V    LEFT columns, the map's WIDTH, RIGHT columns
//   V d e f V
//   V V V V V    BOTTOM rows
//
// In: HEIGHT rows of ⌈WIDTH/PIXELS⌉ groups of PIXELS columns, each in DEPTH words of STREAMS channels (fastest). Columns
// beyond WIDTH are ignored. Out: likewise with the padding; columns beyond it are VALUE too. A word a cycle is written,
// one cycle after it was read where it was. A map's first words are written as soon as one of the map waits.
module padding #(
    parameter int STREAMS = 1,  // channels in a word
    parameter int PIXELS = 1,   // columns in a word; more than 1 only with DEPTH 1
    parameter int BITS = 8,     // of a value
    parameter int DEPTH = 1,    // words of a group
    parameter int HEIGHT = 32,  // rows of the map that is read
    parameter int WIDTH = 32,   // columns of it
    parameter int TOP = 1,
    parameter int BOTTOM = 1,
    parameter int LEFT = 1,
    parameter int RIGHT = 1,
    parameter int VALUE = 0,    // the bits of the constant
    localparam int LANE = STREAMS * BITS,
    localparam int WORD = PIXELS * LANE
) (
    input  logic            clock,
    input  logic            reset,
    input  logic            in_valid,
    output logic            in_ready,
    input  logic [WORD-1:0] in_data,
    output logic            out_valid,
    input  logic            out_ready,
    output logic [WORD-1:0] out_data
);
  if (STREAMS < 1 || PIXELS < 1 || BITS < 1 || DEPTH < 1 || HEIGHT < 1 || WIDTH < 1)
    $error("STREAMS, PIXELS, BITS, DEPTH, HEIGHT and WIDTH must be at least 1");
  if (PIXELS > 1 && DEPTH > 1) $error("DEPTH must be 1 if PIXELS is more");

  localparam int READ = (WIDTH + PIXELS - 1) / PIXELS;                     // groups of a row
  localparam int WRITTEN = (WIDTH + LEFT + RIGHT + PIXELS - 1) / PIXELS;
  localparam int BEFORE = LEFT / PIXELS;                                   // whole groups on the left
  localparam int SHIFT = LEFT % PIXELS;                                    // and columns beside
  localparam int LAST_LANES = WIDTH - (READ - 1) * PIXELS;                 // columns of the last group that is read
  localparam int COUNT = WRITTEN * DEPTH > 1 ? $clog2(WRITTEN * DEPTH) : 1;
  localparam logic [LANE-1:0] CONSTANT = {STREAMS{BITS'(VALUE)}};

  logic move, step, begun, reading, row_ends, map_ends, column_inner, row_inner, surplus;
  logic [COUNT-1:0] position;
  assign move = !out_valid || out_ready;
  assign step = move && (in_valid || begun && !reading);
  assign in_ready = move && reading;
  assign reading = row_inner && column_inner;

  range_counter #(.LENGTH(WRITTEN * DEPTH), .FIRST(BEFORE * DEPTH), .END((BEFORE + READ) * DEPTH)) columns (
      .clock(clock), .reset(reset), .step(step), .count(position), .last(row_ends), .inner(column_inner)
  );
  range_counter #(.LENGTH(TOP + HEIGHT + BOTTOM), .FIRST(TOP), .END(TOP + HEIGHT)) rows (
      .clock(clock), .reset(reset), .step(step && row_ends), .count(), .last(map_ends), .inner(row_inner)
  );

  always_ff @(posedge clock)
    if (reset) out_valid <= 0;
    else if (move) out_valid <= step;

  if (TOP + BEFORE == 0) assign begun = 1;
  else begin : waiting
    always_ff @(posedge clock)
      if (reset) begun <= 0;
      else if (step) begun <= !(row_ends && map_ends) && (begun || reading);
  end

  // ---- columns, moved by SHIFT: those that do not fit are held for the next word ------------------------------------
  if (LAST_LANES == PIXELS) assign surplus = 0;
  else assign surplus = position == COUNT'(BEFORE + READ - 1);
  for (genvar lane = 0; lane < PIXELS; lane++) begin : lanes
    localparam int TO = (lane + SHIFT) % PIXELS;
    logic [LANE-1:0] moved;
    if (lane + SHIFT < PIXELS) assign out_data[TO*LANE+:LANE] = moved;
    else begin : held
      logic [LANE-1:0] later;
      always_ff @(posedge clock) if (step) later <= moved;
      assign out_data[TO*LANE+:LANE] = later;
    end
    // what is held begins as the constant too; all in one condition, which is the registers' own reset
    localparam int HELD = lane + SHIFT >= PIXELS ? 1 : 0;
    logic known, first;
    assign first = HELD != 0 && reset;
    assign known = reading && !(surplus && lane >= LAST_LANES) && !first;
    always_ff @(posedge clock) if (step || first) moved <= known ? in_data[lane*LANE+:LANE] : CONSTANT;
  end
endmodule
