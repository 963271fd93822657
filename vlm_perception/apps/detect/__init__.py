"""`vlm-detect`: ask about images and videos from the command line."""
