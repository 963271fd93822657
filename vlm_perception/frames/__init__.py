"""Image bytes and files -> RGB frames."""
