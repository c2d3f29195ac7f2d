// Divides signed sums by 2^SHIFT, rounds half to even, saturates to OUT_BITS: the last step of a layer.
//
//   sum ──► half to even at bit SHIFT ──► register ──► register ──► value
//                 too small: reset to the smallest ─┘         └─ too large: set to the largest
//
// Saturation costs no multiplexer: it is the synchronous set and reset of two rows of flip-flops. One word a cycle, read
// to written in three cycles (latency 2).
module requantise #(
    parameter int STREAMS = 1,    // values side by side
    parameter int IN_BITS = 20,   // signed
    parameter int OUT_BITS = 8,
    parameter int SHIFT = 7,      // 0: saturate only
    parameter int SIGNED_OUT = 1  // 0: to 0 … 2^OUT_BITS − 1, which is a ReLU too
) (
    input  logic                        clock,
    input  logic                        reset,
    input  logic                        in_valid,
    output logic                        in_ready,
    input  logic [ STREAMS*IN_BITS-1:0] in_data,
    output logic                        out_valid,
    input  logic                        out_ready,
    output logic [STREAMS*OUT_BITS-1:0] out_data
);
  if (STREAMS < 1 || IN_BITS < 1) $error("STREAMS and IN_BITS must be at least 1");
  if (SHIFT >= IN_BITS) $error("SHIFT must be less than IN_BITS");

  localparam int BODY = SIGNED_OUT != 0 ? OUT_BITS - 1 : OUT_BITS;  // bits without the sign
  localparam int KEPT = IN_BITS - SHIFT;
  localparam int BITS = KEPT > BODY + 1 ? KEPT : BODY + 1;
  localparam logic [OUT_BITS-1:0] LARGEST = {OUT_BITS{1'b1}} >> (OUT_BITS - BODY);

  logic move, middle_valid;  // a pipeline of two steps that moves as a whole
  assign move = !out_valid || out_ready;
  assign in_ready = move;

  always_ff @(posedge clock) begin
    if (reset) {out_valid, middle_valid} <= 0;
    else if (move) {out_valid, middle_valid} <= {middle_valid, in_valid};
  end

  for (genvar s = 0; s < STREAMS; s++) begin : streams
    logic signed [IN_BITS-1:0] sum;
    logic signed [BITS-1:0] kept;
    logic [BODY:0] rounded, middle;
    logic up, negative, under, positive, over;

    assign sum = in_data[s*IN_BITS+:IN_BITS];
    assign kept = sum >>> SHIFT;
    assign negative = sum[IN_BITS-1];
    assign under = negative && (SIGNED_OUT == 0 || !(&kept[BITS-1:BODY]));
    if (SHIFT == 0) assign up = 0;
    else if (SHIFT == 1) assign up = sum[0] && sum[1];
    else assign up = sum[SHIFT-1] && (sum[SHIFT] || |sum[SHIFT-2:0]);
    assign rounded = kept[BODY:0] + (BODY + 1)'(up);

    always_ff @(posedge clock)
      if (move) begin
        if (under) middle <= SIGNED_OUT != 0 ? 1 << BODY : 0;
        else middle <= rounded;
        positive <= !negative;
        over <= !negative && |kept[BITS-1:BODY];
        // a positive one whose top bit is set was rounded up beyond the largest
        if (over || positive && middle[BODY]) out_data[s*OUT_BITS+:OUT_BITS] <= LARGEST;
        else out_data[s*OUT_BITS+:OUT_BITS] <= middle[OUT_BITS-1:0];
      end
  end
endmodule
