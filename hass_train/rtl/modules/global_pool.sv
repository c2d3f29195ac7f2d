// The average or the largest value of every channel over all pixels of a map.
//
//   in ──► + or max ──┬──► of the last pixel ──► × MULTIPLIER / 2^SHIFT ──► out
//            ▲        ▼
//            └── DEPTH words of what there was so far
//
// In: PIXELS_OF_MAP pixels of DEPTH words of STREAMS channels. Out: DEPTH words after the last pixel of a map, while the
// next map is read already. A word read a cycle; 4 cycles of latency, 1 for the largest. Averages are rounded half to even.
module global_pool #(
    parameter int STREAMS = 1,         // channels in a word
    parameter int DEPTH = 16,          // words of a pixel
    parameter int PIXELS_OF_MAP = 49,  // rows × columns
    parameter int BITS = 8,            // of a value
    parameter int SIGNED = 0,          // 1: values are signed
    parameter int MULTIPLIER = 42799,  // 1 … 2^16 − 1; only for averages, as SHIFT is
    parameter int SHIFT = 21,          // 0 … 31
    parameter int OPERATION = 0        // 0: average, 1: largest
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
  if (STREAMS < 1 || BITS < 1 || MULTIPLIER < 1 || DEPTH < 1 || PIXELS_OF_MAP < 1)
    $error("STREAMS, BITS, MULTIPLIER, DEPTH and PIXELS_OF_MAP must be at least 1");

  localparam int SUM = OPERATION == 0 ? BITS + $clog2(PIXELS_OF_MAP) : BITS;
  localparam int STEPS = OPERATION == 0 ? 4 : 1;
  localparam int ADDRESS = DEPTH > 1 ? $clog2(DEPTH) : 1;

  logic move, take, last_pass, last_pixel, later;
  logic [ADDRESS-1:0] pass;
  logic [STEPS-1:0] valid;
  assign move = !out_valid || out_ready;
  assign in_ready = move;
  assign take = move && in_valid;
  assign out_valid = valid[STEPS-1];
  always_ff @(posedge clock)
    if (reset) valid <= '0;
    else if (move) valid <= STEPS'({valid, in_valid && last_pixel});

  range_counter #(.LENGTH(DEPTH), .FIRST(0), .END(DEPTH)) passes (
      .clock(clock), .reset(reset), .step(take), .count(pass), .last(last_pass), .inner()
  );
  range_counter #(.LENGTH(PIXELS_OF_MAP), .FIRST(1), .END(PIXELS_OF_MAP)) pixels (
      .clock(clock), .reset(reset), .step(take && last_pass), .count(), .last(last_pixel), .inner(later)
  );

  logic [STREAMS*SUM-1:0] earlier, total, result;
  delay_lines #(.WIDTH(STREAMS * SUM), .DEPTH(DEPTH), .LINES(1), .BLOCK(SUM * DEPTH >= 1024 ? 1 : 0)) partial (
      .clock(clock), .reset(reset), .step(take), .address(pass), .in_data(total), .out_data(earlier)
  );
  for (genvar s = 0; s < STREAMS; s++) begin : streams
    logic [SUM-1:0] value;
    if (SUM == BITS) assign value = in_data[s*BITS+:BITS];
    else assign value = {{SUM - BITS{SIGNED != 0 && in_data[(s+1)*BITS-1]}}, in_data[s*BITS+:BITS]};
    if (OPERATION == 0) assign total[s*SUM+:SUM] = value + (later ? earlier[s*SUM+:SUM] : '0);
    else begin : largest
      logic [SUM-1:0] larger;
      maximum #(.BITS(SUM), .SIGNED(SIGNED)) compare (
          .first(earlier[s*SUM+:SUM]), .second(value), .largest(larger)
      );
      assign total[s*SUM+:SUM] = later ? larger : value;
    end
  end
  if (DEPTH == 1) assign result = earlier;
  else begin : registered
    always_ff @(posedge clock) if (move) result <= total;
  end

  if (OPERATION != 0) assign out_data = result;
  else begin : average
    scale #(
        .STREAMS(STREAMS), .IN_BITS(SUM), .OUT_BITS(BITS), .SIGNED(SIGNED), .MULTIPLIER(MULTIPLIER), .SHIFT(SHIFT)
    ) scaled (.clock(clock), .move(move), .in_data(result), .out_data(out_data));
  end
endmodule
