"""General utilities: errors, files, signals, processes and memory; nothing here is about sparsity or hardware."""
