"""One run: the LightningModule, its trainer, checkpoints, and what a finished run writes."""
