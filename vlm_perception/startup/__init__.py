"""What runs before the environment with torch is found: the standard library alone."""
