// Counts rounds: the row of a weight memory where a round begins, and whether it is a window's last.
module round_counter #(
    parameter int DEPTH = 9,   // rows of the memory
    parameter int STEPS = 3,   // rows from round to round
    parameter int BLOCKS = 3,  // rounds until rows repeat
    parameter int ROUNDS = 1,  // rounds of a window
    localparam int ADDRESS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input  logic               clock,
    input  logic               reset,
    input  logic               enable,
    output logic [ADDRESS-1:0] base,
    output logic               last_round
);
  if (STEPS == 1 << $clog2(STEPS)) begin : bits  // rounds are upper bits of rows
    localparam int BLOCK = BLOCKS > 1 ? $clog2(BLOCKS) : 1;
    logic [BLOCK-1:0] block;
    row_counter #(.DEPTH(BLOCKS), .STEPS(1), .ROUNDS(ROUNDS)) blocks (
        .clock(clock), .reset(reset), .enable(enable), .row(block), .step(), .last_step(), .last_round(last_round)
    );
    assign base = ADDRESS'(block) << $clog2(STEPS);
  end else begin : added
    localparam int ROUND = ROUNDS > 1 ? $clog2(ROUNDS) : 1;
    logic [ROUND-1:0] round;
    modulo_counter #(.COUNT(ROUNDS)) rounds (.clock(clock), .reset(reset), .enable(enable), .value(round));
    assign last_round = round == ROUNDS - 1;
    always_ff @(posedge clock) begin
      if (reset || (enable && base == (BLOCKS - 1) * STEPS)) base <= '0;
      else if (enable) base <= base + ADDRESS'(STEPS);
    end
  end
endmodule
