// Takes the words of a stream, with random pauses where `stall` is set.
module taker #(
    parameter int SEED = 1
) (
    input  logic clock,
    input  logic reset,
    input  logic stall,
    output logic ready
);
  logic go;
  pauses #(.SEED(SEED)) chance (.clock(clock), .reset(reset), .enable(1'b1), .go(go));
  assign ready = (go || !stall) && !reset;
endmodule
