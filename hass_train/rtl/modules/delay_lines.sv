// Delays of DEPTH words one after the other, all in one wide memory: every step reads and writes one row of it.
//
//   in ──► DEPTH words ──► out 0 ──► DEPTH words ──► out 1 …
//
// Outputs belong to the word at `in_data`, which is taken by `step`. The caller counts `address` round DEPTH values, one
// a step. A block RAM reads the row of the next word while it writes that of the present one, so its outputs do not
// depend on `address`; memories in LUTs are read at once; one or two words are registers.
module delay_lines #(
    parameter int WIDTH = 8,   // bits of a word
    parameter int DEPTH = 32,  // words of a delay
    parameter int LINES = 2,   // delays
    parameter int BLOCK = 0,   // 1: in block RAM
    localparam int ADDRESS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input  logic                   clock,
    input  logic                   reset,
    input  logic                   step,
    input  logic [    ADDRESS-1:0] address,
    input  logic [      WIDTH-1:0] in_data,
    output logic [LINES*WIDTH-1:0] out_data
);
  logic [LINES*WIDTH-1:0] taken;  // every line takes what the one before gives
  if (LINES == 1) assign taken = in_data;
  else assign taken = {out_data[(LINES-1)*WIDTH-1:0], in_data};

  if (DEPTH == 1) begin : register
    always_ff @(posedge clock) if (step) out_data <= taken;
  end else if (DEPTH == 2) begin : registers
    logic [LINES*WIDTH-1:0] first;
    always_ff @(posedge clock)
      if (step) begin
        first <= taken;
        out_data <= first;
      end
  end else if (BLOCK != 0) begin : block
    (* ram_style = "block" *) logic [LINES*WIDTH-1:0] rows[DEPTH];
    logic [ADDRESS-1:0] present;
    always_ff @(posedge clock) begin
      if (step) begin
        out_data <= rows[address];
        rows[present] <= taken;
        present <= address;
      end
      if (reset) present <= ADDRESS'(DEPTH - 1);
    end
  end else begin : distributed
    (* ram_style = "distributed" *) logic [LINES*WIDTH-1:0] rows[DEPTH];
    assign out_data = rows[address];
    always_ff @(posedge clock) if (step) rows[address] <= taken;
  end
endmodule
