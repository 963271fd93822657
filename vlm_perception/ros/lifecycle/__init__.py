"""The states of a managed node, and the model that comes and goes with them."""
