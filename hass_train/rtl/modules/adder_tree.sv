// Sums ADDENDS signed values of each of STREAMS streams. In a word the stream runs fastest, then the addend.
//
//   addends 0 1 2 3 4         every level adds neighbours and is registered; one left over is registered too
//          └+┘ └+┘ │
//           └─+─┘  │
//             └──+─┘
//
// One word a cycle; latency clog2(ADDENDS).
module adder_tree #(
    parameter int ADDENDS = 4,
    parameter int STREAMS = 1,
    parameter int IN_BITS = 24,
    localparam int LEVELS = $clog2(ADDENDS),
    localparam int OUT_BITS = IN_BITS + LEVELS
) (
    input  logic                              clock,
    input  logic                              reset,
    input  logic                              in_valid,
    output logic                              in_ready,
    input  logic [ADDENDS*STREAMS*IN_BITS-1:0] in_data,
    output logic                              out_valid,
    input  logic                              out_ready,
    output logic [      STREAMS*OUT_BITS-1:0] out_data
);
  if (ADDENDS < 1 || STREAMS < 1 || IN_BITS < 1) $error("ADDENDS, STREAMS and IN_BITS must be at least 1");

  logic move;  // a pipeline that moves as a whole
  assign move = !out_valid || out_ready;
  assign in_ready = move;

  for (genvar level = 0; level <= LEVELS; level++) begin : levels
    localparam int BITS = IN_BITS + level;
    localparam int NODES = (ADDENDS + (1 << level) - 1) >> level;
    logic valid;
    logic [NODES*STREAMS*BITS-1:0] sums;

    if (level == 0) begin : first
      assign valid = in_valid;
      assign sums  = in_data;
    end else begin : further
      localparam int BELOW = (ADDENDS + (1 << (level - 1)) - 1) >> (level - 1);
      always_ff @(posedge clock) begin
        if (reset) valid <= 0;
        else if (move) valid <= levels[level-1].valid;
      end
      for (genvar place = 0; place < NODES * STREAMS; place++) begin : nodes
        localparam int LEFT = (place / STREAMS) * 2 * STREAMS + place % STREAMS;
        logic signed [BITS-2:0] left, right;
        assign left = levels[level-1].sums[LEFT*(BITS-1)+:BITS-1];
        if (LEFT + STREAMS < BELOW * STREAMS) assign right = levels[level-1].sums[(LEFT+STREAMS)*(BITS-1)+:BITS-1];
        else assign right = 0;
        always_ff @(posedge clock) if (move) sums[place*BITS+:BITS] <= BITS'(left) + BITS'(right);
      end
    end
  end

  assign out_valid = levels[LEVELS].valid;
  assign out_data  = levels[LEVELS].sums;
endmodule
