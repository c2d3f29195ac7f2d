// Joins two maps along their channels: of every pixel first the DEPTH_A words of `a`, then the DEPTH_B words of `b`.
//
//   a ──►┐
//        ├──► out     a a … a b b … b | a a … a b b … b | …
//   b ──►┘
//
// One word a cycle, without delay (latency 0). More than two maps: a chain of these.
module concatenate #(
    parameter int WIDTH = 8,    // bits of a word, the same on all sides
    parameter int DEPTH_A = 1,  // words of `a` a pixel
    parameter int DEPTH_B = 1
) (
    input  logic             clock,
    input  logic             reset,
    input  logic             a_valid,
    output logic             a_ready,
    input  logic [WIDTH-1:0] a_data,
    input  logic             b_valid,
    output logic             b_ready,
    input  logic [WIDTH-1:0] b_data,
    output logic             out_valid,
    input  logic             out_ready,
    output logic [WIDTH-1:0] out_data
);
  if (WIDTH < 1 || DEPTH_A < 1 || DEPTH_B < 1) $error("WIDTH, DEPTH_A and DEPTH_B must be at least 1");

  localparam int DEEPEST = DEPTH_A > DEPTH_B ? DEPTH_A : DEPTH_B;
  localparam int BITS = DEEPEST > 1 ? $clog2(DEEPEST) : 1;

  logic move, second, last;  // whether it is the turn of `b`, and its or a's last word
  logic [BITS-1:0] word;

  assign out_valid = second ? b_valid : a_valid;
  assign out_data = second ? b_data : a_data;
  assign a_ready = out_ready && !second;
  assign b_ready = out_ready && second;
  assign move = out_valid && out_ready;
  assign last = word == (second ? BITS'(DEPTH_B - 1) : BITS'(DEPTH_A - 1));

  always_ff @(posedge clock) begin
    if (reset || move && last) word <= 0;
    else if (move) word <= word + 1;
    if (reset) second <= 0;
    else if (move && last) second <= !second;
  end
endmodule
