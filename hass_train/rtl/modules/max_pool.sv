// The largest value of every window, by a tree of maxima of two.
//
//   POSITIONS values ──► ⌈POSITIONS/2⌉ ──► … ──► 1     a register after each
//
// In: words of a sliding window: COLUMNS × STREAMS windows, each of POSITIONS values side by side. Out: COLUMNS × STREAMS
// values. One word a cycle; as many cycles of latency as the tree has levels.
module max_pool #(
    parameter int STREAMS = 1,    // channels in a word
    parameter int COLUMNS = 1,    // windows side by side
    parameter int POSITIONS = 4,  // of a window
    parameter int BITS = 8,       // of a value
    parameter int SIGNED = 0,     // 1: values are signed
    localparam int VALUES = COLUMNS * STREAMS
) (
    input  logic                             clock,
    input  logic                             reset,
    input  logic                             in_valid,
    output logic                             in_ready,
    input  logic [VALUES*POSITIONS*BITS-1:0] in_data,
    output logic                             out_valid,
    input  logic                             out_ready,
    output logic [          VALUES*BITS-1:0] out_data
);
  if (STREAMS < 1 || COLUMNS < 1 || POSITIONS < 1 || BITS < 1)
    $error("STREAMS, COLUMNS, POSITIONS and BITS must be at least 1");

  localparam int LEVELS = POSITIONS > 1 ? $clog2(POSITIONS) : 1;

  logic move;
  logic [LEVELS-1:0] valid;
  assign move = !out_valid || out_ready;
  assign in_ready = move;
  assign out_valid = valid[LEVELS-1];
  always_ff @(posedge clock)
    if (reset) valid <= '0;
    else if (move) valid <= LEVELS'({valid, in_valid});

  for (genvar v = 0; v < VALUES; v++) begin : windows
    for (genvar level = 0; level <= LEVELS; level++) begin : levels
      localparam int COUNT = (POSITIONS + (1 << level) - 1) >> level;
      logic [COUNT*BITS-1:0] values;
      if (level == 0) assign values = in_data[v*POSITIONS*BITS+:POSITIONS*BITS];
      else begin : reduced
        localparam int BEFORE = (POSITIONS + (1 << (level - 1)) - 1) >> (level - 1);
        logic [COUNT*BITS-1:0] largest;
        for (genvar n = 0; n < COUNT; n++) begin : nodes
          if (2 * n + 1 == BEFORE) assign largest[n*BITS+:BITS] = levels[level-1].values[2*n*BITS+:BITS];
          else
            maximum #(.BITS(BITS), .SIGNED(SIGNED)) node (
                .first(levels[level-1].values[2*n*BITS+:BITS]),
                .second(levels[level-1].values[(2*n+1)*BITS+:BITS]),
                .largest(largest[n*BITS+:BITS])
            );
        end
        always_ff @(posedge clock) if (move) values <= largest;
      end
    end
    assign out_data[v*BITS+:BITS] = levels[LEVELS].values;
  end
endmodule
