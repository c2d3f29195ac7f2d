// Plays every case twice, freely and with random stalls: resets, clocks until all sinks are done, then a little longer
// to see that nothing follows. The limit of cycles is the first argument.
#include "Vbench.h"
#include "verilated.h"
#include <cstdio>
#include <cstdlib>

int main(int argc, char **argv) {
  VerilatedContext context;
  context.commandArgs(argc, argv);
  const long limit = std::atol(argv[1]);
  Vbench bench{&context};
  auto clock = [&](int cycles) {
    for (int n = 0; n < cycles; ++n) {
      bench.clock = 0;
      bench.eval();
      bench.clock = 1;
      bench.eval();
    }
  };
  for (int stall = 0; stall < 2; ++stall) {
    bench.stall = stall;
    bench.reset = 1;
    clock(20);
    bench.reset = 0;
    long cycle = 0;
    for (; cycle < limit && !bench.done; ++cycle) clock(1);
    clock(100);
    bench.report = 1;
    clock(1);
    bench.report = 0;
    clock(1);
    std::printf("PLAYED %d\n", stall);
  }
  return 0;
}
