"""Results of finished runs, read back: one run, its history, many runs compared, sweeps, simulations."""
