"""Transforms come out as tf2 has them; whoever asks for one that is not known is told why."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transform_cases import CASES, Case

from vlm_perception.world.transforms import BadTransformError, Transform, TransformBuffer, TransformError

NO_TURN = (0.0, 0.0, 0.0, 1.0)


def announced(*cases: tuple, history_s: float = 10.0) -> TransformBuffer:
    buffer = TransformBuffer(history_s)
    for fixed, parent, child, seconds, xyz, xyzw in cases:
        buffer.set_transform(parent, child, round(seconds * 1e9), Transform(xyz, xyzw), fixed=fixed)
    return buffer


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_answers_as_tf2_does(case: Case) -> None:
    target, source, seconds = case.asked
    buffer = announced(*case.announced)
    if isinstance(case.expected, str):
        with pytest.raises(TransformError, match=f"no transform from {source} to {target} at {seconds:.3f}: ") as told:
            buffer.lookup(target, source, round(seconds * 1e9))
        assert told.value.cause == case.expected
        return
    found = buffer.lookup(target, source, round(seconds * 1e9))
    xyz, xyzw = case.expected
    assert found.translation_m == pytest.approx(xyz, abs=2e-6)
    # One sign of a quaternion means what the other means.
    sign = math.copysign(1.0, np.dot(found.quaternion_xyzw, xyzw))
    assert found.quaternion_xyzw == pytest.approx(tuple(sign * part for part in xyzw), abs=2e-6)


MOVING = (
    (False, "odom", "base", 1.0, (0.0, 0.0, 0.0), NO_TURN),
    (False, "odom", "base", 3.0, (2.0, 0.0, 0.0), NO_TURN),
)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (("odom", "base", 3.5), "base in odom ends at 3.000, 0.500 s before: it comes late, or ended"),
        (("odom", "base", 0.25), "base in odom begins at 1.000, 0.750 s later"),
        (("map", "base", 2.0), "nothing on /tf or /tf_static names 'map' (known: arm, base, odom, world)"),
        (("arm", "base", 2.0), "one hangs on odom, the other on world"),
        (("odom", "base", 0.0), "the image has no stamp; let the driver set it"),
    ],
)
def test_the_text_says_what_is_missing(asked: tuple[str, str, float], text: str) -> None:
    buffer = announced(*MOVING, (True, "world", "arm", 0.0, (0.0, 0.0, 0.0), NO_TURN))
    with pytest.raises(TransformError) as told:
        buffer.lookup(asked[0], asked[1], round(asked[2] * 1e9))
    assert text in str(told.value)


def test_frames_that_hang_on_each_other_end_the_walk() -> None:
    loop = ((True, "a", "b", 0.0, (1.0, 0.0, 0.0), NO_TURN), (True, "b", "a", 0.0, (1.0, 0.0, 0.0), NO_TURN))
    buffer = announced(*loop, *MOVING)
    with pytest.raises(TransformError, match="hang on each other") as told:
        buffer.lookup("odom", "a", 2_000_000_000)
    assert told.value.cause == "unconnected"


def test_eight_hours_keep_ten_seconds_and_every_stamp_of_them() -> None:
    buffer = TransformBuffer()
    for number in range(28_800):
        buffer.set_transform(
            "odom", "base", number * 1_000_000_000 + 1, Transform((float(number), 0.0, 0.0), NO_TURN), fixed=False
        )
    assert len(buffer._links["base"].samples) == 12
    assert buffer.lookup("odom", "base", 28_790_500_000_001).translation_m[0] == pytest.approx(28_790.5)
    with pytest.raises(TransformError, match="begins at"):
        buffer.lookup("odom", "base", 28_700_000_000_000)


def test_what_moves_is_forgotten_when_time_is_set_back_and_what_is_fixed_stays() -> None:
    buffer = announced(*MOVING, (True, "base", "camera", 0.0, (0.0, 0.0, 1.0), NO_TURN))
    with pytest.raises(BadTransformError, match=r"11\.000 s older than the newest"):
        announced(*MOVING, (False, "odom", "base", 12.0, (9.0, 0.0, 0.0), NO_TURN), MOVING[0])
    buffer.clear()
    assert buffer.lookup("base", "camera", 5).translation_m == (0.0, 0.0, 1.0)
    with pytest.raises(TransformError, match="nothing came since time was set back") as told:
        buffer.lookup("odom", "camera", 2_000_000_000)
    assert told.value.cause == "not_yet"


@pytest.mark.parametrize(
    ("parent", "child", "xyz", "xyzw"),
    [
        ("", "base", (0.0, 0.0, 0.0), NO_TURN),
        ("odom", "", (0.0, 0.0, 0.0), NO_TURN),
        ("odom", "/odom", (0.0, 0.0, 0.0), NO_TURN),
        ("odom", "base", (math.nan, 0.0, 0.0), NO_TURN),
        ("odom", "base", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)),
        ("odom", "base", (0.0, 0.0, 0.0), (math.inf, 0.0, 0.0, 1.0)),
    ],
)
def test_what_is_no_movement_between_two_frames_is_refused(parent: str, child: str, xyz: tuple, xyzw: tuple) -> None:
    with pytest.raises(BadTransformError, match=f"'{child.removeprefix('/')}'"):
        TransformBuffer().set_transform(parent, child, 1, Transform(xyz, xyzw), fixed=False)


PART = st.floats(-1, 1)
TURN = st.tuples(PART, PART, PART, PART).filter(lambda q: math.hypot(*q) > 0.1)


@given(st.tuples(PART, PART, PART), TURN, st.tuples(PART, PART, PART))
def test_there_and_back_is_where_it_was(xyz: tuple, turn: tuple, point: tuple) -> None:
    length = math.hypot(*turn)
    there = Transform(xyz, tuple(part / length for part in turn))
    back = there.inverse()
    assert back.moved(there.moved(point)) == pytest.approx(point, abs=1e-9)
    assert back.after(there).translation_m == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)
    np.testing.assert_allclose(there.rotation() @ point + xyz, there.moved(point), atol=1e-9)
