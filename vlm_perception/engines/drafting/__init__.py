"""Drafts of a reply, to be verified by the model."""
