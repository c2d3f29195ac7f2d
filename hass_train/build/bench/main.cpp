// Plays a network: resets it, clocks until all words are there, one is wrong, or nothing moves any more. The first argument
// says whether there are random stalls, the second after how many idle cycles it stops.
#include "Vbench.h"
#include "verilated.h"
#include <cstdio>
#include <cstdlib>

int main(int argc, char **argv) {
  VerilatedContext context;
  context.commandArgs(argc, argv);
  Vbench bench{&context};
  bench.stall = std::atoi(argv[1]);
  const long patience = std::atol(argv[2]);
  auto clock = [&](int cycles) {
    for (int n = 0; n < cycles; ++n) {
      bench.clock = 0;
      bench.eval();
      bench.clock = 1;
      bench.eval();
    }
  };
  bench.reset = 1;
  clock(4);
  bench.reset = 0;
  long idle = 0, cycle = 0;
  for (; idle < patience && !bench.done && !bench.failed; ++cycle) {
    clock(1);
    idle = bench.moved ? 0 : idle + 1;
  }
  if (bench.done) clock(50);  // nothing may follow
  bench.report = 1;
  clock(1);
  std::printf("PLAYED %d cycles %ld\n", bench.done && !bench.failed, cycle);
  return 0;
}
