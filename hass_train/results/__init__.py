"""Results of runs, written and read back: one search, its history, an estimate, a simulation, many runs compared."""
