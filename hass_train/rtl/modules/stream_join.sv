// Puts the words of COPIES streams side by side, copy 0 in the lowest bits: the end of what `stream_fork` begins.
//
//   copy 0 ──►┐
//   copy 1 ──►┼──► out     a word leaves when all copies offer theirs
//   …      ──►┘
//
// One word a cycle, without delay (latency 0).
module stream_join #(
    parameter int WIDTH = 8,  // bits of a copy's word
    parameter int COPIES = 2
) (
    input  logic                    clock,
    input  logic                    reset,
    input  logic [      COPIES-1:0] in_valid,
    output logic [      COPIES-1:0] in_ready,
    input  logic [COPIES*WIDTH-1:0] in_data,
    output logic                    out_valid,
    input  logic                    out_ready,
    output logic [COPIES*WIDTH-1:0] out_data
);
  if (WIDTH < 1 || COPIES < 1) $error("WIDTH and COPIES must be at least 1");

  assign out_valid = &in_valid;
  assign in_ready  = {COPIES{out_valid && out_ready}};
  assign out_data  = in_data;
endmodule
