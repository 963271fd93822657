"""What the node hears: cameras and prompts."""
