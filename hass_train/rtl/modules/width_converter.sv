// Repacks words of IN_VALUES values into words of OUT_VALUES values, for any two numbers. A frame (the channels of a
// pixel) has TOTAL values; what is left of its last word is 0, on both sides.
//
//        history  in_data          a window of OUT_VALUES moves over the present word and what is kept of those before;
//       ┌───────┬──────────┬ ─ ┐   it stands at few places, in turn: one if words are only collected, IN/OUT if they are
//       │ 0 1 2 │ 3 4 5 6  │ 0 │   only divided
//       └───────┴──────────┴ ─ ┘
//          └─────────┘ out_data
//
// A cycle a word, read or written, whichever are more; one cycle a frame more where two words end in the last one read.
// Without delay: a word is written while the last one that it needs is offered (latency 0, or less where a word read makes
// several, since it stays until the last of them).
module width_converter #(
    parameter int BITS = 8,        // of a value
    parameter int IN_VALUES = 4,   // values in a word
    parameter int OUT_VALUES = 2,
    parameter int TOTAL = 8        // values of a frame
) (
    input  logic                       clock,
    input  logic                       reset,
    input  logic                       in_valid,
    output logic                       in_ready,
    input  logic [ IN_VALUES*BITS-1:0] in_data,
    output logic                       out_valid,
    input  logic                       out_ready,
    output logic [OUT_VALUES*BITS-1:0] out_data
);
  if (BITS < 1 || IN_VALUES < 1 || OUT_VALUES < 1 || TOTAL < 1)
    $error("BITS, IN_VALUES, OUT_VALUES and TOTAL must be at least 1");

  function automatic int common(int a, int b);  // the greatest common divisor
    common = 1;
    for (int divisor = 2; divisor <= a; divisor++) if (a % divisor == 0 && b % divisor == 0) common = divisor;
  endfunction

  localparam int COMMON = common(IN_VALUES, OUT_VALUES);
  localparam int LAP = IN_VALUES * OUT_VALUES / COMMON;  // values after which the places repeat
  localparam int LAPS = TOTAL / LAP;                     // whole ones of a frame
  localparam int REST = TOTAL % LAP;                     // values of the frame after those
  localparam int HISTORY = OUT_VALUES - COMMON;
  localparam int PLACES = IN_VALUES / COMMON;
  localparam int MOST = (IN_VALUES + OUT_VALUES) / COMMON;

  // what happens in the cycles of a lap of some values: whether a word is written, read, or anything
  localparam int WRITES = 0, READS = 1, ACTS = 2;
  function automatic logic [MOST-1:0] plan(int values, int what);
    int read, written;
    logic writes, reads;
    read = 0;
    written = 0;
    plan = 0;
    for (int step = 0; step < MOST; step++)
      if (written * OUT_VALUES < values) begin
        writes = last_needed(written, values) == read;
        if (writes) written = written + 1;
        reads = !writes || written * OUT_VALUES >= values || last_needed(written, values) != read;
        if (reads) read = read + 1;
        plan[step] = what == WRITES ? writes : what == READS ? reads : 1;
      end
  endfunction
  function automatic int last_needed(int word, int values);  // the last word to be read before this one can be written
    last_needed = ((word + 1) * OUT_VALUES < values ? (word + 1) * OUT_VALUES - 1 : values - 1) / IN_VALUES;
  endfunction

  localparam logic [MOST-1:0] WHOLE_WRITES = plan(LAP, WRITES), WHOLE_READS = plan(LAP, READS);
  localparam logic [MOST-1:0] REST_WRITES = plan(REST, WRITES), REST_READS = plan(REST, READS);
  localparam int WHOLE_STEPS = $countones(plan(LAP, ACTS)), REST_STEPS = $countones(plan(REST, ACTS));
  localparam int MOST_STEPS = WHOLE_STEPS > REST_STEPS ? WHOLE_STEPS : REST_STEPS;
  localparam int STEP_BITS = MOST_STEPS > 1 ? $clog2(MOST_STEPS) : 1;
  localparam int PLACE_BITS = PLACES > 1 ? $clog2(PLACES) : 1;
  // whether the last word of a frame needs a place of its own, and which
  localparam bit ENDS = REST != 0 && last_needed((REST - 1) / OUT_VALUES, LAP) != (REST - 1) / IN_VALUES;
  localparam int END = HISTORY + (REST - 1) / OUT_VALUES * OUT_VALUES - (REST - 1) / IN_VALUES * IN_VALUES;

  logic resting, writes, reads, last, move;
  logic [STEP_BITS-1:0] step;
  logic [PLACE_BITS-1:0] place;

  assign writes = resting ? REST_WRITES[step] : WHOLE_WRITES[step];
  assign reads = resting ? REST_READS[step] : WHOLE_READS[step];
  assign last = step == (resting ? STEP_BITS'(REST_STEPS - 1) : STEP_BITS'(WHOLE_STEPS - 1));
  assign move = in_valid && (!writes || out_ready);
  assign out_valid = in_valid && writes;
  assign in_ready = reads && (!writes || out_ready);

  if (MOST_STEPS == 1) assign step = 0;
  else
    always_ff @(posedge clock) begin
      if (reset || move && last) step <= 0;
      else if (move) step <= step + 1;
    end

  if (IN_VALUES >= OUT_VALUES) assign place = PLACE_BITS'(step);
  else
    always_ff @(posedge clock) begin
      if (reset || move && last) place <= 0;
      else if (move && writes) place <= place + 1;
    end

  if (REST == 0 || LAPS == 0) assign resting = REST != 0;
  else begin : frames
    logic [$clog2(LAPS + 1)-1:0] lap;
    assign resting = lap == LAPS;
    always_ff @(posedge clock) begin
      if (reset || move && last && resting) lap <= 0;
      else if (move && last) lap <= lap + 1;
    end
  end

  logic [(HISTORY+IN_VALUES+OUT_VALUES)*BITS-1:0] window;
  if (HISTORY == 0) assign window = {{OUT_VALUES * BITS{1'b0}}, in_data};
  else begin : kept
    logic [HISTORY*BITS-1:0] history;
    assign window = {{OUT_VALUES * BITS{1'b0}}, in_data, history};
    always_ff @(posedge clock) if (move && reads) history <= window[IN_VALUES*BITS+:HISTORY*BITS];
  end

  logic [OUT_VALUES*BITS-1:0] chosen;
  logic [(1<<PLACE_BITS)*OUT_VALUES*BITS-1:0] choices;  // among a power of two, so that wide multiplexers are found
  for (genvar k = 0; k < 1 << PLACE_BITS; k++) begin : places
    localparam int START = k < PLACES ? HISTORY + k * OUT_VALUES - last_needed(k, LAP) * IN_VALUES : 0;
    assign choices[k*OUT_VALUES*BITS+:OUT_VALUES*BITS] = window[START*BITS+:OUT_VALUES*BITS];
  end
  if (PLACES == 1) assign chosen = choices[0+:OUT_VALUES*BITS];
  else begin : several
    // bit by bit: of a word of many bits, synthesis would multiply to find where it begins
    for (genvar b = 0; b < OUT_VALUES * BITS; b++) begin : bits
      logic [(1<<PLACE_BITS)-1:0] each;
      for (genvar k = 0; k < 1 << PLACE_BITS; k++) assign each[k] = choices[k*OUT_VALUES*BITS+b];
      assign chosen[b] = each[place];
    end
  end
  assign out_data = ENDS && resting && last ? window[END*BITS+:OUT_VALUES*BITS] : chosen;
endmodule
