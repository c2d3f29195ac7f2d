// Adds what the passes over channels give for each block of filters, and a bias. Words come pass by pass, within it round
// by round (a round is a block of STREAMS filters); the sums leave during the last pass, round by round.
//
//   in ──► + ──► register ──► out          pass 0:   bias of the round + in
//          ▲  │                            then:     partial sum of the round + in
//     bias ┴──┴─ partial sums (LUTRAM; ROUNDS = 1: the register)
//
// One word a cycle; latency 1. Row group · ROUNDS + round of the memory `bias` is read one word ahead.
module accumulator #(
    parameter int STREAMS = 1,     // filters side by side
    parameter int PASSES = 4,      // words that are added for a sum
    parameter int ROUNDS = 4,
    parameter int GROUPS = 1,      // each with its own biases, one after the other
    parameter int IN_BITS = 20,    // signed
    parameter int BIAS_BITS = 20,  // signed
    parameter int OUT_BITS = 24,   // signed; beyond that sums wrap
    localparam int ROWS = GROUPS * ROUNDS,
    localparam int BIAS_ADDRESS = ROWS > 1 ? $clog2(ROWS) : 1
) (
    input  logic                         clock,
    input  logic                         reset,
    input  logic                         in_valid,
    output logic                         in_ready,
    input  logic [  STREAMS*IN_BITS-1:0] in_data,
    output logic                         out_valid,
    input  logic                         out_ready,
    output logic [ STREAMS*OUT_BITS-1:0] out_data,
    output logic                         bias_enable,
    output logic [     BIAS_ADDRESS-1:0] bias_address,
    input  logic [STREAMS*BIAS_BITS-1:0] bias_data
);
  if (STREAMS < 1 || PASSES < 1 || ROUNDS < 1 || GROUPS < 1 || IN_BITS < 1 || BIAS_BITS < 1 || OUT_BITS < 1)
    $error("STREAMS, PASSES, ROUNDS, GROUPS, IN_BITS, BIAS_BITS and OUT_BITS must be at least 1");
  if (IN_BITS > OUT_BITS) $error("IN_BITS must be at most OUT_BITS");
  if (BIAS_BITS > OUT_BITS) $error("BIAS_BITS must be at most OUT_BITS");

  localparam int PASS_BITS = PASSES > 1 ? $clog2(PASSES) : 1;
  localparam int ROUND_BITS = ROUNDS > 1 ? $clog2(ROUNDS) : 1;

  logic move, taken, ready, first, last, turn;  // turn: the last round of a pass
  logic [STREAMS*OUT_BITS-1:0] sums, partial;
  logic [ROUND_BITS-1:0] round;

  assign move = !out_valid || out_ready;
  assign in_ready = move && ready;
  assign taken = in_valid && in_ready;

  // the bias of the next word is fetched with a word; the very first one after the reset
  assign bias_enable = !ready || taken && (first || GROUPS == 1);
  always_ff @(posedge clock) begin
    ready <= !reset;
    if (reset || bias_enable && bias_address == BIAS_ADDRESS'(ROWS - 1) && ROWS != 1 << BIAS_ADDRESS) bias_address <= 0;
    else if (bias_enable) bias_address <= bias_address + 1;
  end

  if (ROUNDS == 1) assign {turn, round} = 2'b10;
  else begin : rounds
    assign turn = round == ROUND_BITS'(ROUNDS - 1);
    if (GROUPS == 1) begin : fetched  // the row that was fetched last
      always_ff @(posedge clock) if (bias_enable) round <= bias_address;
    end else begin : counted
      always_ff @(posedge clock) begin
        if (reset || taken && turn) round <= 0;
        else if (taken) round <= round + 1;
      end
    end
  end

  if (PASSES == 1) assign {first, last} = 2'b11;
  else begin : passes
    logic [PASS_BITS-1:0] pass;
    assign first = pass == 0;
    assign last = pass == PASS_BITS'(PASSES - 1);
    always_ff @(posedge clock) begin
      if (reset || taken && turn && last) pass <= 0;
      else if (taken && turn) pass <= pass + 1;
    end
  end

  if (ROUNDS == 1 || PASSES == 1) assign partial = out_data;
  else begin : memory
    (* ram_style = "distributed" *) logic [STREAMS*OUT_BITS-1:0] rows[ROUNDS];
    assign partial = rows[round];
    always_ff @(posedge clock) if (taken) rows[round] <= sums;
  end

  for (genvar s = 0; s < STREAMS; s++) begin : streams
    logic signed [IN_BITS-1:0] value;
    logic signed [BIAS_BITS-1:0] bias;
    logic signed [OUT_BITS-1:0] addend;
    assign value = in_data[s*IN_BITS+:IN_BITS];
    assign bias = bias_data[s*BIAS_BITS+:BIAS_BITS];
    assign addend = first ? bias : $signed(partial[s*OUT_BITS+:OUT_BITS]);
    assign sums[s*OUT_BITS+:OUT_BITS] = addend + value;
  end

  always_ff @(posedge clock) begin
    if (taken) out_data <= sums;
    if (reset) out_valid <= 0;
    else if (move) out_valid <= taken && last;
  end
endmodule
