// Moves signed sums to the left, each by a shift of its own, so that filters whose weights have different powers of two can
// be divided by one. Nothing may be lost: the caller makes OUT_BITS wide enough.
//
//   sum ──► << ──► register ──► out     row n mod ROWS of the memory `shift` holds the shifts of word n
//           ▲
//     shift ┘  is read one word ahead
//
// One word a cycle; latency 1, and a cycle in which the very first shifts are fetched.
module align #(
    parameter int STREAMS = 1,     // values side by side
    parameter int IN_BITS = 20,    // signed
    parameter int OUT_BITS = 24,   // signed
    parameter int SHIFT_BITS = 2,  // of a shift
    parameter int ROWS = 4,        // words until shifts repeat
    localparam int ADDRESS = ROWS > 1 ? $clog2(ROWS) : 1
) (
    input  logic                          clock,
    input  logic                          reset,
    input  logic                          in_valid,
    output logic                          in_ready,
    input  logic [   STREAMS*IN_BITS-1:0] in_data,
    output logic                          out_valid,
    input  logic                          out_ready,
    output logic [  STREAMS*OUT_BITS-1:0] out_data,
    output logic                          shift_enable,
    output logic [           ADDRESS-1:0] shift_address,
    input  logic [STREAMS*SHIFT_BITS-1:0] shift_data
);
  if (STREAMS < 1 || IN_BITS < 1 || OUT_BITS < 1 || SHIFT_BITS < 1 || ROWS < 1)
    $error("STREAMS, IN_BITS, OUT_BITS, SHIFT_BITS and ROWS must be at least 1");
  if (OUT_BITS < IN_BITS) $error("OUT_BITS must be at least IN_BITS");

  logic move, taken, ready;
  assign move = !out_valid || out_ready;
  assign in_ready = move && ready;
  assign taken = in_valid && in_ready;
  assign shift_enable = !ready || taken;

  always_ff @(posedge clock) begin
    ready <= !reset;
    if (reset || shift_enable && shift_address == ADDRESS'(ROWS - 1)) shift_address <= 0;
    else if (shift_enable) shift_address <= shift_address + 1;
    if (reset) out_valid <= 0;
    else if (move) out_valid <= taken;
  end

  for (genvar s = 0; s < STREAMS; s++) begin : streams
    logic signed [OUT_BITS-1:0] value;
    logic [SHIFT_BITS-1:0] shift;
    assign value = OUT_BITS'($signed(in_data[s*IN_BITS+:IN_BITS]));
    assign shift = shift_data[s*SHIFT_BITS+:SHIFT_BITS];
    always_ff @(posedge clock) if (taken) out_data[s*OUT_BITS+:OUT_BITS] <= value << shift;
  end
endmodule
