// A function of every value, as a table of 2^IN_BITS rows beside it (`weight_memory` with a port a stream, row = value;
// negative values are the upper half of the rows).
//
//   value ──► table_address … table_data ──► result
//
// One word a cycle; latency 1.
module lookup_table #(
    parameter int STREAMS = 1,  // values side by side
    parameter int IN_BITS = 8,
    parameter int OUT_BITS = 8
) (
    input  logic                        clock,
    input  logic                        reset,
    input  logic                        in_valid,
    output logic                        in_ready,
    input  logic [ STREAMS*IN_BITS-1:0] in_data,
    output logic                        out_valid,
    input  logic                        out_ready,
    output logic [STREAMS*OUT_BITS-1:0] out_data,
    output logic [         STREAMS-1:0] table_enable,
    output logic [ STREAMS*IN_BITS-1:0] table_address,
    input  logic [STREAMS*OUT_BITS-1:0] table_data
);
  if (STREAMS < 1 || IN_BITS < 1 || OUT_BITS < 1) $error("STREAMS, IN_BITS and OUT_BITS must be at least 1");

  logic move;
  assign move = !out_valid || out_ready;
  assign in_ready = move;
  assign table_enable = {STREAMS{move}};
  assign table_address = in_data;
  assign out_data = table_data;

  always_ff @(posedge clock) begin
    if (reset) out_valid <= 0;
    else if (move) out_valid <= in_valid;
  end
endmodule
