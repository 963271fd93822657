"""The programs beside the node. Nobody imports them, and none knows another."""
