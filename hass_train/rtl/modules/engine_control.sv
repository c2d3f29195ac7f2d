// Runs the rounds of a weight engine: counts them, reads ahead in the memory that says what to do, and lets all stages
// move as one.
//
// A window stays at the input for ROUNDS rounds, of one or more cycles each. `step`: the engine works this cycle, and
// `last` then says that it ends its round; `done` that the sums of a round are there. The memory has ROWS rows, one for
// each cycle, and begins anew behind the last one.
module engine_control #(
    parameter int ROWS = 4,
    parameter int ROUNDS = 2,
    localparam int ADDRESS = ROWS > 1 ? $clog2(ROWS) : 1
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
  logic primed, final_round;

  assign move = !done || out_ready;
  assign step = in_valid && primed && move;
  assign enable = step || !primed;
  assign in_ready = primed && move && last && final_round;

  always_ff @(posedge clock) begin
    if (reset) primed <= 0;
    else primed <= 1;
    if (reset) start <= 1;
    else if (step) start <= last;
    if (reset) address <= 0;
    else if (enable) address <= address == ADDRESS'(ROWS - 1) ? ADDRESS'(0) : address + ADDRESS'(1);
  end

  if (ROUNDS == 1) assign final_round = 1;
  else begin : several
    localparam int BITS = $clog2(ROUNDS);
    logic [BITS-1:0] round;
    assign final_round = round == BITS'(ROUNDS - 1);
    always_ff @(posedge clock)
      if (reset) round <= 0;
      else if (step && last) round <= final_round ? BITS'(0) : round + BITS'(1);
  end
endmodule
