// Runs the rounds of a weight engine: counts them, reads two rows ahead in the memory that says what to do, and lets all
// stages move as one. What the memory gives waits in a register of the engine, which `enable` moves too.
//
// A window stays at the input for ROUNDS rounds, of one or more cycles each. `step`: the engine works this cycle, and
// `last` then says that it ends its round; `done` that the sums of a round are there. The memory has ROWS rows, one for
// each cycle, and begins anew behind the last one.
module engine_control #(
    parameter int ROWS = 4,
    parameter int ROUNDS = 2,
    localparam int ADDRESS = ROWS > 1 ? $clog2(ROWS) : 1,
    localparam int ROUND = ROUNDS > 1 ? $clog2(ROUNDS) : 1
) (
    input  logic               clock,
    input  logic               reset,
    input  logic               in_valid,
    output logic               in_ready,
    input  logic               out_ready,
    input  logic               last,
    input  logic               done,
    output logic               step,
    output logic               move,
    output logic               start,   // the first cycle of a round
    output logic               enable,  // of the memory
    output logic [ADDRESS-1:0] address
);
  logic primed, early, final_round;
  logic [ROUND-1:0] round;

  assign move = !done || out_ready;
  assign step = in_valid && primed && move;
  assign enable = step || !primed;
  assign in_ready = primed && move && last && final_round;

  always_ff @(posedge clock) begin
    if (reset) {primed, early} <= 0;
    else {primed, early} <= {early, 1'b1};
    if (reset) start <= 1;
    else if (step) start <= last;
  end

  modulo_counter #(.COUNT(ROWS)) rows (.clock(clock), .reset(reset), .enable(enable), .value(address));
  modulo_counter #(.COUNT(ROUNDS)) rounds (.clock(clock), .reset(reset), .enable(step && last), .value(round));
  assign final_round = round == ROUNDS - 1;
endmodule
