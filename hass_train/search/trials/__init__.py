"""Search engines that choose thresholds of a trained network by trial, without training it."""
