"""The text of a reply -> named, scored objects in image pixels."""
