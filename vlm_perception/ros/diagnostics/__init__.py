"""How the node is, and what it gets over by itself."""
