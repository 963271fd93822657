"""Cameras without a device: drawn scenes with their truth, and files."""
