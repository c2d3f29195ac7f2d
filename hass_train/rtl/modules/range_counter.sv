// Counts steps round 0 … LENGTH−1 and says whether the present count lies from FIRST up to END − 1.
module range_counter #(
    parameter int LENGTH = 34,
    parameter int FIRST  = 2,
    parameter int END    = 34,  // more than FIRST; LENGTH or more: up to the last
    localparam int BITS  = LENGTH > 1 ? $clog2(LENGTH) : 1
) (
    input  logic            clock,
    input  logic            reset,
    input  logic            step,
    output logic [BITS-1:0] count,
    output logic            last,
    output logic            inner
);
  // Counting up, all bits that are set in a number are set at that number first: fewer bits to look at.
  localparam logic [BITS-1:0] LAST = BITS'(LENGTH - 1), START = BITS'(FIRST - 1), STOP = BITS'(END - 1);
  assign last = &(count | ~LAST);

  always_ff @(posedge clock)
    if (reset) count <= '0;
    else if (step) count <= last ? '0 : count + 1'b1;

  if (FIRST == 0 && END >= LENGTH) assign inner = 1;
  else begin : between
    logic starts, stops;
    assign stops = END < LENGTH && count == STOP;
    if (FIRST == 0) assign starts = 0;
    else if (END < LENGTH) assign starts = count == START;
    else assign starts = &(count | ~START);
    always_ff @(posedge clock)
      if (reset) inner <= FIRST == 0;
      else if (step) inner <= last ? FIRST == 0 : (inner || starts) && !stops;
  end
endmodule
