"""RunSpec to result: the data, the only training loop, its clocks and its checkpoints."""
