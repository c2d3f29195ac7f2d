"""The accelerator's modules in SystemVerilog: what they do, how long they take, and what they cost when synthesised."""
