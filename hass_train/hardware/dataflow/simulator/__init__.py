"""Cycle-level simulation of a dataflow design; `pipeline.py` says how the machine works."""
