"""Search engines that try out thresholds of a trained network without training it."""
