"""AI-engine arrays: a time model after Weight Block Sparsity (arXiv 2407.09453)."""
