"""Cycle-level simulation of a dataflow design: see `hass_train.hardware.dataflow.simulator.pipeline`."""
