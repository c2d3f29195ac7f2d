// Counts enabled cycles from 0 to COUNT − 1, again and again.
module modulo_counter #(
    parameter int COUNT = 3,
    localparam int BITS = COUNT > 1 ? $clog2(COUNT) : 1
) (
    input  logic            clock,
    input  logic            reset,
    input  logic            enable,
    output logic [BITS-1:0] value
);
  if (COUNT == 1) assign value = '0;
  else begin : counted
    logic wrap;
    assign wrap = COUNT != 1 << BITS && value == COUNT - 1;
    always_ff @(posedge clock) begin
      if (reset || (enable && wrap)) value <= '0;
      else if (enable) value <= value + 1'b1;
    end
  end
endmodule
