"""A training run: the LightningModule, its trainer, checkpoints, and the files of a finished run."""
