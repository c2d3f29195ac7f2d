// Multiplies LANES values by their weights and adds the products up over the cycles of a round.
//
//   values  ──► registers ──► × ──► + ──► + ──► …   cascades of up to 8 lanes, with a register after every second one
//   weights ──► registers ──┘        └──► accumulator ──► sum
//
// A lane's operands wait in registers for the products before it, so that DSP blocks add along their cascade. `first`
// comes with the first values of a round, `last` with its last ones, and `done` with their sum; `idle` comes with the
// weights of lanes that count as zero. Nothing moves without `move`.
//
// PRODUCTS=2: two sets of values share the weights, and two products a DSP48: (high·2^SPACE + low)·weight. The sum of
// the low products takes one bit more than its field. That bit is its sign; it has been added to the field above, whose
// lowest bit tells it, since the parity of the high products is known. No weight may be −2^(WEIGHT_BITS−1).
module dot_product #(
    parameter int LANES = 4,
    parameter int DATA_BITS = 8,    // of a value, signed
    parameter int WEIGHT_BITS = 8,  // of a weight, signed
    parameter int SUM_BITS = 20,
    parameter int PRODUCTS = 1,     // sets of values; 2 only up to 8 bits
    parameter int LATE = 0,         // 1: weights and `idle` come one move after their values, as from a memory
    parameter int IDLE = 0          // 0: no lane is ever idle
) (
    input  logic                                clock,
    input  logic                                reset,
    input  logic                                move,
    input  logic                                first,
    input  logic                                last,
    input  logic [                   LANES-1:0] idle,
    input  logic [PRODUCTS*LANES*DATA_BITS-1:0] values,   // lane fastest
    input  logic [       LANES*WEIGHT_BITS-1:0] weights,
    output logic                                done,
    output logic [       PRODUCTS*SUM_BITS-1:0] sum
);
  localparam int SPACE = 24 - DATA_BITS;
  localparam int FIT = ((1 << SPACE) - 1) / ((1 << (DATA_BITS - 1)) * ((1 << (WEIGHT_BITS - 1)) - 1));
  localparam int LONGEST = PRODUCTS == 2 && FIT < 8 ? FIT : 8;
  localparam int CASCADES = (LANES + LONGEST - 1) / LONGEST;
  localparam int LENGTH = (LANES + CASCADES - 1) / CASCADES;  // lanes of a cascade
  localparam int HOPS = PRODUCTS == 1 && LANES == 1 ? 0 : (LENGTH + 1) / 2;  // registers along a cascade
  localparam int MOVES = 2 + LATE + HOPS + (CASCADES > 1 ? 1 : 0);  // before the accumulator
  localparam int OPERAND = PRODUCTS == 2 ? 25 : DATA_BITS;
  localparam int WIDE = PRODUCTS == 2 ? SPACE + SUM_BITS : SUM_BITS;

  logic [MOVES-1:0] start;
  logic [MOVES:0] ends;
  always_ff @(posedge clock) begin
    if (move) start <= MOVES'({start, first});
    if (reset) ends <= 0;
    else if (move) ends <= (MOVES + 1)'({ends, last});
  end
  assign done = ends[MOVES];

  logic signed [WIDE-1:0] after[CASCADES*LENGTH];  // the sum behind each lane of a cascade
  logic odd[CASCADES*LENGTH];  // whether the lane's high product is
  for (genvar j = 0; j < CASCADES * LENGTH; j++) begin : lanes
    localparam int PLACE = j % LENGTH;
    localparam int WAIT = 1 + PLACE / 2;
    logic signed [OPERAND+WEIGHT_BITS-1:0] product;
    if (j < LANES) begin : multiplier
      logic [PRODUCTS*DATA_BITS-1:0] value[WAIT+LATE];
      logic signed [WEIGHT_BITS-1:0] weight[WAIT];
      logic signed [OPERAND-1:0] operand;
      logic [WAIT-1:0] none;
      if (PRODUCTS == 1) begin : one
        assign operand = value[WAIT+LATE-1];
        assign odd[j]  = 0;
        always_ff @(posedge clock) if (move) value[0] <= values[j*DATA_BITS+:DATA_BITS];
      end else begin : two
        logic signed [DATA_BITS-1:0] low, high;
        logic signed [24:0] raised;
        assign {high, low} = value[WAIT+LATE-1];
        assign raised = {1'(high >>> (DATA_BITS - 1)), high, SPACE'(0)};
        assign operand = raised + low;
        assign odd[j] = values[(LANES+j)*DATA_BITS] & weights[j*WEIGHT_BITS];
        always_ff @(posedge clock)
          if (move) value[0] <= {values[(LANES+j)*DATA_BITS+:DATA_BITS], values[j*DATA_BITS+:DATA_BITS]};
      end
      always_ff @(posedge clock)
        if (move) begin
          weight[0] <= weights[j*WEIGHT_BITS+:WEIGHT_BITS];
          for (int d = 1; d < WAIT + LATE; d++) value[d] <= value[d-1];
          for (int d = 1; d < WAIT; d++) weight[d] <= weight[d-1];
          none <= WAIT'({none, idle[j]});
        end
      always_ff @(posedge clock)  // as in the registers of DSP blocks, reset comes before enable
        if (IDLE != 0 && move && none[WAIT-1]) product <= 0;
        else if (move) product <= operand * weight[WAIT-1];
    end else assign {product, odd[j]} = 0;

    if (PLACE == LENGTH - 1 && HOPS > 0 || PLACE % 2 == 1) begin : registered
      localparam int NEEDED = OPERAND + WEIGHT_BITS + $clog2(PLACE + 1);  // Yosys 0.70 loses further copies of a sign
      logic signed [(NEEDED<WIDE?NEEDED:WIDE)-1:0] held;
      always_ff @(posedge clock) if (move) held <= (PLACE == 0 ? WIDE'(0) : after[PLACE==0?j:j-1]) + product;
      assign after[j] = held;
    end else if (PLACE == 0) assign after[j] = product;
    else assign after[j] = after[j-1] + product;
  end
  for (genvar p = 0; p < PRODUCTS; p++) begin : sets
    logic signed [SUM_BITS-1:0] part[CASCADES], total, sums;
    logic [CASCADES-1:0] carry;
    for (genvar c = 0; c < CASCADES; c++) begin : cascades
      localparam int LAST = c * LENGTH + LENGTH - 1;
      if (PRODUCTS == 1) begin : whole
        assign part[c]  = after[LAST];
        assign carry[c] = 0;
      end else begin : field
        logic [1+HOPS:0] parity;
        logic sign, odds;
        always_comb begin
          odds = 0;
          for (int j = 0; j < LENGTH; j++) odds ^= odd[c*LENGTH+j];
        end
        always_ff @(posedge clock) if (move) parity <= (2 + HOPS)'({parity, odds});
        assign sign = after[LAST][SPACE] ^ parity[1+HOPS];
        assign carry[c] = p == 1 && sign;
        if (p == 1) assign part[c] = SUM_BITS'(after[LAST] >>> SPACE);
        else assign part[c] = SUM_BITS'($signed({sign, after[LAST][SPACE-1:0]}));
      end
    end

    logic carried;
    if (CASCADES == 1) assign {total, carried} = {part[0], carry[0]};
    else begin : several
      logic signed [SUM_BITS:0] all;
      always_comb begin
        all = {part[0], 1'b0};
        for (int c = 1; c < CASCADES; c++) all = $signed({all[SUM_BITS:1], 1'b1}) + $signed({part[c], carry[c]});
      end
      always_ff @(posedge clock)
        if (move) begin
          total   <= all[SUM_BITS:1];
          carried <= carry[0];
        end
    end

    logic signed [SUM_BITS-1:0] kept;
    assign kept = start[MOVES-1] ? SUM_BITS'(0) : sums;
    if (HOPS == 0) begin : in_dsp
      always_ff @(posedge clock) if (move) sums <= total + kept;
    end else begin : in_luts
      // total + kept + carried, as a difference: synthesis may swap the operands of a sum, and only behind the sign of
      // a difference does the selection go into the LUTs of the carry chain
      logic signed [SUM_BITS:0] minuend, subtrahend, next;
      assign minuend = {total, 1'b0};
      assign subtrahend = ~{kept, carried};
      assign next = minuend - subtrahend;
      always_ff @(posedge clock) if (move) sums <= next[SUM_BITS:1];
    end
    assign sum[p*SUM_BITS+:SUM_BITS] = sums;
  end
endmodule
