// Finds the bits of a lane that are set one after the other, one a cycle, from the first to the last.
//
//   bits, at `load` ──► left ──► the first one ──► step
//                        ▲  └──► the others ──┐
//                        └────────────────────┘
//
// Whether there will be others is a register of its own, so that nobody has to wait for the count.
module lane_picker #(
    parameter int STEPS = 3,  // bits of the lane
    localparam int STEP = STEPS > 1 ? $clog2(STEPS) : 1
) (
    input  logic             clock,
    input  logic             move,
    input  logic             load,  // only with `move`: a round ends or none is there, and the next one comes
    input  logic [STEPS-1:0] bits,
    output logic             more,  // the round takes another cycle
    output logic [ STEP-1:0] step,  // a cycle later, as `some`
    output logic             some   // whether there was one at all
);
  logic [STEPS-1:0] left, passed, picked;  // passed: up to the one that is picked now
  logic [STEP-1:0] place;
  logic any, two, three;
  localparam int GROUPS = (STEPS + 3) / 4;
  logic [GROUPS-1:0] in_group;  // by fours, so that it is fast
  for (genvar s = 0; s < STEPS; s++) begin : steps
    localparam int GROUP = s / 4;
    logic group_passed;
    if (GROUP == 0) assign group_passed = 1;
    else assign group_passed = !(|in_group[GROUP-1:0]);
    if (s % 4 == 0) begin : first
      assign in_group[GROUP] = |(4'(left >> s));
      assign passed[s] = group_passed;
    end else assign passed[s] = group_passed && !(|left[s-1:4*GROUP]);
  end
  assign picked = left & passed;
  at_least #(.BITS(STEPS)) loaded (.bits(bits), .one(), .two(two), .three());
  at_least #(.BITS(STEPS)) present (.bits(left), .one(any), .two(), .three(three));
  always_comb begin
    place = '0;
    for (int s = 1; s < STEPS; s++) if (picked[s]) place = place | s[STEP-1:0];
  end

  always_ff @(posedge clock)
    if (move) begin
      left <= load ? bits : left & ~passed;
      more <= load ? two : three;
      step <= place;
      some <= any;
    end
endmodule
