// Counts the rows of a weight memory, and tells which step of its round a row is and whether its round is a window's
// last. Steps and rounds have counters of their own only where they are not bits of the row's number.
module row_counter #(
    parameter int DEPTH = 9,   // rows; a multiple of STEPS·ROUNDS
    parameter int STEPS = 3,   // rows of a round
    parameter int ROUNDS = 1,  // rounds of a window
    localparam int ADDRESS = DEPTH > 1 ? $clog2(DEPTH) : 1,
    localparam int STEP = STEPS > 1 ? $clog2(STEPS) : 1
) (
    input  logic               clock,
    input  logic               reset,
    input  logic               enable,
    output logic [ADDRESS-1:0] row,
    output logic [   STEP-1:0] step,
    output logic               last_step,
    output logic               last_round
);
  modulo_counter #(.COUNT(DEPTH)) rows (.clock(clock), .reset(reset), .enable(enable), .value(row));

  if (STEPS == DEPTH || STEPS == 1 << $clog2(STEPS)) assign step = STEPS > 1 ? row[STEP-1:0] : '0;
  else begin : counted_steps
    modulo_counter #(.COUNT(STEPS)) steps (.clock(clock), .reset(reset), .enable(enable), .value(step));
  end
  assign last_step = STEPS == 1 || step == STEPS - 1;

  localparam int INNER = STEPS * ROUNDS;
  if (ROUNDS == 1) assign last_round = 1;
  else if (INNER == DEPTH || INNER == 1 << $clog2(INNER))
    assign last_round = row[$clog2(INNER)-1:0] >= INNER - STEPS;
  else begin : counted_rounds
    localparam int ROUND = $clog2(ROUNDS);
    logic [ROUND-1:0] round;
    modulo_counter #(.COUNT(ROUNDS)) rounds (
        .clock(clock), .reset(reset), .enable(enable && last_step), .value(round)
    );
    assign last_round = round == ROUNDS - 1;
  end
endmodule
