// Prunes activations: values of a magnitude of at most THRESHOLD become 0, others pass.
//
// One word a cycle; latency 1. The zero is the synchronous reset of the register, which costs no LUTs.
module threshold #(
    parameter int STREAMS = 1,    // values side by side
    parameter int BITS = 8,
    parameter int THRESHOLD = 2,  // 0: nothing is pruned
    parameter int SIGNED = 1      // 1: values are in two's complement
) (
    input  logic                    clock,
    input  logic                    reset,
    input  logic                    in_valid,
    output logic                    in_ready,
    input  logic [STREAMS*BITS-1:0] in_data,
    output logic                    out_valid,
    input  logic                    out_ready,
    output logic [STREAMS*BITS-1:0] out_data
);
  localparam int MAGNITUDE = SIGNED != 0 ? BITS - 1 : BITS;
  if (STREAMS < 1) $error("STREAMS must be at least 1");
  if (THRESHOLD >> MAGNITUDE != 0) $error("THRESHOLD must be less than the largest value");

  localparam int LOW = $clog2(THRESHOLD + 1);  // the bits above these must all be like the sign

  // |value| ≤ THRESHOLD, from the lowest bit up; the bits of a negative value −v are inverted: v − 1 < THRESHOLD
  function automatic logic pruned(logic [BITS-1:0] value);
    logic negative;
    negative = SIGNED != 0 && value[BITS-1];
    pruned = !negative;
    for (int place = 0; place < LOW; place++)
      if (THRESHOLD >> place & 1) pruned = pruned || value[place] == negative;
      else pruned = pruned && value[place] == negative;
    for (int place = LOW; place < BITS - SIGNED; place++)  // neighbours are compared, which takes the fewest LUTs
      pruned = pruned && value[place] == (SIGNED != 0 ? value[place+SIGNED] : 1'b0);
  endfunction

  logic move;
  assign move = !out_valid || out_ready;
  assign in_ready = move;

  always_ff @(posedge clock) begin
    if (reset) out_valid <= 0;
    else if (move) out_valid <= in_valid;
  end

  for (genvar s = 0; s < STREAMS; s++) begin : streams
    logic [BITS-1:0] value;
    assign value = in_data[s*BITS+:BITS];
    always_ff @(posedge clock) if (move) out_data[s*BITS+:BITS] <= pruned(value) ? 0 : value;
  end
endmodule
