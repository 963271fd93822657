"""Replies about clips are judged by what they claim and when, whatever the model."""

from __future__ import annotations

import pytest
from checkout import TINY

from training.families import TINY_FAMILIES
from training.replies import Expected
from training.watched import Watched, ask_clips, make_watch_cases, watch_figures, watched
from training.watching import claims
from vlm_perception.replies.events import read_events

CASES = make_watch_cases(12)
SAID = Expected(words="The red cart moves to the right in 00:01.00 - 00:02.50.")
SAID_ZH = Expected(words="红色小车在00:01.00 - 00:02.50从左边进入。")
WHEN = Expected(words="```json\n[...]\n```", events=((1.0, 2.5, "the red cart moves to the right"),))


def _judged(expected: Expected, reply: str) -> Watched:
    return watched(expected, reply, read_events(reply, 4.0).events)


def test_right_replies_get_full_marks_and_empty_ones_none() -> None:
    kinds = set()
    for case in CASES:
        right, nothing = _judged(case.expected, case.expected.words), _judged(case.expected, "")
        assert False not in (right.said, right.when, *right.timed), case.expected
        assert not nothing.said
        assert not nothing.when or not case.expected.events
        kinds |= {(right.when is not None, bool(case.expected.events or claims(case.expected.words)))}
    assert kinds == {(True, True), (True, False), (False, True), (False, False)}


@pytest.mark.parametrize(
    ("expected", "reply", "judged"),
    [
        (SAID, "The red cart moves to the right in 00:01.50 - 00:02.00.", Watched(True, None, (True,))),
        (SAID, "The red cart moves to the right in 00:02.00 - 00:02.50.", Watched(True, None, (False,))),
        (SAID, "The red cart moves to the right.", Watched(True, None, (False,))),
        (SAID, "The red cart moves to the left in 00:01.00 - 00:02.50.", Watched(False, None)),
        (SAID, "The red cart leaves to the right in 00:01.00 - 00:02.50.", Watched(False, None)),
        (SAID, SAID.words + " The blue face moves to the top in 00:01.00 - 00:02.00.", Watched(False, None, (True,))),
        (SAID, "Nothing moves.", Watched(False, None)),
        (SAID_ZH, "红色小车在00:01.00 - 00:02.50从左边进入。", Watched(True, None, (True,))),
        (SAID_ZH, "红色小车在00:01.00 - 00:02.50从右边进入。", Watched(False, None)),
        (Expected(words="Nothing moves."), "Nothing moves.", Watched(True, None)),
        (Expected(words="Nothing moves."), SAID.words, Watched(False, None)),
        (WHEN, '[{"start_time": "00:01.50", "end_time": "00:02.50", "description": ""}]', Watched(None, True)),
        (WHEN, '[{"start_time": "00:01.00", "end_time": "00:03.50", "description": ""}]', Watched(None, False)),
        (WHEN, "[]", Watched(None, False)),
    ],
)
def test_what_is_wrong_in_a_reply_is_seen(expected: Expected, reply: str, judged: Watched) -> None:
    assert _judged(expected, reply) == judged


def test_a_checkpoint_is_asked_through_the_product() -> None:
    """The shipped one was taught clips: it tells of them what is true, and when."""
    told = [case for case in CASES if claims(case.expected.words)][:2]
    rows = ask_clips(TINY, told, TINY_FAMILIES["qwen2_5_vl"].pixels)
    assert watch_figures(rows) == {"watch_said": 1.0, "watch_timed": 1.0}
