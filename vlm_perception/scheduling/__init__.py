"""Which frame and which prompt is next; pure, no threads."""
