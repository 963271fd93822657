"""Find what you say: camera frames and a sentence in, boxes, points and words out."""

__version__ = "0.1.0"
