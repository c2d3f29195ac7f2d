// Counts the words in a FIFO and tells the most there were.
module level #(
    parameter int NUMBER = 0
) (
    input logic clock,
    input logic reset,
    input logic report,
    input logic put,
    input logic take
);
  logic [31:0] words, peak;

  always_ff @(posedge clock)
    if (reset) begin
      words <= 0;
      peak  <= 0;
    end else begin
      words <= words + 32'(put) - 32'(take);
      if (words > peak) peak <= words;
      if (report) $display("PEAK %0d %0d", NUMBER, peak);
    end
endmodule
