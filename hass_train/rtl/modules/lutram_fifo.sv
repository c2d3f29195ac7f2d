// A first-in first-out queue of DEPTH words in the memory of LUTs, for some tens of words.
//
// SHIFT_REGISTERS = 1: all rows move when a word comes in, and the oldest word is read from the row `index`. The cheaper
//   one on devices whose LUTs are shift registers of 16 or 32 bits (Xilinx); elsewhere it becomes flip-flops.
// SHIFT_REGISTERS = 0: a memory with an address to write and one to read.
//
// One word a cycle; a word can leave in the cycle after it came (latency 1). Neither valid nor ready passes through.
module lutram_fifo #(
    parameter int WIDTH = 8,           // bits of a word
    parameter int DEPTH = 16,          // words that it holds, at least 2
    parameter int SHIFT_REGISTERS = 1
) (
    input  logic             clock,
    input  logic             reset,
    input  logic             in_valid,
    output logic             in_ready,
    input  logic [WIDTH-1:0] in_data,
    output logic             out_valid,
    input  logic             out_ready,
    output logic [WIDTH-1:0] out_data
);
  if (WIDTH < 1) $error("WIDTH must be at least 1");
  if (DEPTH < 2) $error("DEPTH must be at least 2");

  localparam int BITS = $clog2(DEPTH);

  logic put, take;
  assign put = in_valid && in_ready;
  assign take = out_valid && out_ready;

  if (SHIFT_REGISTERS != 0) begin : shifted
    logic [BITS-1:0] index;  // words − 1; all ones when there is none

    assign in_ready = !(out_valid && index == BITS'(DEPTH - 1));

    always_ff @(posedge clock) begin
      if (reset) {out_valid, index} <= {1'b0, {BITS{1'b1}}};
      else if (put != take) {out_valid, index} <= {out_valid, index} + {{BITS{take}}, 1'b1};
    end

    for (genvar bit_ = 0; bit_ < WIDTH; bit_++) begin : bits
      logic [DEPTH-1:0] rows;
      always_ff @(posedge clock) if (put) rows <= DEPTH'({rows, in_data[bit_]});
      assign out_data[bit_] = rows[index];
    end
  end else begin : addressed
    (* ram_style = "distributed" *) logic [WIDTH-1:0] rows[DEPTH];
    logic [BITS-1:0] write, read;
    logic [$clog2(DEPTH + 1)-1:0] words;

    assign out_data = rows[read];

    always_ff @(posedge clock) begin
      if (put) rows[write] <= in_data;
      if (reset || put && write == BITS'(DEPTH - 1)) write <= 0;
      else if (put) write <= write + 1;
      if (reset || take && read == BITS'(DEPTH - 1)) read <= 0;
      else if (take) read <= read + 1;
      // whether it has room and words is known beforehand: others' paths begin at these registers
      if (reset) {words, in_ready, out_valid} <= {$bits(words)'(0), 2'b10};
      else if (put != take) begin
        words <= words + {{$bits(words) - 1{take}}, 1'b1};
        in_ready <= take || words != DEPTH - 1;
        out_valid <= put || words != 1;
      end
    end
  end
endmodule
