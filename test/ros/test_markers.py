"""`~/markers`: one list of lines for each answer, in pixels of the source image."""

from __future__ import annotations

import numpy as np
import pytest
from results import result_of
from visualization_msgs.msg import ImageMarker

from vlm_perception.drawing.class_colours import class_colours
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.ros.outputs.marker_messages import marker_message
from vlm_perception.types import (
    DetectedObject,
)

BOX = DetectedObject("red cup", (2.0, 4.0, 12.0, 24.0), None)
POINT = DetectedObject("handle", None, (30.0, 9.0))
REPLY = '[{"bbox_2d": [2, 4, 12, 24], "label": "red cup"}, {"point_2d": [30, 9], "label": "handle"}]'


def marker_of(*objects: DetectedObject, image_wh: tuple[int, int] = (42, 28)) -> ImageMarker:
    return marker_message(result_of(np.zeros((*image_wh[::-1], 3), np.uint8), *objects, prompt=build_prompt("red cup")))


def lines_of(marker: ImageMarker) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    assert marker.type == ImageMarker.LINE_LIST
    assert len(marker.points) == 2 * len(marker.outline_colors)
    ends = [(point.x, point.y) for point in marker.points]
    return list(zip(ends[::2], ends[1::2], strict=True))


def check_box_and_cross(marker: ImageMarker) -> None:
    lines = lines_of(marker)
    assert lines[:4] == [((2, 4), (12, 4)), ((12, 4), (12, 24)), ((12, 24), (2, 24)), ((2, 24), (2, 4))]
    (left, right), (top, bottom) = lines[4:]
    assert left[1] == right[1] == 9
    assert top[0] == bottom[0] == 30
    assert right[0] - 30 == 30 - left[0] == bottom[1] - 9 == 9 - top[1] > 0
    wanted = class_colours(["red cup", "handle"], ["red cup"])
    colours = [tuple(round(255 * part) for part in (c.r, c.g, c.b, c.a)) for c in marker.outline_colors]
    assert colours == [(*wanted["red cup"], 255)] * 4 + [(*wanted["handle"], 255)] * 2
    assert colours[0] != colours[4]
    assert marker.action == ImageMarker.ADD
    # Viewers draw nothing for a line without width or opacity.
    assert marker.scale > 0
    assert marker.outline_color.a > 0


def test_boxes_are_four_lines_and_points_a_cross():
    check_box_and_cross(marker_of(BOX, POINT))


def test_lines_grow_with_the_image():
    widths = [marker_of(BOX, image_wh=wh).scale for wh in ((320, 240), (3840, 2160))]
    assert 1 <= widths[0] < widths[1] < 20


def test_an_object_without_a_place_is_a_bug():
    with pytest.raises(ValueError, match="neither a box nor a point"):
        marker_of(DetectedObject("x", None, None))


def test_each_answer_replaces_the_marker_before_and_an_empty_one_clears_it(robot, talk, scripted):
    scripted.reply = REPLY
    t = talk(scripted)
    heard = robot.hear("/vlm_perception/markers", ImageMarker)
    t.ask("red cup")
    full = t.show_until(heard)
    check_box_and_cross(full)
    assert (full.header.frame_id, full.header.stamp.nanosec) == ("camera_optical", 123456789)
    assert full.header.stamp.sec in [m.header.stamp.sec for m in t.detections.messages]
    scripted.reply = "[]"
    empty = t.show_until(heard, lambda m: not m.points, first=1000)
    assert (empty.ns, empty.id, empty.action) == (full.ns, full.id, ImageMarker.REMOVE)
    assert not empty.outline_colors


def test_a_part_of_an_answer_is_not_drawn(robot, talk, scripted):
    scripted.reply = REPLY
    t = talk(scripted, publish_partial=True)
    heard = robot.hear("/vlm_perception/markers", ImageMarker)
    t.ask("red cup")
    t.show_until(heard, lambda m: m.header.stamp.sec >= 5)
    stamps = [m.header.stamp.sec for m in heard.messages]
    assert stamps == sorted(set(stamps))
    assert all(len(m.outline_colors) == 6 for m in heard.messages)
