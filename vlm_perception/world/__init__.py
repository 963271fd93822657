"""What is known of objects beyond their image: places in space. Pure: no ROS, no threads."""
