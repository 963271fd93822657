"""What every part of the node shares."""
