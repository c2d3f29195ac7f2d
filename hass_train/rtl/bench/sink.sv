// Takes the words of a stream, with random pauses where `stall` is set, and compares them with those of a file. It also
// checks the protocol: what was offered and not taken must be offered again, and nothing may follow the last word.
module sink #(
    parameter int WIDTH = 8,
    parameter int WORDS = 1,
    parameter FILE = "",
    parameter int SEED = 1,
    parameter int HOLD = 0,  // cycles in which it takes nothing at first, with stalls
    parameter int CASE = 0,
    parameter PORT = "out"
) (
    input  logic             clock,
    input  logic             reset,
    input  logic             stall,
    input  logic             in_valid,
    output logic             in_ready,
    input  logic [WIDTH-1:0] in_data,
    output logic             taken,
    output logic             done,
    output logic             failed
);
  logic [WIDTH-1:0] words[WORDS], offered;
  logic [31:0] index, held;
  logic go, waiting;

  initial $readmemh(FILE, words);

  pauses #(.SEED(SEED)) chance (.clock(clock), .reset(reset), .enable(1'b1), .go(go));

  always_ff @(posedge clock) begin
    waiting <= in_valid && !in_ready;
    offered <= in_data;
    if (reset) begin
      index   <= 0;
      held    <= 0;
      failed  <= 0;
      waiting <= 0;
    end else if (!failed) begin
      if (held < HOLD) held <= held + 1;
      if (waiting && (!in_valid || in_data != offered)) begin
        $display("FAIL %0d %s word %0d was offered, not taken, and changed", CASE, PORT, index);
        failed <= 1;
      end else if (taken && index >= WORDS) begin
        $display("FAIL %0d %s a word more than the %0d expected: %h", CASE, PORT, WORDS, in_data);
        failed <= 1;
      end else if (taken && in_data != words[index]) begin
        $display("FAIL %0d %s word %0d is %h and should be %h", CASE, PORT, index, in_data, words[index]);
        failed <= 1;
      end
      if (taken) index <= index + 1;
    end
  end

  assign in_ready = (go && held == HOLD || !stall) && !reset;
  assign taken = in_valid && in_ready;
  assign done = index >= WORDS;
endmodule
