// Counts rounds: the row of a weight memory where a round begins, and whether it is a window's last.
module round_counter #(
    parameter int DEPTH = 9,   // rows; a multiple of STEPS·ROUNDS
    parameter int STEPS = 3,   // rows of a round
    parameter int ROUNDS = 1,  // rounds of a window
    localparam int ADDRESS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input  logic               clock,
    input  logic               reset,
    input  logic               enable,
    output logic [ADDRESS-1:0] base,
    output logic               last_round
);
  if (DEPTH == STEPS) assign base = '0;
  else if (STEPS == 1 << $clog2(STEPS)) begin : bits  // rounds are the upper bits of rows
    localparam int BLOCK = $clog2(DEPTH / STEPS);
    logic [BLOCK-1:0] block;
    modulo_counter #(.COUNT(DEPTH / STEPS)) blocks (.clock(clock), .reset(reset), .enable(enable), .value(block));
    if (STEPS == 1) assign base = block;
    else assign base = {block, {$clog2(STEPS) {1'b0}}};
  end else begin : added
    always_ff @(posedge clock) begin
      if (reset || (enable && base == DEPTH - STEPS)) base <= '0;
      else if (enable) base <= base + ADDRESS'(STEPS);
    end
  end

  if (ROUNDS == 1) assign last_round = 1;
  else begin : rounds
    logic [$clog2(ROUNDS)-1:0] round;
    modulo_counter #(.COUNT(ROUNDS)) counter (.clock(clock), .reset(reset), .enable(enable), .value(round));
    assign last_round = round == ROUNDS - 1;
  end
endmodule
