// Hands every word of a stream to COPIES readers. Copy k is bit k of out_valid and out_ready.
//
//          ┌──► copy 0     a reader that has taken the word is not offered it again, while the slower ones still are;
//   in ──► ┼──► copy 1     the word leaves when all have taken it
//          └──► …
//
// One word a cycle, without delay (latency 0).
module stream_fork #(
    parameter int WIDTH = 8,  // bits of a word
    parameter int COPIES = 2
) (
    input  logic                    clock,
    input  logic                    reset,
    input  logic                    in_valid,
    output logic                    in_ready,
    input  logic [       WIDTH-1:0] in_data,
    output logic [      COPIES-1:0] out_valid,
    input  logic [      COPIES-1:0] out_ready,
    output logic [COPIES*WIDTH-1:0] out_data
);
  if (WIDTH < 1 || COPIES < 1) $error("WIDTH and COPIES must be at least 1");

  logic [COPIES-1:0] taken;  // which readers have the present word already

  assign in_ready  = &(taken | out_ready);
  assign out_valid = {COPIES{in_valid}} & ~taken;
  assign out_data  = {COPIES{in_data}};

  always_ff @(posedge clock) begin
    if (reset || !in_valid || in_ready) taken <= 0;
    else taken <= taken | out_ready;
  end
endmodule
