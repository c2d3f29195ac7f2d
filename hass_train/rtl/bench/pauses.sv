// When to go on and when to pause, at random (xorshift32): pauses are frequent for a while, then rare for a while.
module pauses #(
    parameter int SEED = 1
) (
    input  logic clock,
    input  logic reset,
    input  logic enable,  // without it, `go` stays
    output logic go
);
  logic slow;
  logic [31:0] chance;

  always_ff @(posedge clock) begin
    chance = chance ^ (chance << 13);
    chance = chance ^ (chance >> 17);
    chance = chance ^ (chance << 5);
    if (reset) chance = SEED;
    if (chance[9:5] == 0) slow <= chance[10];
    if (enable) go <= slow ? chance[1:0] == 0 : chance[2:0] != 0;
    if (reset) {go, slow} <= 0;
  end
endmodule
