"""From a search's design and integer network to the RTL of the whole network, and its proof in Verilator."""
