// Cuts a map that streams in row by row into the windows of a kernel: the input side of convolutions and pools.
// Windows may begin TOP rows above the map and LEFT columns beside it, where they see VALUE: registers load it in place
// of what the row or the map before has left. So nobody has to stream in a border above a map, or on its left.
//
//   in ─┬──────────────────────────► lowest row ─┐
//       └─► line ─┬────────────────► row above ──┼─► columns before ─► window (registers)
//                 └─► line … ──────► top row ────┘
//
// In: HEIGHT rows of ⌈WIDTH/PIXELS⌉ groups of PIXELS columns, each in DEPTH words of STREAMS channels (fastest). Columns
// beyond WIDTH are ignored. Out: rows of windows, COLUMNS = ⌈PIXELS/STRIDE_WIDTH⌉ side by side in a word; a window holds
// for every channel its kernel rows of columns (fastest). Windows beyond the last of a row see zeros beyond WIDTH.
// Every word read completes at most one word of windows, which is offered a cycle later. Where the last windows of a row
// do not wait for its surplus columns ("tail"), they leave with the first word of the next row, or before it arrives.
module sliding_window #(
    parameter int STREAMS = 1,          // channels in a word
    parameter int PIXELS = 1,           // columns in a word: 1, 2 or 4; more than 1 only with DEPTH 1
    parameter int BITS = 8,             // of a value
    parameter int DEPTH = 1,            // words of a group
    parameter int HEIGHT = 33,          // rows of a map, and of what pads it below
    parameter int WIDTH = 33,           // columns of a map, and of what pads it on the right
    parameter int KERNEL_HEIGHT = 3,
    parameter int KERNEL_WIDTH = 3,
    parameter int STRIDE_HEIGHT = 1,    // 1 or 2
    parameter int STRIDE_WIDTH = 1,     // 1 or 2
    parameter int DILATION_HEIGHT = 1,  // 1 or 2
    parameter int DILATION_WIDTH = 1,   // 1 or 2
    parameter int TOP = 1,              // rows above the map that windows see; fewer than the kernel reaches over
    parameter int LEFT = 1,             // likewise columns on its left
    parameter int VALUE = 0,            // the bits that windows see there
    localparam int COLUMNS = (PIXELS + STRIDE_WIDTH - 1) / STRIDE_WIDTH,
    localparam int WORD = PIXELS * STREAMS * BITS,
    localparam int WINDOW = STREAMS * KERNEL_HEIGHT * KERNEL_WIDTH * BITS
) (
    input  logic                      clock,
    input  logic                      reset,
    input  logic                      in_valid,
    output logic                      in_ready,
    input  logic [          WORD-1:0] in_data,
    output logic                      out_valid,
    input  logic                      out_ready,
    output logic [COLUMNS*WINDOW-1:0] out_data
);
  localparam int REACH = (KERNEL_WIDTH - 1) * DILATION_WIDTH + 1;
  localparam int LINES = (KERNEL_HEIGHT - 1);
  localparam int GROUPS = (WIDTH + PIXELS - 1) / PIXELS;
  localparam int LENGTH = GROUPS * DEPTH;  // words of a row
  localparam int FIRST_ROW = LINES * DILATION_HEIGHT - TOP;  // the first that completes windows
  localparam int FIRST = (STRIDE_WIDTH * (COLUMNS - 1) + REACH - 1 - LEFT) / PIXELS;  // likewise the first group
  localparam int BEFORE = FIRST + (LEFT + PIXELS - 1) / PIXELS;  // groups that a window sees beside the newest
  localparam int WORDS = ((LEFT + WIDTH - REACH) / STRIDE_WIDTH + COLUMNS) / COLUMNS;  // of windows in a row, a group
  localparam int LAST_LANES = WIDTH - (GROUPS - 1) * PIXELS;  // columns of a row's last group
  localparam int TAIL = PIXELS > 1 && FIRST + WORDS > GROUPS ? 1 : 0;
  localparam int POSITION = LENGTH > 1 ? $clog2(LENGTH) : 1;
  localparam int PASS = DEPTH > 1 ? $clog2(DEPTH) : 1;
  localparam int DOWN = DILATION_HEIGHT * LENGTH;  // words from a kernel row to the next
  localparam int ROW_BITS = HEIGHT > 1 ? $clog2(HEIGHT) : 1;

  if (STREAMS < 1 || PIXELS < 1 || BITS < 1 || DEPTH < 1 || HEIGHT < 1 || WIDTH < 1)
    $error("STREAMS, PIXELS, BITS, DEPTH, HEIGHT and WIDTH must be at least 1");
  if (KERNEL_HEIGHT < 1 || KERNEL_WIDTH < 1) $error("KERNEL_HEIGHT and KERNEL_WIDTH must be at least 1");
  if (PIXELS != 1 && PIXELS != 2 && PIXELS != 4) $error("PIXELS must be 1, 2 or 4");
  if (PIXELS > 1 && DEPTH > 1) $error("DEPTH must be 1 if PIXELS is more");
  if (STRIDE_HEIGHT < 1 || STRIDE_HEIGHT > 2) $error("STRIDE_HEIGHT must be 1 or 2");
  if (STRIDE_WIDTH < 1 || STRIDE_WIDTH > 2) $error("STRIDE_WIDTH must be 1 or 2");
  if (DILATION_HEIGHT < 1 || DILATION_HEIGHT > 2) $error("DILATION_HEIGHT must be 1 or 2");
  if (DILATION_WIDTH < 1 || DILATION_WIDTH > 2) $error("DILATION_WIDTH must be 1 or 2");
  if (TOP < 0 || TOP > LINES * DILATION_HEIGHT) $error("TOP must be less than what the kernel reaches over");
  if (LEFT < 0 || LEFT >= REACH) $error("LEFT must be less than what the kernel reaches over");
  if (FIRST_ROW >= HEIGHT) $error("TOP and HEIGHT must be at least what the kernel reaches over");
  if (LEFT + WIDTH < REACH) $error("LEFT and WIDTH must be at least what the kernel reaches over");

  logic move, take, completes, last, tail, odd_line, odd_column;
  logic [POSITION-1:0] position;
  logic [PASS-1:0] pass;
  logic [ROW_BITS-1:0] row;
  assign move = !out_valid || out_ready;
  assign in_ready = move;
  assign take = move && in_valid;

  always_ff @(posedge clock) begin
    if (reset) out_valid <= 0;
    else if (move) out_valid <= in_valid && completes || tail;
  end

  window_counters #(
      .DEPTH(DEPTH), .HEIGHT(HEIGHT), .LENGTH(LENGTH), .STRIDE_HEIGHT(STRIDE_HEIGHT),
      .STRIDE_WIDTH(PIXELS == 1 ? STRIDE_WIDTH : 1), .FIRST_ROW(FIRST_ROW), .FIRST(FIRST * DEPTH),
      .END(PIXELS == 1 ? LENGTH : FIRST + WORDS)
  ) counters (
      .clock(clock), .reset(reset), .take(take), .move(move), .position(position), .pass(pass), .row(row),
      .odd_line(odd_line), .odd_column(odd_column), .last(last), .completes(completes), .tail(tail)
  );

  // ---- the rows of the kernel at the column that arrives; the lowest row first -------------------------------------
  logic [KERNEL_HEIGHT*WORD-1:0] rows;
  if (LINES == 0) assign rows = in_data;
  else begin : lines_above
    localparam int ADDRESS = DOWN > 1 ? $clog2(DOWN) : 1;
    logic [ADDRESS-1:0] address;
    logic [LINES*WORD-1:0] read;
    if (DILATION_HEIGHT == 1) assign address = position;
    else if (LENGTH == 1) assign address = odd_line;
    else assign address = {position, odd_line};
    delay_lines #(.WIDTH(WORD), .DEPTH(DOWN), .LINES(LINES), .BLOCK(BITS * DOWN >= 1024 ? 1 : 0)) lines (
        .clock(clock), .reset(reset), .step(take), .address(address), .in_data(in_data), .out_data(read)
    );
    assign rows = {read, in_data};
  end

  // ---- the columns of the kernel: of `seen`, words of ROWS bits, word k is of k words before -------------------------
  localparam int ROWS = KERNEL_HEIGHT * WORD;
  logic [(BEFORE*DEPTH+1)*ROWS-1:0] seen;
  logic [ROWS-1:0] newest;  // like word 0, but zeros in a tail
  window_columns #(
      .STREAMS(STREAMS), .PIXELS(PIXELS), .BITS(BITS), .DEPTH(DEPTH), .HEIGHT(HEIGHT), .LENGTH(LENGTH),
      .KERNEL_HEIGHT(KERNEL_HEIGHT), .KERNEL_WIDTH(KERNEL_WIDTH), .DILATION_HEIGHT(DILATION_HEIGHT),
      .DILATION_WIDTH(DILATION_WIDTH), .FIRST_ROW(FIRST_ROW), .FIRST(FIRST), .BEFORE(BEFORE), .LAST_LANES(LAST_LANES),
      .TAIL(TAIL), .VALUE(VALUE)
  ) columns (
      .clock(clock), .reset(reset), .take(take), .tail(move && tail), .last(last), .odd_column(odd_column),
      .position(position), .pass(pass), .row(row), .rows(rows), .seen(seen), .newest(newest)
  );

  // ---- the windows ---------------------------------------------------------------------------------------------
  for (genvar n = 0; n < COLUMNS * STREAMS * KERNEL_HEIGHT * KERNEL_WIDTH; n++) begin : windows
    localparam int COLUMN = n % KERNEL_WIDTH;
    localparam int ROW = n / KERNEL_WIDTH % KERNEL_HEIGHT;
    localparam int STREAM = n / (KERNEL_WIDTH * KERNEL_HEIGHT) % STREAMS;
    localparam int ACROSS_AT = n * BITS / WINDOW * STRIDE_WIDTH + COLUMN * DILATION_WIDTH - LEFT - FIRST * PIXELS;
    localparam int K = (PIXELS - 1 - ACROSS_AT) / PIXELS;
    localparam int AT = ((KERNEL_HEIGHT - 1 - ROW) * PIXELS + ACROSS_AT + K * PIXELS) * STREAMS * BITS + STREAM * BITS;
    if (K == 0) assign out_data[n*BITS+:BITS] = newest[AT+:BITS];
    else assign out_data[n*BITS+:BITS] = seen[K*DEPTH*ROWS+AT+:BITS];
  end
endmodule
