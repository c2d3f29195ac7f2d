// Multiplies every pixel of a map by one gate a channel (squeeze and excite): of a frame, stream `b` brings the DEPTH words
// of gates once, stream `a` brings PIXELS pixels of DEPTH words. Products are rounded half to even at bit SHIFT, saturated.
//
//   b ──► gates (LUTRAM or block RAM) ──► register ─┐
//                                                   × ──► register ──► requantise ──► out
//   a ──► register ──► register ────────────────────┘
//
// One word of `a` a cycle, the first pixel too: its words go along with those of `b`. Latency 5; one DSP a stream.
module stream_multiply #(
    parameter int STREAMS = 1,     // channels side by side
    parameter int A_BITS = 8,
    parameter int B_BITS = 8,
    parameter int SIGNED_A = 1,    // whether values of `a` are in two's complement
    parameter int SIGNED_B = 0,
    parameter int DEPTH = 4,       // words a pixel
    parameter int PIXELS = 4,      // of the map
    parameter int SHIFT = 8,       // of the product, to the right
    parameter int OUT_BITS = 8,
    parameter int SIGNED_OUT = 1,  // 0: to 0 … 2^OUT_BITS − 1, which is a ReLU too
    parameter int BLOCK = 0        // 1: gates in block RAM, for hundreds of words
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
  if (STREAMS < 1 || A_BITS < 1 || B_BITS < 1 || DEPTH < 1 || PIXELS < 1)
    $error("STREAMS, A_BITS, B_BITS, DEPTH and PIXELS must be at least 1");
  if (A_BITS + (SIGNED_A != 0 ? 0 : 1) > 18) $error("A_BITS must be at most what a DSP takes, 18 with the sign");
  if (B_BITS + (SIGNED_B != 0 ? 0 : 1) > 18) $error("B_BITS must be at most what a DSP takes, 18 with the sign");

  localparam int BITS = A_BITS + B_BITS + (SIGNED_A != 0 || SIGNED_B != 0 ? 0 : 1);
  localparam int WORD_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1;
  localparam int PIXEL_BITS = PIXELS > 1 ? $clog2(PIXELS) : 1;

  logic move, taken, first, last, product_valid, product_ready;
  logic [1:0] valid;  // of the two registers of `a`
  logic [WORD_BITS-1:0] word, fetched;
  logic [PIXEL_BITS-1:0] pixel;
  logic [STREAMS*A_BITS-1:0] early, values;
  logic [STREAMS*B_BITS-1:0] gates;
  logic [STREAMS*BITS-1:0] products;

  assign move = !product_valid || product_ready;
  assign taken = a_valid && (b_valid || !first);
  assign a_ready = move && (b_valid || !first);
  assign b_ready = move && a_valid && first;
  assign first = pixel == 0;
  assign last = word == WORD_BITS'(DEPTH - 1);

  always_ff @(posedge clock) begin
    if (reset) {product_valid, valid} <= 0;
    else if (move) {product_valid, valid} <= {valid, taken};
    if (reset || move && taken && last) word <= 0;
    else if (move && taken) word <= word + 1;
    if (reset || move && taken && last && pixel == PIXEL_BITS'(PIXELS - 1)) pixel <= 0;
    else if (move && taken && last) pixel <= pixel + 1;
    if (move) begin
      early   <= a_data;
      values  <= early;
      fetched <= word;
    end
  end

  // a gate is written when it comes and read in the next cycle, in the first pixel as in the others
  if (PIXELS == 1 || DEPTH == 1) begin : single
    logic [STREAMS*B_BITS-1:0] row;
    always_ff @(posedge clock)
      if (move) begin
        if (first) row <= b_data;
        gates <= row;
      end
  end else if (BLOCK != 0) begin : block
    (* ram_style = "block", no_rw_check *) logic [STREAMS*B_BITS-1:0] rows[1<<WORD_BITS];
    always_ff @(posedge clock) begin
      if (move && first) rows[word] <= b_data;
      if (move) gates <= rows[fetched];
    end
  end else begin : distributed
    (* ram_style = "distributed" *) logic [STREAMS*B_BITS-1:0] rows[DEPTH];
    always_ff @(posedge clock) begin
      if (move && first) rows[word] <= b_data;
      if (move) gates <= rows[fetched];
    end
  end

  for (genvar s = 0; s < STREAMS; s++) begin : streams
    logic [A_BITS-1:0] a;
    logic [B_BITS-1:0] b;
    logic signed [A_BITS:0] wide_a;
    logic signed [B_BITS:0] wide_b;
    logic signed [BITS-1:0] product;
    assign a = values[s*A_BITS+:A_BITS];
    assign b = gates[s*B_BITS+:B_BITS];
    assign wide_a = {SIGNED_A != 0 && a[A_BITS-1], a};
    assign wide_b = {SIGNED_B != 0 && b[B_BITS-1], b};
    assign product = wide_a * wide_b;
    always_ff @(posedge clock) if (move) products[s*BITS+:BITS] <= product;
  end

  requantise #(
      .STREAMS(STREAMS), .IN_BITS(BITS), .OUT_BITS(OUT_BITS), .SHIFT(SHIFT), .SIGNED_OUT(SIGNED_OUT)
  ) requantised (
      .clock(clock), .reset(reset),
      .in_valid(product_valid), .in_ready(product_ready), .in_data(products),
      .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data)
  );
endmodule
