// A first-in first-out queue of DEPTH words in flip-flops, for few words. Neither valid nor ready passes through it, so
// two words suffice to cut long paths without losing a cycle.
//
//   in ──► row 0 ──► row 1 ──► …     all rows move when a word comes in; the oldest word is in the row `index`
//             └────────┴──────► out
//
// One word a cycle; a word can leave in the cycle after it came (latency 1).
module register_fifo #(
    parameter int WIDTH = 8,  // bits of a word
    parameter int DEPTH = 2   // words that it holds, at least 2
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

  (* shreg_extract = "no" *) logic [DEPTH*WIDTH-1:0] rows;
  logic [BITS-1:0] index;  // words − 1; all ones when there is none
  logic put, take;

  assign put = in_valid && in_ready;
  assign take = out_valid && out_ready;
  assign in_ready = !(out_valid && index == BITS'(DEPTH - 1));

  always_ff @(posedge clock) begin
    if (put) rows <= (DEPTH * WIDTH)'({rows, in_data});
    if (reset) {out_valid, index} <= {1'b0, {BITS{1'b1}}};
    else if (put != take) {out_valid, index} <= {out_valid, index} + {{BITS{take}}, 1'b1};
  end

  always_comb begin
    out_data = rows[WIDTH-1:0];
    for (int row = 1; row < DEPTH; row++) if (index == BITS'(row)) out_data = rows[row*WIDTH+:WIDTH];
  end
endmodule
