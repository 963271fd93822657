"""Questions about clips: the product reads from each right reply what happened and when."""

from __future__ import annotations

import numpy as np
import pytest

from training.replies import render_reply
from training.watching import STEP_S, ask, clock, sentence, times
from vlm_perception.replies.events import read_events
from vlm_perception.scenes.clips import Happening

CAME = Happening("red cart", "comes", "right", 1.4, 2.6)
MOVED = Happening("blue face", "moves", "up", 3.1, 3.2)
LEFT = Happening("green circle", "leaves", "down", 60.2, 62.0)


@pytest.mark.parametrize(
    ("happening", "english", "chinese"),
    [
        (
            CAME,
            "The red cart comes from the left in 00:01.50 - 00:02.50.",
            "红色小车在00:01.50 - 00:02.50从左边进入。",
        ),
        (MOVED, "The blue face moves to the top in 00:03.00 - 00:03.50.", "蓝色笑脸在00:03.00 - 00:03.50向上移动。"),
        (
            LEFT,
            "The green circle leaves to the bottom in 01:00.00 - 01:02.00.",
            "绿色圆形在01:00.00 - 01:02.00向下离开。",
        ),
    ],
)
def test_what_happened_is_said_with_its_time(happening: Happening, english: str, chinese: str) -> None:
    assert sentence(happening, chinese=False) == english
    assert sentence(happening, chinese=True) == chinese


@pytest.mark.parametrize("happenings", [(), (CAME,), (CAME, MOVED)], ids=len)
def test_the_product_reads_every_reply_back_to_what_happened(happenings: tuple[Happening, ...]) -> None:
    """All times that are said are those of what happened, within half a second; none where nothing did."""
    rng, kinds = np.random.default_rng(3), set()
    true = {tuple(times(one)) for one in happenings}
    for number in range(60):
        instruction, expected = ask(happenings, ("green square",), rng, chinese=number % 4 == 0)
        read = read_events(render_reply(expected, number % 4 == 0), 8.0)
        assert not read.rejects
        found = {(event.start_s, event.end_s) for event in read.events}
        assert found <= true
        if expected.events:
            assert found == {(start, end) for start, end, _ in expected.events}
        when = "when" in instruction or "什么时候" in instruction or "query" in instruction or "查询" in instruction
        kinds.add((when, len(found)))
    assert (True, 0) in kinds
    assert (True, 1) in kinds or not happenings
    assert (False, len(happenings)) in kinds


def test_times_are_those_of_frames_and_never_one_moment() -> None:
    for one in (CAME, MOVED, LEFT):
        start, end = times(one)
        assert end - start >= STEP_S
        assert (start / STEP_S, end / STEP_S) == (round(start / STEP_S), round(end / STEP_S))
        assert abs(start - one.start_s) <= STEP_S / 2
        assert abs(end - one.end_s) <= STEP_S
    assert clock(61.5) == "01:01.50"
