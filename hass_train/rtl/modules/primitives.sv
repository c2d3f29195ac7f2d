// One DSP: multiplies two signed numbers and adds what comes from its neighbour.
//
//   x ─[X_REGISTERS]─┐
//                    × ─[M]─ + ─[P]──► sum      ACCUMULATE = 0: P = M + sum_in
//   y ─[Y_REGISTERS]─┘       ▲                               1: P = M + (begins ? sum_in : P)
//                 sum_in ────┘                               2: P = M + sum_in, then sum = P + (further ? sum : 0)
//
// All registers move with `move`. `begins` or `further` comes with the M that begins or continues a sum; with
// ACCUMULATE = 2 sums come one cycle later. (`begins`, as Yosys 0.70 takes the selection of P by a 1 the wrong way round.) Yosys and Vivado infer a DSP48E1 with all its registers from the text below (the adder of ACCUMULATE = 2
// stays outside), Yosys a MULT18X18D. With HASS_DSP48E2 defined, a DSP48E2 is instantiated instead, whose adder of four
// operands takes the accumulation in as well; it behaves the same, cycle by cycle.
module multiply_add #(
    parameter int X_BITS = 8,       // at most 18; 25 (DSP48E2: 27) if Y_BITS is at most 18
    parameter int Y_BITS = 8,       // likewise
    parameter int SUM_BITS = 20,    // at most 48
    parameter int USED_BITS = 20,   // what the sum needs of them if ACCUMULATE is not 1: Yosys 0.70 loses copies of a sign
    parameter int X_REGISTERS = 1,  // 0, 1 or 2
    parameter int Y_REGISTERS = 0,
    parameter int ACCUMULATE = 0
) (
    input  logic                       clock,
    input  logic                       move,
    input  logic                       begins,
    input  logic                       further,
    input  logic signed [  X_BITS-1:0] x,
    input  logic signed [  Y_BITS-1:0] y,
    input  logic signed [SUM_BITS-1:0] sum_in,
    output logic signed [SUM_BITS-1:0] sum
);
`ifdef HASS_DSP48E2
  localparam bit SWAP = X_BITS > 18;  // the wider operand takes the port of 27 bits
  localparam int A_REGISTERS = SWAP ? X_REGISTERS : Y_REGISTERS;
  localparam int B_REGISTERS = SWAP ? Y_REGISTERS : X_REGISTERS;
  logic signed [29:0] a;
  logic signed [17:0] b;
  logic signed [47:0] c, p;
  if (SWAP) assign a = x;
  else assign a = y;
  if (SWAP) assign b = y;
  else assign b = x;
  assign c = sum_in;

  logic [8:0] mode;  // W, Z, Y and X: M takes Y and X, C takes Z, and P takes W or Z
  if (ACCUMULATE == 0) assign mode = 9'b00_011_0101;
  else if (ACCUMULATE == 1) assign mode = begins ? 9'b00_011_0101 : 9'b00_010_0101;
  else assign mode = further ? 9'b01_011_0101 : 9'b00_011_0101;

  DSP48E2 #(
      .AREG(A_REGISTERS), .ACASCREG(A_REGISTERS), .BREG(B_REGISTERS), .BCASCREG(B_REGISTERS), .MREG(1), .PREG(1),
      .ADREG(0), .DREG(0), .CREG(0), .OPMODEREG(0), .ALUMODEREG(0), .CARRYINREG(0), .CARRYINSELREG(0), .INMODEREG(0),
      .AMULTSEL("A"), .BMULTSEL("B"), .USE_MULT("MULTIPLY"), .USE_SIMD("ONE48")
  ) dsp (
      .CLK(clock), .A(a), .B(b), .C(c), .D(27'd0), .P(p), .OPMODE(mode), .ALUMODE(4'd0), .INMODE(5'd0),
      .CARRYIN(1'b0), .CARRYINSEL(3'd0), .CEA1(move), .CEA2(move), .CEB1(move), .CEB2(move), .CEM(move), .CEP(move),
      .CEAD(1'b0), .CEC(1'b0), .CED(1'b0), .CEALUMODE(1'b0), .CECARRYIN(1'b0), .CECTRL(1'b0), .CEINMODE(1'b0),
      .RSTA(1'b0), .RSTB(1'b0), .RSTC(1'b0), .RSTD(1'b0), .RSTM(1'b0), .RSTP(1'b0), .RSTALLCARRYIN(1'b0),
      .RSTALUMODE(1'b0), .RSTCTRL(1'b0), .RSTINMODE(1'b0), .ACIN(30'd0), .BCIN(18'd0), .PCIN(48'd0),
      .CARRYCASCIN(1'b0), .MULTSIGNIN(1'b0)
  );
  delay #(.WIDTH(SUM_BITS), .CYCLES(ACCUMULATE == 2 ? 1 : 0)) output_register (
      .clock(clock), .enable(move), .in(p[SUM_BITS-1:0]), .out(sum)
  );
`else
  logic signed [X_BITS-1:0] x_late;
  logic signed [Y_BITS-1:0] y_late;
  logic signed [X_BITS+Y_BITS-1:0] product;
  logic signed [SUM_BITS-1:0] partial;
  logic signed [USED_BITS-1:0] held;

  delay #(.WIDTH(X_BITS), .CYCLES(X_REGISTERS)) x_delay (.clock(clock), .enable(move), .in(x), .out(x_late));
  delay #(.WIDTH(Y_BITS), .CYCLES(Y_REGISTERS)) y_delay (.clock(clock), .enable(move), .in(y), .out(y_late));

  always_ff @(posedge clock) if (move) product <= x_late * y_late;

  if (ACCUMULATE == 1) begin : accumulated
    always_ff @(posedge clock) if (move) partial <= product + (begins ? sum_in : partial);
  end else begin : added
    always_ff @(posedge clock) if (move) held <= USED_BITS'(product + sum_in);
    assign partial = held;
  end

  if (ACCUMULATE == 2) begin : total
    running_sum #(.SUM_BITS(SUM_BITS)) steps (
        .clock(clock), .move(move), .further(further), .in(partial), .sum(sum)
    );
  end else begin : direct
    assign sum = partial;
  end
`endif
endmodule
