"""Loggers for W&B and CSV, and what a run shows on W&B."""
