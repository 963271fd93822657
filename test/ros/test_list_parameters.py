"""Lists as ROS parameters: empty ones have no type of their own there, and whole numbers are no reals."""

from __future__ import annotations

import pytest
from rclpy.parameter import Parameter


@pytest.mark.parametrize("value", [[], ["/a", "/b"]])
def test_a_list_of_topics_is_read(robot, scripted, value):
    node = robot.node(scripted, image_topics=value)
    assert node.get_parameter("image_topics").value == value
    assert node.get_parameter("image_topics").type_ is Parameter.Type.STRING_ARRAY


def test_weights_may_be_whole_numbers_are_set_live_and_refused_with_a_reason(robot, scripted):
    node = robot.node(scripted)
    assert node.get_parameter("camera_weights").type_ is Parameter.Type.DOUBLE_ARRAY
    (done,) = node.set_parameters([Parameter("camera_weights", value=[2])])
    assert done.successful, done.reason
    (refused,) = node.set_parameters([Parameter("camera_weights", value=[1.0, 2.0])])
    assert "2 values for 1 cameras" in refused.reason
    (emptied,) = node.set_parameters([Parameter("camera_weights", value=[])])
    assert emptied.successful, emptied.reason
