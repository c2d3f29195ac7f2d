// Takes one field out of each of TERMS packed sums, adds them in a tree of registers, and accumulates what comes out of
// it over a round. A field below the top one is what it holds plus half its range.
module field_sums #(
    parameter int TERMS = 2,
    parameter int IN_BITS = 42,
    parameter int PLACE = 0,       // where the field begins
    parameter int FIELD = 17,
    parameter int TOP = 0,         // 1: the field ends with the sum
    parameter int SUM_BITS = 20,
    parameter int ACCUMULATE = 1   // 0: rounds take one step
) (
    input  logic                       clock,
    input  logic                       move,
    input  logic                       further,  // a cycle early: what will come continues the sum
    input  logic [  TERMS*IN_BITS-1:0] in,
    output logic signed [SUM_BITS-1:0] sum
);
  localparam int LEAVES = 1 << $clog2(TERMS);
  localparam int BITS = TOP != 0 ? IN_BITS - PLACE : FIELD;
  localparam int NODE = BITS + $clog2(TERMS) < SUM_BITS ? BITS + $clog2(TERMS) : SUM_BITS;

  logic signed [NODE-1:0] nodes[2*LEAVES];  // node n adds nodes 2n and 2n + 1
  for (genvar t = 0; t < LEAVES; t++) begin : leaves
    if (t < TERMS) begin : used
      logic signed [BITS-1:0] value;
      if (TOP != 0) assign value = in[t*IN_BITS+PLACE+:BITS];
      else assign value = {!in[t*IN_BITS+PLACE+FIELD-1], in[t*IN_BITS+PLACE+:FIELD-1]};
      assign nodes[LEAVES+t] = NODE'(value);
    end else begin : none
      assign nodes[LEAVES+t] = '0;
    end
  end
  for (genvar n = 1; n < LEAVES; n++) begin : tree
    always_ff @(posedge clock) if (move) nodes[n] <= nodes[2*n] + nodes[2*n+1];
  end

  if (ACCUMULATE != 0) begin : accumulated
    logic signed [SUM_BITS-1:0] all;
    assign all = nodes[1];
    running_sum #(.SUM_BITS(SUM_BITS)) steps (
        .clock(clock), .move(move), .further(further), .in(all), .sum(sum)
    );
  end else begin : direct
    assign sum = nodes[1];
  end
endmodule
