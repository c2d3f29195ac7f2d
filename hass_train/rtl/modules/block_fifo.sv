// A first-in first-out queue of DEPTH words in block RAM, for hundreds of words and more.
//
//   in ──► block RAM of DEPTH − 1 rows ──► its output register ──► out     the oldest word waits in the register
//
// The block RAM has a power of two of rows, so that parts of it need no multiplexer: 513 words take what 257 take.
//
// One word a cycle; a word can leave two cycles after it came (latency 2). Neither valid nor ready passes through to the
// other side.
module block_fifo #(
    parameter int WIDTH = 8,   // bits of a word
    parameter int DEPTH = 512  // words that it holds, the one in the register included; at least 3
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
  if (DEPTH < 3) $error("DEPTH must be at least 3");

  localparam int ROWS = DEPTH - 1;  // in use
  localparam int BITS = $clog2(ROWS);

  (* ram_style = "block", no_rw_check *) logic [WIDTH-1:0] rows[1<<BITS];
  logic [BITS-1:0] write, read;
  logic [$clog2(ROWS + 1)-1:0] words;  // in block RAM
  logic some;  // whether there are any
  logic put, fetch;

  assign put = in_valid && in_ready;
  assign fetch = some && (!out_valid || out_ready);

  always_ff @(posedge clock) begin
    if (put) rows[write] <= in_data;
    if (fetch) out_data <= rows[read];
    if (reset || put && write == BITS'(ROWS - 1)) write <= 0;
    else if (put) write <= write + 1;
    if (reset || fetch && read == BITS'(ROWS - 1)) read <= 0;
    else if (fetch) read <= read + 1;
    // whether it has room and words is known beforehand: others' paths begin at these registers
    if (reset) {words, in_ready, some, out_valid} <= {$bits(words)'(0), 3'b100};
    else begin
      if (put != fetch) begin
        words <= words + {{$bits(words) - 1{fetch}}, 1'b1};
        in_ready <= fetch || words != ROWS - 1;
        some <= put || words != 1;
      end
      if (fetch || out_ready) out_valid <= fetch;
    end
  end
endmodule
