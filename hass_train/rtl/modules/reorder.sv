// Brings the values of a frame into another order: of every frame IN_WORDS words of IN_VALUES values are written into one
// half of a memory, while the frame before is read from the other half, OUT_WORDS words of OUT_VALUES values.
//
//   in ──► memories, one for each value of a word that is written ──► choose ──► register ──► out
//                       ▲                                                ▲
//   order ── word and ──┴─────────── value of every place ───────────────┘     read one word ahead
//
// A word a cycle is read and written; a frame is written out once it is there. Row w of the memory `order` has, for each
// place of word w, the word of the frame that its value is in and, above, the value's place in that word.
module reorder #(
    parameter int BITS = 8,        // of a value
    parameter int IN_WORDS = 4,    // of a frame
    parameter int IN_VALUES = 1,   // of a word
    parameter int OUT_WORDS = 4,
    parameter int OUT_VALUES = 1,
    localparam int WORD = IN_WORDS > 1 ? $clog2(IN_WORDS) : 1,
    localparam int VALUE = IN_VALUES > 1 ? $clog2(IN_VALUES) : 1,
    localparam int ENTRY = WORD + VALUE,
    localparam int ADDRESS = OUT_WORDS > 1 ? $clog2(OUT_WORDS) : 1
) (
    input  logic                        clock,
    input  logic                        reset,
    input  logic                        in_valid,
    output logic                        in_ready,
    input  logic [  IN_VALUES*BITS-1:0] in_data,
    output logic                        out_valid,
    input  logic                        out_ready,
    output logic [ OUT_VALUES*BITS-1:0] out_data,
    output logic                        order_enable,
    output logic [         ADDRESS-1:0] order_address,
    input  logic [OUT_VALUES*ENTRY-1:0] order_data
);
  if (BITS < 1 || IN_WORDS < 1 || IN_VALUES < 1 || OUT_WORDS < 1 || OUT_VALUES < 1)
    $error("BITS, IN_WORDS, IN_VALUES, OUT_WORDS and OUT_VALUES must be at least 1");

  logic put, take, move, ready, emptied, filled, write_half, read_half, last_put, last_take;
  logic [WORD-1:0] word;
  logic [ADDRESS-1:0] given;
  logic [1:0] frames;  // that are there

  assign put = in_valid && in_ready;
  assign move = !out_valid || out_ready;
  assign take = ready && frames != 0 && move;
  assign last_put = word == WORD'(IN_WORDS - 1);
  assign last_take = given == ADDRESS'(OUT_WORDS - 1);
  assign order_enable = !ready || take;
  assign filled = put && last_put;
  assign emptied = take && last_take;

  always_ff @(posedge clock) begin
    ready <= !reset;
    if (reset) {word, given, frames, write_half, read_half, out_valid, in_ready} <= 1;
    else begin
      if (filled != emptied) in_ready <= emptied || frames == 0;
      if (put) word <= last_put ? '0 : word + 1;
      if (filled) write_half <= !write_half;
      if (take) given <= last_take ? '0 : given + 1;
      if (emptied) read_half <= !read_half;
      frames <= frames + 2'(filled) - 2'(emptied);
      if (move) out_valid <= take;
    end
    if (reset || order_enable && order_address == ADDRESS'(OUT_WORDS - 1)) order_address <= '0;
    else if (order_enable) order_address <= order_address + 1;
  end

  for (genvar k = 0; k < OUT_VALUES; k++) begin : places
    (* ram_style = "distributed" *) logic [IN_VALUES*BITS-1:0] rows[2<<WORD];
    logic [IN_VALUES*BITS-1:0] row;
    logic [WORD-1:0] from;
    assign from = order_data[k*ENTRY+:WORD];
    assign row = rows[{read_half, from}];
    always_ff @(posedge clock) if (put) rows[{write_half, word}] <= in_data;
    if (IN_VALUES == 1) begin : single
      always_ff @(posedge clock) if (take) out_data[k*BITS+:BITS] <= row;
    end else begin : chosen
      logic [VALUE-1:0] value;
      assign value = order_data[k*ENTRY+WORD+:VALUE];
      always_ff @(posedge clock) if (take) out_data[k*BITS+:BITS] <= row[value*BITS+:BITS];
    end
  end
endmodule
