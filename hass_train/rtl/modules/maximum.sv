// The larger of two values, without a clock.
module maximum #(
    parameter int BITS   = 8,
    parameter int SIGNED = 0
) (
    input  logic [BITS-1:0] first,
    input  logic [BITS-1:0] second,
    output logic [BITS-1:0] largest
);
  // Bit by bit from below: fewer LUTs than a subtraction where they have six inputs.
  function automatic logic greater(input logic [BITS-1:0] left, input logic [BITS-1:0] right);
    greater = 0;
    for (int n = 0; n < BITS - 1; n++) if (left[n] != right[n]) greater = left[n];
    if (left[BITS-1] != right[BITS-1]) greater = SIGNED != 0 ? right[BITS-1] : left[BITS-1];
  endfunction
  assign largest = (SIGNED != 0 ? $signed(first) > $signed(second) : first > second) ? first : second;
endmodule
