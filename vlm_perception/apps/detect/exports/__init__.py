"""Where results of `vlm-detect` go: JSON lines, COCO, YOLO text, annotated files. No model, no ROS."""
