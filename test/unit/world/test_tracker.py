"""Objects keep their ids from answer to answer, and lose them when they are gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from results import answer_about

from vlm_perception.types import XYXY, DetectedObject, Frame, FrameHeader, Prompt, Result, Task
from vlm_perception.world.tracker import Tracker

CUPS = Prompt("cups", Task.DETECT, "find cups", ("cup",), id="cups")
CARTS = Prompt("carts", Task.DETECT, "find carts", ("cart",))
EMPTY = np.zeros((120, 160, 3), np.uint8)


def frame(at_s: float, rgb: np.ndarray = EMPTY) -> Frame:
    return Frame(rgb, FrameHeader(int(at_s), int(at_s % 1 * 1e9), "camera"), "/image", at_s)


def found(xyxy: XYXY, label: str = "cup") -> DetectedObject:
    return DetectedObject(label, xyxy, None)


def result(asked: Frame, objects: Sequence[DetectedObject], prompt: Prompt = CUPS, **change: object) -> Result:
    return answer_about(asked, *objects, prompt=prompt, **change)


def tracker(*prompts: Prompt) -> Tracker:
    made = Tracker(count(1), lost_after_s=2.0)
    made.set_prompts(prompts or (CUPS,))
    return made


def ids(answer: Result) -> list[str]:
    return [each.id for each in answer.objects]


A, B = (10.0, 10.0, 40.0, 40.0), (90.0, 60.0, 130.0, 100.0)


def near(xyxy: XYXY, by: float = 4.0) -> XYXY:
    return xyxy[0] + by, xyxy[1], xyxy[2] + by, xyxy[3]


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ([found(near(A)), found(near(B))], ["cups/1", "cups/2"]),
        ([found(near(B)), found(near(A))], ["cups/2", "cups/1"]),
        ([found(near(A), "mug"), found(B)], ["cups/1", "cups/2"]),
        ([found((60.0, 10.0, 70.0, 20.0)), found(B)], ["cups/3", "cups/2"]),
    ],
    ids=["moved", "in another order", "under another name", "a new one"],
)
def test_ids_stay_with_their_objects(second: list[DetectedObject], expected: list[str]) -> None:
    follow = tracker()
    assert ids(follow.identify(result(frame(1.0), [found(A), found(B)]))) == ["cups/1", "cups/2"]
    assert ids(follow.identify(result(frame(2.0), second))) == expected


def test_an_id_is_that_of_its_partial_answers() -> None:
    follow = tracker()
    asked = frame(1.0)
    assert ids(follow.identify(result(asked, [found(A)], partial=True))) == ["cups/1"]
    assert ids(follow.identify(result(asked, [found(A), found(B)], partial=True))) == ["cups/1", "cups/2"]
    assert ids(follow.identify(result(asked, [found(A), found(B)]))) == ["cups/1", "cups/2"]


def test_motion_without_frames_is_that_of_the_answers() -> None:
    follow = tracker()
    for second, left in enumerate((0.0, 35.0, 70.0, 105.0)):
        assert ids(follow.identify(result(frame(float(second)), [found((left, 10.0, left + 45.0, 40.0))]))) == [
            "cups/1"
        ]


def shown(follow: Tracker, asked: Frame, objects: Sequence[DetectedObject], prompt: Prompt = CUPS) -> Result:
    """Take an answer as the node does: named, then caught up."""
    named = follow.identify(result(asked, objects, prompt))
    catch_up = follow.start_catch_up(named)
    assert catch_up is not None
    while catch_up.step():
        pass
    follow.finish_catch_up(catch_up)
    return named


@pytest.mark.parametrize(("away_s", "id"), [(0.5, "cups/1"), (3.0, "cups/2")])
def test_what_two_answers_miss_is_not_told_until_it_is_back(away_s: float, id: str) -> None:
    follow = tracker()
    follow.advance(frame(1.0))
    shown(follow, frame(1.0), [found(A)])
    for missed in range(2):
        assert len(follow.advance(frame(1.1 + missed / 10)).tracks) == 1
        follow.identify(result(frame(1.1 + missed / 10), []))
    assert not follow.advance(frame(1.3)).tracks
    back = frame(1.3 + away_s)
    follow.advance(back)
    assert ids(shown(follow, back, [found(A)])) == [id]
    assert [each.object.id for each in follow.advance(frame(1.4 + away_s)).tracks] == [id]


def test_what_is_followed_says_what_the_newest_answer_does() -> None:
    """A display keeps its track and shows another number, even before that answer is caught up."""
    follow = tracker()
    follow.advance(frame(1.0))

    def display(text: str, score: float) -> list[DetectedObject]:
        return [replace(found(A), text=text, kind="line", attributes={"sub_label": text}, score=score)]

    shown(follow, frame(1.0), display("41", 0.5))
    follow.advance(frame(1.2))
    assert ids(follow.identify(result(frame(1.2), display("42", 0.7)))) == ["cups/1"]
    (told,) = follow.advance(frame(1.3)).tracks
    assert (told.object.text, told.object.kind, told.object.score) == ("42", "line", 0.7)
    assert told.object.attributes == {"sub_label": "42"}


def test_ids_of_a_prompt_that_went_do_not_come_back() -> None:
    follow = tracker(CUPS, CARTS)
    follow.advance(frame(1.0))
    shown(follow, frame(1.0), [found(A)])
    assert ids(shown(follow, frame(1.0), [found(A)], CARTS)) == ["2"]
    follow.set_prompts([CARTS])
    assert [each.object.id for each in follow.advance(frame(1.5)).tracks] == ["2"]
    follow.set_prompts([CARTS, CUPS])
    assert ids(follow.identify(result(frame(2.0), [found(A)]))) == ["cups/3"]


def test_another_size_of_image_begins_anew() -> None:
    follow = tracker()
    follow.advance(frame(1.0))
    shown(follow, frame(1.0), [found(A)])
    assert follow.advance(frame(1.1)).tracks
    assert not follow.advance(frame(1.2, np.zeros((60, 80, 3), np.uint8))).tracks


EVENTS = st.one_of(
    st.tuples(st.just("frame"), st.floats(-1.0, 2.0), st.sampled_from([(120, 160), (60, 80), (9, 700)])),
    st.tuples(
        st.just("answer"),
        st.integers(0, 5),
        st.sampled_from([CUPS, CARTS]),
        st.lists(st.tuples(st.integers(0, 150), st.integers(0, 110), st.integers(0, 80), st.booleans()), max_size=4),
        st.booleans(),
    ),
    st.tuples(st.just("prompts"), st.lists(st.sampled_from([CUPS, CARTS]), unique=True)),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(EVENTS, max_size=25))
def test_whatever_comes_is_followed_without_error(events: list[tuple]) -> None:  # type: ignore[type-arg]
    follow, current, now_s = tracker(), [CUPS], 10.0
    rng = np.random.default_rng(0)
    frames = [frame(now_s)]
    owners: dict[str, Prompt] = {}
    for kind, *rest in events:
        if kind == "frame":
            now_s += rest[0]
            frames.append(frame(now_s, rng.integers(0, 255, (*rest[1], 3), np.uint8)))
            told = follow.advance(frames[-1])
            assert all(each.prompt in current and owners[each.object.id] == each.prompt for each in told.tracks)
            assert all(0.0 <= each.certainty <= 1.0 for each in told.tracks)
            assert len({each.object.id for each in told.tracks}) == len(told.tracks)
        elif kind == "answer":
            back, prompt, places, partial = rest
            objects = [
                DetectedObject("p", None, (float(x), float(y)))
                if is_point
                else found((float(x), float(y), float(x + s), float(y + s)))
                for x, y, s, is_point in places
            ]
            named = follow.identify(result(frames[max(-back - 1, -len(frames))], objects, prompt, partial=partial))
            assert all(owners.setdefault(each.id, prompt) == prompt for each in named.objects)
            catch_up = follow.start_catch_up(named)
            if catch_up is not None:
                while catch_up.step():
                    pass
                follow.finish_catch_up(catch_up)
        else:
            current = rest[0]
            follow.set_prompts(current)
