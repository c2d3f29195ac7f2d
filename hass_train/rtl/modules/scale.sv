// Multiplies sums by MULTIPLIER / 2^SHIFT, rounds half to even and saturates: the division of an average.
//
//   sum ──► × MULTIPLIER ──► + half ──► saturate     a register after each; the first two are a DSP's own
//
// The caller moves all registers together by `move`; three moves of latency. A power of two needs no DSP.
module scale #(
    parameter int STREAMS = 1,         // sums side by side
    parameter int IN_BITS = 12,        // of a sum
    parameter int OUT_BITS = 8,        // of a result
    parameter int SIGNED = 0,          // 1: sums and results are signed
    parameter int MULTIPLIER = 36409,  // 1 … 2^16 − 1
    parameter int SHIFT = 18           // 0 … 31
) (
    input  logic                        clock,
    input  logic                        move,
    input  logic [ STREAMS*IN_BITS-1:0] in_data,
    output logic [STREAMS*OUT_BITS-1:0] out_data
);
  if (MULTIPLIER < 1 || MULTIPLIER > 65535) $error("MULTIPLIER must be 1 … 65535");
  if (SHIFT > 31) $error("SHIFT must be at most 31");

  function automatic int halvings();  // both can be halved so often
    halvings = 0;
    for (int n = 0; n < 16; n++) if (halvings == n && n < SHIFT && (MULTIPLIER >> n) % 2 == 0) halvings = n + 1;
  endfunction
  localparam int BY = MULTIPLIER >> halvings();
  localparam int DOWN = SHIFT - halvings();
  localparam int SUM = IN_BITS + 1;  // with a sign
  localparam int PRODUCT = SUM + $clog2(BY + 1) + 1 > DOWN + 1 ? SUM + $clog2(BY + 1) + 1 : DOWN + 2;
  localparam int KEPT = PRODUCT - DOWN > OUT_BITS + 1 ? PRODUCT - DOWN : OUT_BITS + 2;
  localparam logic signed [PRODUCT-1:0] HALF = DOWN > 0 ? PRODUCT'(1) << (DOWN > 0 ? DOWN - 1 : 0) : '0;
  localparam logic signed [KEPT-1:0] LARGEST = SIGNED != 0 ? (1 <<< (OUT_BITS - 1)) - 1 : (1 <<< OUT_BITS) - 1;
  localparam logic signed [KEPT-1:0] SMALLEST = SIGNED != 0 ? -(1 <<< (OUT_BITS - 1)) : 0;

  for (genvar s = 0; s < STREAMS; s++) begin : streams
    logic signed [SUM-1:0] sum;
    logic signed [PRODUCT-1:0] product, rounded;
    logic signed [KEPT-1:0] above, even;
    logic tie;
    assign sum = {SIGNED != 0 && in_data[(s+1)*IN_BITS-1], in_data[s*IN_BITS+:IN_BITS]};
    always_ff @(posedge clock)
      if (move) begin
        product <= sum * $signed({1'b0, 17'(BY)});
        rounded <= product + HALF;
      end
    // A half was rounded up, to an odd number perhaps, which is then the even one's successor. BY is odd, so there are
    // halves only among multiples of HALF.
    if (DOWN == 0 || DOWN > IN_BITS) assign tie = 0;
    else assign tie = rounded[DOWN-1:0] == '0;
    assign above = KEPT'(rounded >>> DOWN);
    assign even = {above[KEPT-1:1], above[0] && !tie};
    always_ff @(posedge clock)
      if (move)
        out_data[s*OUT_BITS+:OUT_BITS] <= even > LARGEST ? LARGEST[OUT_BITS-1:0]
            : even < SMALLEST ? SMALLEST[OUT_BITS-1:0] : even[OUT_BITS-1:0];
  end
endmodule
