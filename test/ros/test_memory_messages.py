"""What the memory is told of an answer, and the messages that it is shown and asked by."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from visualization_msgs.msg import Marker
from vlm_perception_msgs.msg import RememberedObject as RememberedObjectMessage

from vlm_perception.prompts.builder import build_prompt
from vlm_perception.ros.memory.glances import cutout_jpeg, glance_of
from vlm_perception.ros.memory.markers import memory_markers
from vlm_perception.ros.memory.services import remembered_message
from vlm_perception.types import (
    Answer,
    DetectedObject,
    FinishReason,
    Frame,
    FrameHeader,
    Reject,
    Request,
    Result,
    Task,
    Timings,
)
from vlm_perception.world.camera_model import CameraModel
from vlm_perception.world.field_of_view import FieldOfView
from vlm_perception.world.lift import NoSpot, Places, Spot
from vlm_perception.world.remembered import MAX_CUTOUT_BYTES, RememberedObject
from vlm_perception.world.transforms import IDENTITY

WH = (320, 240)
CUP = DetectedObject("cup", (100.0, 80.0, 140.0, 130.0), None, score=0.75)
SPOT = Spot((1.0, 2.0, 0.5), (0.1, 0.2, 0.1), (0.0,) * 9, 1.0, 2.0)
NO_SPOT = NoSpot("no_valid_depth", "0% valid pixels")
VIEW = FieldOfView(
    CameraModel(WH, (250.0, 0.0, 159.5, 0.0, 250.0, 119.5, 0.0, 0.0, 1.0)),
    np.full((WH[1], WH[0]), 4.0, np.float32),
    IDENTITY,
    (0.0, 0.0, 320.0, 240.0),
)
KNOWN = RememberedObject(
    id=7,
    label="red cup",
    prompt="cup; mug",
    phrase="cup",
    frame_id="map",
    position_m=(1.0, 2.0, 0.5),
    size_m=(0.1, 0.2, 0.0),
    belief=0.5,
    best_score=None,
    times_seen=3,
    times_missed=1,
    first_seen_ns=5 * 10**9,
    last_seen_ns=2**31 * 10**9 - 1,
    camera="/image",
    has_cutout=True,
)


def result(
    *objects: DetectedObject,
    task: Task = Task.DETECT,
    finish_reason: FinishReason = "stop",
    rejects: tuple[Reject, ...] = (),
    text: str = "",
) -> Result:
    rgb = np.random.default_rng(0).integers(0, 256, (WH[1], WH[0], 3), np.uint8)
    request = Request(Frame(rgb, FrameHeader(5, 7, "camera"), "/image", 0.0), build_prompt("cup", task))
    answer = Answer("", WH, "absolute", finish_reason, (), Timings(0.0, 0.0, 0.0))
    return Result(request, answer, objects, rejects, text)


def test_an_answer_becomes_a_glance_at_the_stamp_of_its_image() -> None:
    glance = glance_of(result(CUP), Places("map", (SPOT,)), VIEW)
    assert glance is not None
    assert (glance.frame_id, glance.stamp_ns, glance.camera) == ("map", 5_000_000_007, "/image")
    assert (glance.prompt.targets, glance.complete) == (("cup",), True)
    (found,) = glance.objects
    assert (found.label, found.score, found.position_m, found.size_m) == ("cup", 0.75, SPOT.position_m, SPOT.size_m)
    assert glance.sees(replace(KNOWN, position_m=(0.0, 0.0, 2.0)))
    assert not glance.sees(KNOWN)


# What was answered, its places, what was in view -> how many are told, and whether others may be missing.
CASES = {
    "nothing found": (result(), (), VIEW, (0, True)),
    "nothing found, and no depth": (result(), (), None, None),
    "one without a place": (result(CUP, CUP), (SPOT, NO_SPOT), VIEW, (1, False)),
    "none with a place": (result(CUP), (NO_SPOT,), VIEW, None),
    "no transform any more": (result(CUP), (SPOT,), None, (1, False)),
    "cut off": (result(CUP, finish_reason="timeout"), (SPOT,), VIEW, (1, False)),
    "aborted": (result(finish_reason="aborted"), (), VIEW, None),
    "left out for its score": (result(rejects=(Reject("score 0.1", "cup", score=0.1),)), (), VIEW, None),
    "one with a box that is none": (result(CUP, rejects=(Reject("no area", "{}"),)), (SPOT,), VIEW, (1, False)),
    "only that": (result(rejects=(Reject("box has no area", "{}"),)), (), VIEW, None),
    "in words alone": (result(text="Sure! The cup stands on the left."), (), VIEW, None),
    "words beside a list": (result(CUP, text="Here it is:"), (SPOT,), VIEW, (1, True)),
    "text": (result(CUP, task=Task.READ), (SPOT,), VIEW, None),
    "points": (result(DetectedObject("cup", None, (5.0, 5.0)), task=Task.POINT), (SPOT,), VIEW, (1, True)),
}


@pytest.mark.parametrize("case", CASES)
def test_only_what_an_answer_says_of_space_is_told(case: str) -> None:
    answered, spots, view, expected = CASES[case]
    glance = glance_of(answered, Places("map", spots), view)
    assert (None if glance is None else (len(glance.objects), glance.complete)) == expected


def test_a_cut_out_shows_the_thing_and_a_little_around_it() -> None:
    rgb = np.full((480, 640, 3), 40, np.uint8)
    rgb[100:300, 200:320] = (200, 20, 20)
    picture = cv2.imdecode(
        np.frombuffer(cutout_jpeg(rgb, DetectedObject("x", (200, 100, 320, 300), None)), np.uint8), 1
    )
    assert picture.shape == (160, 111, 3)
    assert picture[80, 55].tolist() == pytest.approx([20, 20, 200], abs=12)
    assert picture[3, 3].tolist() == pytest.approx([40, 40, 40], abs=12)
    around_a_point = cutout_jpeg(rgb, DetectedObject("x", None, (639.0, 0.0)))
    assert max(cv2.imdecode(np.frombuffer(around_a_point, np.uint8), 1).shape) <= 160


@given(st.integers(1, 900), st.integers(1, 900), st.tuples(*[st.floats(0, 900)] * 4))
def test_a_cut_out_is_small_whatever_is_cut_out(width: int, height: int, edges: tuple[float, ...]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    left, right = sorted((min(edges[0], width), min(edges[1], width)))
    top, bottom = sorted((min(edges[2], height), min(edges[3], height)))
    jpeg = cutout_jpeg(noise, DetectedObject("x", (left, top, right, bottom), None))
    assert len(jpeg) <= MAX_CUTOUT_BYTES
    assert min(cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1).shape[:2]) >= 1


def test_what_is_remembered_goes_over_the_wire() -> None:
    sent = remembered_message(KNOWN, b"\xff\xd8\xff")
    message = deserialize_message(serialize_message(sent), RememberedObjectMessage)
    assert (message.id, message.label, message.prompt, message.phrase) == (7, "red cup", "cup; mug", "cup")
    assert (message.pose.header.frame_id, message.pose.pose.position.y, message.size.y) == ("map", 2.0, 0.2)
    assert (message.belief, np.isnan(message.best_score)) == (0.5, True)
    assert (message.times_seen, message.times_missed, message.camera) == (3, 1, "/image")
    assert (message.first_seen.sec, message.last_seen.sec, message.last_seen.nanosec) == (5, 2**31 - 1, 999_999_999)
    assert (message.cutout.format, bytes(message.cutout.data)) == ("jpeg", b"\xff\xd8\xff")
    assert not remembered_message(KNOWN).cutout.data


def test_markers_stand_on_the_thing_and_begin_with_clearing_the_others() -> None:
    clear, thing, name = memory_markers([KNOWN]).markers
    assert (clear.action, thing.type, name.type) == (Marker.DELETEALL, Marker.CUBE, Marker.TEXT_VIEW_FACING)
    assert (thing.id, name.id, name.text) == (7, 7, "red cup 50%")
    assert (thing.scale.x, thing.scale.y, thing.scale.z) == (0.1, 0.1, 0.2)
    assert name.pose.position.z > thing.pose.position.z + 0.1
    assert thing.color.r > max(thing.color.g, thing.color.b)
    assert [marker.action for marker in memory_markers([]).markers] == [Marker.DELETEALL]
