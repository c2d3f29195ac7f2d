// Adds the steps of a round up, one a cycle; the sum so far is cleared where a round ends, for which flip-flops have a
// reset: a mask in front of the adder would cost another LUT a bit where operands come in an unlucky order.
module running_sum #(
    parameter int SUM_BITS = 20
) (
    input  logic                       clock,
    input  logic                       move,
    input  logic                       further,  // a cycle early: what will come continues the sum
    input  logic signed [SUM_BITS-1:0] in,
    output logic signed [SUM_BITS-1:0] sum
);
  logic signed [SUM_BITS-1:0] so_far, total;
  assign total = in + so_far;
  always_ff @(posedge clock)
    if (move) begin
      sum <= total;
      so_far <= further ? total : '0;
    end
endmodule
