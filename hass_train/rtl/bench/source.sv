// Plays the words of a file into a stream. Where `stall` is set it pauses at random; a word once offered stays.
module source #(
    parameter int WIDTH = 8,
    parameter int WORDS = 1,
    parameter FILE = "",
    parameter int SEED = 1
) (
    input  logic             clock,
    input  logic             reset,
    input  logic             stall,
    output logic             out_valid,
    input  logic             out_ready,
    output logic [WIDTH-1:0] out_data,
    output logic             taken
);
  logic [WIDTH-1:0] words[WORDS];
  logic [31:0] index;
  logic go;

  initial $readmemh(FILE, words);

  pauses #(.SEED(SEED)) chance (.clock(clock), .reset(reset), .enable(!out_valid || out_ready), .go(go));

  always_ff @(posedge clock)
    if (reset) index <= 0;
    else if (taken) index <= index + 1;

  assign out_valid = index < WORDS && (go || !stall) && !reset;
  assign out_data  = words[index < WORDS ? index : 0];
  assign taken = out_valid && out_ready;
endmodule
