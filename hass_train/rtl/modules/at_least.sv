// Whether at least one, two and three of some bits are set, by a tree: pairs, pairs of pairs …
module at_least #(
    parameter int BITS = 9
) (
    input  logic [BITS-1:0] bits,
    output logic            one,
    output logic            two,
    output logic            three
);
  localparam int LEAVES = 1 << $clog2(BITS);
  logic [2*LEAVES-1:0] ones, twos, threes;  // of node n, which has the nodes 2n and 2n + 1 below it
  for (genvar n = LEAVES; n < 2 * LEAVES; n++) begin : leaves
    if (n - LEAVES < BITS) assign ones[n] = bits[n-LEAVES];
    else assign ones[n] = 0;
    assign {twos[n], threes[n]} = '0;
  end
  for (genvar n = 1; n < LEAVES; n++) begin : nodes
    assign ones[n] = ones[2*n] | ones[2*n+1];
    assign twos[n] = twos[2*n] | twos[2*n+1] | ones[2*n] & ones[2*n+1];
    assign threes[n] = threes[2*n] | threes[2*n+1] | twos[2*n] & ones[2*n+1] | ones[2*n] & twos[2*n+1];
  end
  assign {ones[0], twos[0], threes[0]} = '0;
  assign {one, two, three} = {ones[1], twos[1], threes[1]};
endmodule
