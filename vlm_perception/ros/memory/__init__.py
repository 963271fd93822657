"""What was seen where, kept over restarts: from the node's answers into the file, and out of it to whoever asks."""
