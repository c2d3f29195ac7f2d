// Takes the values of a lane that are not zero one after the other, one a cycle: each with its step, from the first to
// the last. `taken` marks the steps up to the one that was taken last, and is kept for the next cycle.
//
//   values ──► not zero? ──► after the last one taken? ──► the first of these ──► step, value (0 if there is none)
module lane_picker #(
    parameter int STEPS = 3,  // values of the lane
    parameter int ALONE = 0,  // 1: rounds take one cycle, whatever the values
    parameter int DATA_BITS = 8,
    localparam int STEP = STEPS > 1 ? $clog2(STEPS) : 1
) (
    input  logic                       clock,
    input  logic                       move,
    input  logic                       clear,   // the window, or its round, ends with this cycle
    input  logic                       enable,  // a cycle of the round
    input  logic [STEPS*DATA_BITS-1:0] values,
    output logic                       more,    // another cycle is needed
    output logic [           STEP-1:0] step,    // a cycle later, as `value`
    output logic [      DATA_BITS-1:0] value
);
  logic [STEPS-1:0] left, taken, passed, picked;  // passed: up to the one that is picked now
  for (genvar s = 0; s < STEPS; s++) begin : steps
    assign left[s] = |values[s*DATA_BITS+:DATA_BITS] && !taken[s];
    if (s == 0) assign passed[s] = 1;
    else assign passed[s] = !(|left[s-1:0]);
  end
  assign picked = left & passed;
  assign more = |(left & ~passed);

  always_ff @(posedge clock) begin
    if (clear) taken <= '0;
    else if (enable) taken <= passed;
  end

  (* keep *) logic [STEP-1:0] place;
  logic [DATA_BITS-1:0] chosen;
  choose #(.CHOICES(STEPS), .BITS(DATA_BITS)) choice (.words(values), .place(place), .chosen(chosen));
  always_comb begin
    place = '0;
    for (int s = 1; s < STEPS; s++) if (picked[s]) place = place | s[STEP-1:0];
  end
  always_ff @(posedge clock)
    if (move) begin
      step <= place;
      value <= |left || ALONE != 0 ? chosen : '0;
    end
endmodule
