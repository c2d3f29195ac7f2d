// A value some enabled cycles later: a chain of registers without reset, which becomes shift registers where there are.
module delay #(
    parameter int WIDTH = 8,
    parameter int CYCLES = 1  // 0: a wire
) (
    input  logic             clock,
    input  logic             enable,
    input  logic [WIDTH-1:0] in,
    output logic [WIDTH-1:0] out
);
  if (CYCLES == 0) assign out = in;
  else begin : chain
    logic [CYCLES*WIDTH-1:0] values;
    if (CYCLES == 1) begin : one
      always_ff @(posedge clock) if (enable) values <= in;
    end else begin : more
      always_ff @(posedge clock) if (enable) values <= {values[(CYCLES-1)*WIDTH-1:0], in};
    end
    assign out = values[CYCLES*WIDTH-1-:WIDTH];
  end
endmodule
