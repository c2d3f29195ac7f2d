// Counts the cycles of a case from the first word offered to the last one written, and the words read before the first
// one is written, and prints them when asked.
module case_counter #(
    parameter int CASE = 0
) (
    input  logic clock,
    input  logic reset,
    input  logic report,
    input  logic stall,
    input  logic reading,
    input  logic taking,
    input  logic writing,
    input  logic whole,
    input  logic failed,
    output logic done
);
  logic [31:0] cycle, first, last, held;
  logic begun;

  always_ff @(posedge clock) begin
    cycle <= cycle + 1;
    if (reset) begin
      begun <= 0;
      cycle <= 0;
      first <= 0;
      last  <= 0;
      held <= 0;
    end else begin
      if (reading && !begun) begin
        begun <= 1;
        first <= cycle;
      end
      if (writing) last <= cycle;
      if (taking && last == 0) held <= held + 1;
    end
    if (report) $display("CASE %0d stall %0d whole %0d cycles %0d held %0d", CASE, stall, whole, last - first + 1, held);
  end

  assign done = whole || failed;
endmodule
