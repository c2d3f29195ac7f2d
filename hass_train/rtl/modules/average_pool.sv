// The average of every window: a tree of adders, then a multiplication by the reciprocal.
//
//   POSITIONS values ──► ⌈POSITIONS/2⌉ sums ──► … ──► 1 ──► × MULTIPLIER / 2^SHIFT     a register after each
//
// In: words of a sliding window: COLUMNS × STREAMS windows, each of POSITIONS values side by side. Out: COLUMNS × STREAMS
// values, rounded half to even and saturated. One word a cycle; levels + 3 cycles of latency.
module average_pool #(
    parameter int STREAMS = 1,         // channels in a word
    parameter int COLUMNS = 1,         // windows side by side
    parameter int POSITIONS = 9,       // of a window
    parameter int BITS = 8,            // of a value
    parameter int SIGNED = 0,          // 1: values are signed
    parameter int MULTIPLIER = 58254,  // 1 … 2^16 − 1
    parameter int SHIFT = 19,          // 0 … 31
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
  if (STREAMS < 1 || BITS < 1 || MULTIPLIER < 1 || COLUMNS < 1 || POSITIONS < 1)
    $error("STREAMS, BITS, MULTIPLIER, COLUMNS and POSITIONS must be at least 1");

  localparam int LEVELS = $clog2(POSITIONS);
  localparam int SUM = BITS + LEVELS;
  localparam int STEPS = LEVELS + 3;

  logic move;
  logic [STEPS-1:0] valid;
  assign move = !out_valid || out_ready;
  assign in_ready = move;
  assign out_valid = valid[STEPS-1];
  always_ff @(posedge clock)
    if (reset) valid <= '0;
    else if (move) valid <= STEPS'({valid, in_valid});

  logic [VALUES*SUM-1:0] sums;
  for (genvar v = 0; v < VALUES; v++) begin : windows
    for (genvar level = 0; level <= LEVELS; level++) begin : levels
      localparam int COUNT = (POSITIONS + (1 << level) - 1) >> level;
      localparam int WIDTH = BITS + level;
      logic [COUNT*WIDTH-1:0] values;
      if (level == 0) assign values = in_data[v*POSITIONS*BITS+:POSITIONS*BITS];
      else begin : added
        localparam int BEFORE = (POSITIONS + (1 << (level - 1)) - 1) >> (level - 1);
        for (genvar n = 0; n < COUNT; n++) begin : nodes
          logic [WIDTH-2:0] first, second;
          assign first = levels[level-1].values[2*n*(WIDTH-1)+:WIDTH-1];
          if (2 * n + 1 < BEFORE) assign second = levels[level-1].values[(2*n+1)*(WIDTH-1)+:WIDTH-1];
          else assign second = '0;
          always_ff @(posedge clock)
            if (move)
              values[n*WIDTH+:WIDTH] <= {SIGNED != 0 && first[WIDTH-2], first} + {SIGNED != 0 && second[WIDTH-2], second};
        end
      end
    end
    assign sums[v*SUM+:SUM] = levels[LEVELS].values;
  end
  scale #(
      .STREAMS(VALUES), .IN_BITS(SUM), .OUT_BITS(BITS), .SIGNED(SIGNED), .MULTIPLIER(MULTIPLIER), .SHIFT(SHIFT)
  ) average (.clock(clock), .move(move), .in_data(sums), .out_data(out_data));
endmodule
