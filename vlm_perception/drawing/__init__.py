"""A result drawn on its image."""
