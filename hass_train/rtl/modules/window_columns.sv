// The columns of the kernel side by side (see sliding_window): registers, or memories where many words lie between them.
// Words of the row or the map before, which lie where a window reaches beyond the map, become VALUE.
module window_columns #(
    parameter int STREAMS = 1,         // as of sliding_window
    parameter int PIXELS = 1,
    parameter int BITS = 8,
    parameter int DEPTH = 1,
    parameter int HEIGHT = 33,
    parameter int LENGTH = 33,         // words of a row
    parameter int KERNEL_HEIGHT = 3,
    parameter int KERNEL_WIDTH = 3,
    parameter int DILATION_HEIGHT = 1,
    parameter int DILATION_WIDTH = 1,
    parameter int FIRST_ROW = 1,       // the first row that completes windows
    parameter int FIRST = 1,           // the first group of columns that does
    parameter int BEFORE = 2,          // groups that a window sees beside the newest
    parameter int LAST_LANES = 1,      // columns of a row's last group
    parameter int TAIL = 0,            // whether rows have one
    parameter int VALUE = 0,
    localparam int LANE = STREAMS * BITS,
    localparam int ROWS = KERNEL_HEIGHT * PIXELS * LANE,
    localparam int SEEN = (BEFORE * DEPTH + 1) * ROWS,
    localparam int POSITION = LENGTH > 1 ? $clog2(LENGTH) : 1,
    localparam int ROW_BITS = HEIGHT > 1 ? $clog2(HEIGHT) : 1,
    localparam int PASS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input  logic                clock,
    input  logic                reset,
    input  logic                take,        // a word is taken
    input  logic                tail,        // or one is made up behind a row's last
    input  logic                last,        // of the row
    input  logic                odd_column,
    input  logic [POSITION-1:0] position,    // of the word in its row
    input  logic [    PASS-1:0] pass,        // of the word in its group
    input  logic [ROW_BITS-1:0] row,         // of the map
    input  logic [    ROWS-1:0] rows,        // the word and those above it, the lowest row first
    output logic [    SEEN-1:0] seen,        // of ROWS bits each, word k is of k words before
    output logic [    ROWS-1:0] newest       // like word 0, but zeros in a tail
);
  localparam int ACROSS = DILATION_WIDTH * DEPTH;  // words from a kernel column to the next
  localparam logic [LANE-1:0] CONSTANT = {STREAMS{BITS'(VALUE)}};

  // on the left of the map are words of the row before until the first word that completes windows; they make way there
  logic wipe;
  assign wipe = FIRST * DEPTH < LENGTH ? take && position == POSITION'(FIRST * DEPTH) : tail;
  // and above the map are rows of the map before
  logic [KERNEL_HEIGHT-1:0] above;
  for (genvar k = 0; k < KERNEL_HEIGHT; k++) begin : kernel_rows
    if (k * DILATION_HEIGHT <= FIRST_ROW) assign above[k] = 0;
    else if (k * DILATION_HEIGHT >= HEIGHT) assign above[k] = 1;
    else assign above[k] = row < ROW_BITS'(k * DILATION_HEIGHT);
  end

  for (genvar lane = 0; lane < KERNEL_HEIGHT * PIXELS; lane++) begin : lanes
    localparam int AT = lane * LANE;
    always_ff @(posedge clock)
      if (lane % PIXELS >= LAST_LANES && take && last) seen[AT+:LANE] <= '0;
      else if (take && above[lane/PIXELS]) seen[AT+:LANE] <= CONSTANT;
      else if (take) seen[AT+:LANE] <= rows[AT+:LANE];
    if (TAIL == 0) assign newest[AT+:LANE] = seen[AT+:LANE];
    else begin : masked
      always_ff @(posedge clock)
        if (tail) newest[AT+:LANE] <= '0;
        else if (take && above[lane/PIXELS]) newest[AT+:LANE] <= CONSTANT;
        else if (take) newest[AT+:LANE] <= rows[AT+:LANE];
    end
  end
  if (BEFORE > 0 && ACROSS <= 2) begin : registers
    for (genvar k = 1; k <= BEFORE * DEPTH; k++) begin : steps
      always_ff @(posedge clock)
        if (k > FIRST * DEPTH && wipe) seen[k*ROWS+:ROWS] <= {ROWS / LANE{CONSTANT}};
        else if (take || tail) seen[k*ROWS+:ROWS] <= seen[(k-1)*ROWS+:ROWS];
    end
  end else if (BEFORE > 0) begin : memories
    localparam int ADDRESS = $clog2(ACROSS);
    logic [ADDRESS-1:0] address;
    logic [(KERNEL_WIDTH-1)*ROWS-1:0] read;
    if (DILATION_WIDTH == 1) assign address = pass;
    else assign address = {pass, odd_column};
    delay_lines #(
        .WIDTH(ROWS), .DEPTH(ACROSS), .LINES(KERNEL_WIDTH - 1), .BLOCK(BITS * ACROSS >= 1024 ? 1 : 0)
    ) columns (.clock(clock), .reset(reset), .step(take), .address(address), .in_data(rows), .out_data(read));
    for (genvar k = 1; k < KERNEL_WIDTH; k++) begin : steps
      logic beside;
      if (k * DILATION_WIDTH <= FIRST) assign beside = 0;
      else if (k * ACROSS >= LENGTH) assign beside = 1;
      else assign beside = position < POSITION'(k * ACROSS);
      for (genvar lane = 0; lane < KERNEL_HEIGHT; lane++) begin : lanes
        localparam int AT = k * ACROSS * ROWS + lane * LANE;
        always_ff @(posedge clock)
          if (take && (beside || above[lane])) seen[AT+:LANE] <= CONSTANT;
          else if (take) seen[AT+:LANE] <= read[(k-1)*ROWS+lane*LANE+:LANE];
      end
    end
  end
endmodule
