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
  logic go, slow;
  logic [31:0] chance;

  initial $readmemh(FILE, words);

  // xorshift32: a pause is frequent while `slow` is set, rare otherwise
  always_ff @(posedge clock) begin
    chance = chance ^ (chance << 13);
    chance = chance ^ (chance >> 17);
    chance = chance ^ (chance << 5);
    if (reset) chance = SEED;
    if (chance[9:5] == 0) slow <= chance[10];
    if (reset) begin
      index <= 0;
      go <= 0;
      slow <= 0;
    end else begin
      if (out_valid && out_ready) index <= index + 1;
      if (!out_valid || out_ready) go <= slow ? chance[1:0] == 0 : chance[2:0] != 0;
    end
  end

  assign out_valid = index < WORDS && (go || !stall) && !reset;
  assign out_data  = words[index < WORDS ? index : 0];
  assign taken = out_valid && out_ready;
endmodule
