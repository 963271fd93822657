"""What is known of objects beyond one answer: tracks, and places in space. Pure: no ROS, no threads."""
