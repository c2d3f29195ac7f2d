"""What any program needs: errors, files, signals, processes, memory; nothing of this project's own field."""
