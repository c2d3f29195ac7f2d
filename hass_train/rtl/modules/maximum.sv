// The largest of up to three values, without a clock.
module maximum #(
    parameter int BITS   = 8,
    parameter int VALUES = 3,  // 1, 2 or 3
    parameter int SIGNED = 0
) (
    input  logic [VALUES*BITS-1:0] values,
    output logic [       BITS-1:0] largest
);
  // Bit by bit from below, which takes half the LUTs of a subtraction.
  function automatic logic greater(input logic [BITS-1:0] left, input logic [BITS-1:0] right);
    greater = 0;
    for (int n = 0; n < BITS - 1; n++) if (left[n] != right[n]) greater = left[n];
    if (left[BITS-1] != right[BITS-1]) greater = SIGNED != 0 ? right[BITS-1] : left[BITS-1];
  endfunction

  if (VALUES == 1) assign largest = values;
  else begin : several
    logic [BITS-1:0] first, second;
    assign {second, first} = values[2*BITS-1:0];
    if (VALUES == 2) assign largest = greater(first, second) ? first : second;
    else begin : three
      logic [BITS-1:0] third;
      assign third = values[3*BITS-1:2*BITS];
      logic is_first, is_second;
      assign is_first = greater(first, second) && greater(first, third);
      assign is_second = greater(second, third);
      assign largest = is_first ? first : is_second ? second : third;
    end
  end
endmodule
