// Weights that are read by address, one cycle later; without `enable` a port keeps what it read. Several ports read the
// same rows independently. STYLE is Vivado's and Yosys' ram_style: auto, block or distributed.
module weight_memory #(
    parameter int WIDTH = 8,
    parameter int DEPTH = 16,
    parameter int PORTS = 1,
    parameter FILE = "",
    parameter STYLE = "auto",
    localparam int ADDRESS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input  logic                     clock,
    input  logic [PORTS-1:0]         enable,
    input  logic [PORTS*ADDRESS-1:0] address,
    output logic [PORTS*WIDTH-1:0]   data
);
  for (genvar port = 0; port < PORTS; port++) begin : ports
    (* rom_style = STYLE, ram_style = STYLE *) logic [WIDTH-1:0] rows[DEPTH];
    logic [WIDTH-1:0] read;

    if (FILE != "") initial $readmemh(FILE, rows);

    always_ff @(posedge clock) if (enable[port]) read <= rows[address[port*ADDRESS+:ADDRESS]];
    assign data[port*WIDTH+:WIDTH] = read;
  end
endmodule
