"""The loggers for W&B and CSV, and what a run logs on W&B."""
