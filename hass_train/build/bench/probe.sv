// Watches a stream and compares its words with those of a file, as long as it carries whole images. Values that mean
// nothing are masked. With ENDS it says in which cycle each image ended.
module probe #(
    parameter int WIDTH = 8,
    parameter int IMAGES = 1,
    parameter int WORDS = 1,    // of an image
    parameter int NUMBER = 0,   // of the probe
    parameter int MASKED = 0,   // 1: MASK has the bits of an image that mean something
    parameter int ENDS = 0,
    parameter FILE = "",
    parameter MASK = ""
) (
    input  logic             clock,
    input  logic             reset,
    input  logic [31:0]      cycle,
    input  logic             valid,
    input  logic             ready,
    input  logic [WIDTH-1:0] data,
    output logic             taken,
    output logic             done,
    output logic             failed
);
  logic [WIDTH-1:0] words[IMAGES*WORDS], known[MASKED != 0 ? WORDS : 1], mask, expected;
  logic [31:0] index, place;

  initial $readmemh(FILE, words);
  if (MASKED != 0) initial $readmemh(MASK, known);

  assign taken = valid && ready && !reset;
  assign done = index == IMAGES * WORDS;
  assign mask = MASKED != 0 ? known[place] : '1;
  assign expected = words[done ? 0 : index];

  always_ff @(posedge clock)
    if (reset) begin
      index <= 0;
      place <= 0;
      failed <= 0;
    end else if (taken && !failed) begin
      if (done || ((data ^ expected) & mask) != '0) begin
        failed <= 1;
        $display("FAIL %0d word %0d cycle %0d is %h and should be %h", NUMBER, index, cycle, data, done ? '0 : expected);
      end
      if (ENDS != 0 && place == WORDS - 1) $display("END %0d", cycle);
      index <= index + 1;
      place <= place == WORDS - 1 ? 0 : place + 1;
    end
endmodule
