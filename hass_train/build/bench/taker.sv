// Takes the words of a stream, with random pauses where `stall` is set.
module taker #(
    parameter int SEED = 1
) (
    input  logic clock,
    input  logic reset,
    input  logic stall,
    output logic ready
);
  logic go, slow;
  logic [31:0] chance;

  always_ff @(posedge clock) begin
    chance = chance ^ (chance << 13);
    chance = chance ^ (chance >> 17);
    chance = chance ^ (chance << 5);
    if (reset) chance = SEED;
    if (chance[9:5] == 0) slow <= chance[10];
    go <= slow ? chance[1:0] == 0 : chance[2:0] != 0;
    if (reset) {go, slow} <= 0;
  end

  assign ready = (go || !stall) && !reset;
endmodule
