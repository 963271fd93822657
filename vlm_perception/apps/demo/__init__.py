"""`vlm-perception-demo`."""
