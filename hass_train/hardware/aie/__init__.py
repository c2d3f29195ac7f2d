"""AI-engine arrays: a model of their time after Weight Block Sparsity (arXiv 2407.09453)."""
