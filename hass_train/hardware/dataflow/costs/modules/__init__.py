"""What the accelerator's RTL modules cost: the parameters of each, and terms that its LUTs and flip-flops grow with."""
