"""Anything may be asked of the memory, and any reply told to it: each request is answered in words or in things."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Duration
from fuzz_profile import fuzz
from fuzz_prompts import HUGE, SENDABLE
from fuzz_values import REPLIES
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from vlm_perception_msgs.srv import Forget, WhereIs

from vlm_perception.errors import PromptError
from vlm_perception.prompts.builder import MAX_PROMPT_CHARS, build_prompt
from vlm_perception.replies.reader import AnswerReader
from vlm_perception.ros.memory.glances import glance_of
from vlm_perception.ros.memory.markers import memory_markers
from vlm_perception.ros.memory.services import forget, where_is
from vlm_perception.types import Answer, Frame, FrameHeader, Request, Result, Timings
from vlm_perception.world.camera_model import CameraModel
from vlm_perception.world.field_of_view import FieldOfView
from vlm_perception.world.lift import Places, Spot
from vlm_perception.world.memory import Memory
from vlm_perception.world.remembered import Changes
from vlm_perception.world.transforms import IDENTITY, XYZ

WH = (60, 40)
RGB = np.zeros((WH[1], WH[0], 3), np.uint8)
DEPTH_M = np.full((WH[1], WH[0]), 9.0, np.float32)
GOOD = '[{"bbox_2d": [1, 2, 20, 20], "label": "mug"}, {"bbox_2d": [30, 2, 50, 20], "label": "红色杯子"}]'


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    made = Memory(tmp_path / "places.db", max_objects=20)
    yield made
    made.close()


class Everywhere(FieldOfView):
    """Everything was in view."""

    def holds(self, position_m: XYZ, size_m: XYZ) -> bool:
        return True


VIEW = Everywhere(
    CameraModel(WH, (50.0, 0.0, 29.5, 0.0, 50.0, 19.5, 0.0, 0.0, 1.0)), DEPTH_M, IDENTITY, (0.0, 0.0, *WH)
)


def tell(memory: Memory, text: str, second: int, prompt: str = "mug; 红色杯子") -> Changes:
    """Tell the memory of a reply, and return what that changed."""
    reader = AnswerReader(model_wh=WH, image_wh=WH, coordinates="absolute")
    reader.feed(text)
    parsed = reader.finish()
    request = Request(Frame(RGB, FrameHeader(second, 0, "camera"), "/image", 0.0), build_prompt(prompt))
    answer = Answer(text, WH, "absolute", "stop", (), Timings(0.0, 0.0, 0.0))
    result = Result(request, answer, parsed.objects, parsed.rejects, parsed.text)
    spots = tuple(
        Spot((float(number), 0.0, 1.0), (0.1, 0.1, 0.1), (0.0,) * 9, 1.0, 1.0) for number in range(len(result.objects))
    )
    glance = glance_of(result, Places("map", spots), VIEW)
    return Changes() if glance is None else memory.look(glance)


def test_any_reply_is_remembered_and_shown(memory: Memory) -> None:
    second = iter(range(1, 10**6))

    @fuzz
    @given(REPLIES)
    def remember(text: str) -> None:
        tell(memory, text, next(second))
        told = where_is(memory, WhereIs.Request(with_cutouts=True))
        assert len(told.objects) == len(memory.objects()) <= 20
        deserialize_message(serialize_message(told), WhereIs.Response)
        serialize_message(memory_markers(memory.objects()))

    remember()
    tell(memory, GOOD, next(second))
    assert where_is(memory, WhereIs.Request(text="mug")).success


numbers = st.lists(st.integers(-5, 70) | st.none() | st.floats(), max_size=5)
items = st.fixed_dictionaries(
    {"label": st.sampled_from(["mug", "红色杯子", "plate"])},
    optional={"bbox_2d": numbers | st.just([1, 2, 20, 20]) | st.text(max_size=3), "point_2d": numbers},
)


def test_what_a_reply_names_is_never_missed_and_what_it_leaves_out_is(memory: Memory) -> None:
    second, missed = iter(range(1, 10**6)), set()

    @fuzz
    @given(st.lists(items, max_size=4), st.booleans(), st.sampled_from(["", "Here they are:\n"]))
    def remember(said: list[dict[str, object]], as_it_is_written: bool, before: str) -> None:
        memory.forget(thing.id for thing in memory.objects())
        tell(memory, GOOD, next(second))
        reply = before + json.dumps(said, ensure_ascii=as_it_is_written)
        changes = tell(memory, reply, next(second))
        named = {item["label"] for item in said}
        assert not named & {thing.label for thing in (*changes.missed, *changes.gone)}
        missed.update(thing.label for thing in changes.missed)

    remember()
    assert {"mug", "红色杯子"} <= missed
    assert tell(memory, "The mug stands on the left.", next(second)) == Changes()


def test_any_question_is_answered_in_things_or_in_words(memory: Memory) -> None:
    tell(memory, GOOD, 1)

    @fuzz
    @given(SENDABLE | HUGE | st.sampled_from(["mug", "the mugs", "杯子"]), st.integers(0, 2**32 - 1), st.booleans())
    def ask(text: str, max_objects: int, with_cutouts: bool) -> None:
        request = WhereIs.Request(text=text, max_objects=max_objects, with_cutouts=with_cutouts)
        if len(text) > MAX_PROMPT_CHARS:
            with pytest.raises(PromptError, match=f"text has {len(text)} characters, the limit is"):
                where_is(memory, request)
            return
        told = where_is(memory, request)
        assert told.success == bool(told.objects)
        assert bool(told.message) == (not told.objects or (bool(text.strip()) and not memory.find(text)))
        assert all(bool(found.cutout.data) == with_cutouts for found in told.objects)
        assert len(told.message) < 1000
        serialize_message(told)

    ask()
    assert len(memory.objects()) == 2


def test_whatever_is_to_be_forgotten_nothing_else_is(memory: Memory) -> None:
    tell(memory, GOOD, 1)

    @fuzz
    @given(
        SENDABLE | st.just(""),
        st.lists(st.integers(0, 5) | st.integers(0, 2**32 - 1), max_size=4),
        st.builds(Duration, sec=st.integers(-(2**31), 2**31 - 1), nanosec=st.integers(0, 2**32 - 1))
        | st.just(Duration()),
        st.booleans(),
        st.integers(-(2**62), 2**62),
    )
    def ask(text: str, ids: list[int], not_seen_for: Duration, every: bool, now_ns: int) -> None:
        if not memory.objects():
            tell(memory, GOOD, 1)
        before = {known.id for known in memory.objects()}
        request = Forget.Request(text=text, ids=ids, not_seen_for=not_seen_for, all=every)
        told = forget(memory, request, now_ns)
        gone = before - {known.id for known in memory.objects()}
        assert (told.forgotten, bool(told.message)) == (len(gone), True)
        assert told.success or not gone
        assert gone <= set(ids) or not ids
        serialize_message(told)

    ask()
    tell(memory, GOOD, 2)
    assert where_is(memory, WhereIs.Request(text="mug")).success
