// Runs the rounds of an engine that skips pairs: loads the pairs of a round while it ends the one before, reads ahead
// in the mask, and lets all stages move as one.
//
//   window, row of the mask ──► load ──► round (`full`), one or more cycles, the last one `ended` ──► next load
//
// The mask's memory is read two rows ahead: what it gives waits in a register of the engine, which `enable` moves too.
// A window stays at the input until it is loaded for the last of its ROUNDS rounds. The mask has ROWS rows, one for each
// round, and begins anew behind the last one. `row` is that of the round under way.
module pair_control #(
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
    input  logic               ended,
    input  logic               done,     // sums of a round are there
    output logic               move,
    output logic               load,     // only with `move`
    output logic               start,    // the first cycle of a round
    output logic               last,     // its last one
    output logic               enable,   // of the mask
    output logic [ADDRESS-1:0] address,
    output logic [ADDRESS-1:0] row
);
  logic primed, early, final_round, full, free;
  logic [ADDRESS-1:0] given, shown;  // the rows at the memory's output, and in the register behind it
  logic [ROUND-1:0] round;

  assign move = !done || out_ready;
  assign last = full && ended;
  assign free = (!full || ended) && primed;
  assign load = move && free && in_valid;
  assign in_ready = move && free && final_round;
  assign enable = load || !primed;

  always_ff @(posedge clock) begin
    if (reset) {primed, early} <= 0;
    else {primed, early} <= {early, 1'b1};
    if (reset) full <= 0;
    else if (move) full <= load || full && !ended;
    if (move) start <= load;
    if (enable) {shown, given} <= {given, address};
    if (load) row <= shown;
  end

  modulo_counter #(.COUNT(ROWS)) rows (.clock(clock), .reset(reset), .enable(enable), .value(address));
  modulo_counter #(.COUNT(ROUNDS)) rounds (.clock(clock), .reset(reset), .enable(load), .value(round));
  assign final_round = round == ROUNDS - 1;
endmodule
