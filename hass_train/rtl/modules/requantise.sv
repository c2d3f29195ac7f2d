// Divides signed sums by 2^SHIFT, rounds half to even, saturates to OUT_BITS: the last step of a layer.
//
//   sum ──► half to even at bit SHIFT ──► saturate ──► register ──► value
//
// One word a cycle, two cycles of latency.
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
  if (SHIFT >= IN_BITS) $error("SHIFT must be less than IN_BITS");

  localparam int KEPT = IN_BITS - SHIFT + 1;  // one bit more, for what rounding carries
  localparam int BITS = KEPT > OUT_BITS + 1 ? KEPT : OUT_BITS + 2;
  localparam logic signed [BITS-1:0] LARGEST = SIGNED_OUT != 0 ? (1 <<< (OUT_BITS - 1)) - 1 : (1 <<< OUT_BITS) - 1;
  localparam logic signed [BITS-1:0] SMALLEST = SIGNED_OUT != 0 ? -(1 <<< (OUT_BITS - 1)) : 0;

  logic move;  // a pipeline of one step that moves as a whole
  assign move = !out_valid || out_ready;
  assign in_ready = move;

  always_ff @(posedge clock) begin
    if (reset) out_valid <= 0;
    else if (move) out_valid <= in_valid;
  end

  for (genvar s = 0; s < STREAMS; s++) begin : streams
    logic signed [IN_BITS-1:0] sum;
    logic signed [BITS-1:0] rounded;
    assign sum = in_data[s*IN_BITS+:IN_BITS];
    if (SHIFT == 0) assign rounded = sum;
    else begin : shifted
      logic up, half;
      assign half = sum[SHIFT-1];
      if (SHIFT == 1) assign up = half && sum[SHIFT];
      else assign up = half && (sum[SHIFT] || |sum[SHIFT-2:0]);
      assign rounded = (sum >>> SHIFT) + $signed({1'b0, up});
    end
    always_ff @(posedge clock)
      if (move)
        out_data[s*OUT_BITS+:OUT_BITS] <= rounded > LARGEST ? LARGEST[OUT_BITS-1:0]
            : rounded < SMALLEST ? SMALLEST[OUT_BITS-1:0] : rounded[OUT_BITS-1:0];
  end
endmodule
