"""What the node says about its results."""
