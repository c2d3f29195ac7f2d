// Counts the words of a map that streams in and says which of them complete a word of windows (see sliding_window).
//
//   position   0 … FIRST … END … LENGTH   of a row; completing from FIRST, if also in a row from FIRST_ROW
//
// `completes` is of the word that `take` takes; `tail` asks for one word more after a row, in the cycle of the next word
// or before, where END lies one beyond LENGTH.
module window_counters #(
    parameter int DEPTH = 1,          // words of a group of columns
    parameter int HEIGHT = 34,        // rows of a map
    parameter int LENGTH = 34,        // words of a row
    parameter int STRIDE_HEIGHT = 1,  // only every second row completes windows where it is 2
    parameter int STRIDE_WIDTH = 1,   // likewise every second group of columns
    parameter int FIRST_ROW = 2,      // the first row that completes windows
    parameter int FIRST = 2,          // the first word of a row that does
    parameter int END = 34,           // the word after the last one that does
    localparam int POSITION = LENGTH > 1 ? $clog2(LENGTH) : 1,
    localparam int ROW = HEIGHT > 1 ? $clog2(HEIGHT) : 1,
    localparam int PASS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input  logic                clock,
    input  logic                reset,
    input  logic                take,        // a word is taken
    input  logic                move,        // a word of windows may be made
    output logic [POSITION-1:0] position,    // of the word in its row
    output logic [    PASS-1:0] pass,        // of the word in its group
    output logic [     ROW-1:0] row,         // of the map
    output logic                odd_line,    // toggles with every row, over maps
    output logic                odd_column,  // toggles with every group, over rows
    output logic                last,        // word of the row
    output logic                completes,
    output logic                tail
);
  logic on, row_on, last_pass, taken_group;
  range_counter #(.LENGTH(LENGTH), .FIRST(FIRST), .END(END)) positions (
      .clock(clock), .reset(reset), .step(take), .count(position), .last(last), .inner(on)
  );
  range_counter #(.LENGTH(HEIGHT), .FIRST(FIRST_ROW), .END(HEIGHT)) rows (
      .clock(clock), .reset(reset), .step(take && last), .count(row), .last(), .inner(row_on)
  );
  always_ff @(posedge clock)
    if (reset) odd_line <= 0;
    else if (take && last) odd_line <= !odd_line;

  // ---- groups of words --------------------------------------------------------------------------------------------
  if ((DEPTH & (DEPTH - 1)) == 0) begin : passes_by_bits
    logic [POSITION+PASS:0] wide;
    assign wide = (POSITION + PASS + 1)'(position);
    assign pass = wide[PASS-1:0];
    assign last_pass = DEPTH == 1 || &pass;
    assign taken_group = STRIDE_WIDTH == 1 || wide[$clog2(DEPTH)] == ((FIRST / DEPTH) % 2 == 1);
  end else begin : passes
    logic odd_group;
    assign last_pass = &(pass | ~PASS'(DEPTH - 1));
    always_ff @(posedge clock) begin
      if (take) begin
        pass <= last_pass ? '0 : pass + 1'b1;
        if (last) odd_group <= 0;
        else if (last_pass) odd_group <= !odd_group;
      end
      if (reset) begin
        pass <= '0;
        odd_group <= 0;
      end
    end
    assign taken_group = STRIDE_WIDTH == 1 || odd_group == ((FIRST / DEPTH) % 2 == 1);
  end
  always_ff @(posedge clock)
    if (reset) odd_column <= 0;
    else if (take && last_pass) odd_column <= !odd_column;

  // ---- what is made -----------------------------------------------------------------------------------------------
  logic row_taken;
  assign row_taken = row_on && (STRIDE_HEIGHT == 1 || row[0] == (FIRST_ROW % 2 == 1));
  assign completes = row_taken && on && taken_group;
  if (END <= LENGTH) assign tail = 0;
  else begin : beyond
    always_ff @(posedge clock)
      if (reset) tail <= 0;
      else if (move && (tail || take)) tail <= take && last && row_taken;
  end
endmodule
