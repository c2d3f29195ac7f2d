"""The search for the best design of a whole network."""
