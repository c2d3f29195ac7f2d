// Adds two streams, as at the end of a residual block: (a · 2^SHIFT_A + b · 2^SHIFT_B) / 2^SHIFT, rounded half to even and
// saturated.
//
//   a ──► shift ─┐
//                ├─ + ──► register ──► requantise ──► out
//   b ──► shift ─┘
//
// One word a cycle; latency 3.
module stream_add #(
    parameter int STREAMS = 1,    // values side by side
    parameter int A_BITS = 8,
    parameter int B_BITS = 8,
    parameter int SIGNED_A = 1,   // whether values of `a` are in two's complement
    parameter int SIGNED_B = 1,
    parameter int SHIFT_A = 0,    // to the left, to align what stands for different powers of two; one of both is 0
    parameter int SHIFT_B = 0,
    parameter int SHIFT = 0,      // of the sum, to the right
    parameter int OUT_BITS = 8,
    parameter int SIGNED_OUT = 1  // 0: to 0 … 2^OUT_BITS − 1, which is a ReLU too
) (
    input  logic                        clock,
    input  logic                        reset,
    input  logic                        a_valid,
    output logic                        a_ready,
    input  logic [  STREAMS*A_BITS-1:0] a_data,
    input  logic                        b_valid,
    output logic                        b_ready,
    input  logic [  STREAMS*B_BITS-1:0] b_data,
    output logic                        out_valid,
    input  logic                        out_ready,
    output logic [STREAMS*OUT_BITS-1:0] out_data
);
  if (STREAMS < 1 || A_BITS < 1 || B_BITS < 1) $error("STREAMS, A_BITS and B_BITS must be at least 1");

  localparam int WIDE_A = A_BITS + (SIGNED_A != 0 ? 0 : 1) + SHIFT_A;
  localparam int WIDE_B = B_BITS + (SIGNED_B != 0 ? 0 : 1) + SHIFT_B;
  localparam int BITS = (WIDE_A > WIDE_B ? WIDE_A : WIDE_B) + 1;

  logic move, sum_valid, sum_ready;
  logic [STREAMS*BITS-1:0] sums;

  assign move = !sum_valid || sum_ready;
  assign a_ready = move && b_valid;
  assign b_ready = move && a_valid;

  always_ff @(posedge clock) begin
    if (reset) sum_valid <= 0;
    else if (move) sum_valid <= a_valid && b_valid;
  end

  for (genvar s = 0; s < STREAMS; s++) begin : streams
    logic [A_BITS-1:0] a;
    logic [B_BITS-1:0] b;
    logic signed [BITS-1:0] wide_a, wide_b;
    assign a = a_data[s*A_BITS+:A_BITS];
    assign b = b_data[s*B_BITS+:B_BITS];
    assign wide_a = $signed({SIGNED_A != 0 && a[A_BITS-1], a}) <<< SHIFT_A;
    assign wide_b = $signed({SIGNED_B != 0 && b[B_BITS-1], b}) <<< SHIFT_B;
    always_ff @(posedge clock) if (move) sums[s*BITS+:BITS] <= wide_a + wide_b;
  end

  requantise #(
      .STREAMS(STREAMS), .IN_BITS(BITS), .OUT_BITS(OUT_BITS), .SHIFT(SHIFT), .SIGNED_OUT(SIGNED_OUT)
  ) requantised (
      .clock(clock), .reset(reset),
      .in_valid(sum_valid), .in_ready(sum_ready), .in_data(sums),
      .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data)
  );
endmodule
