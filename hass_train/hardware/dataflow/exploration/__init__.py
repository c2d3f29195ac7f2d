"""The exploration of the design space: the best design of a whole network."""
