"""Cycles, logic, memory and energy of one operation of the dataflow accelerator."""
