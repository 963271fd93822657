from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.engines.drafting.drafter import (
    MOST_PROMPTS,
    Drafter,
    DraftMemory,
    NoDraft,
)
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.types import Frame, FrameHeader, Move, PixelBudget, Request

WH = (224, 168)
END = 256
HEAD, TAIL = "```json\n[\n\t", "\n]\n```"
REPLY = HEAD + '{"bbox_2d": [10, 20, 60, 80], "label": "red cup"}' + TAIL


class OneTokenAByte:
    end_id = END

    def encode(self, text: str) -> list[int]:
        return list(text.encode("utf-8", "replace"))

    def bytes_of(self, token: int) -> bytes:
        return bytes([token]) if token < END else b""


encode = OneTokenAByte().encode


def memory() -> DraftMemory:
    return DraftMemory(OneTokenAByte())


def request(second: int = 1, prompt: str = "red cup", camera: str = "/image") -> Request:
    frame = Frame(np.zeros((48, 64, 3), np.uint8), FrameHeader(second, 0, "camera"), camera, 0.0)
    return Request(frame, build_prompt(prompt), PixelBudget(1, 2), 512)


def passes_for(reply: str, drafter: Drafter) -> int:
    """Decode as the engine does, with a model that is sure to write this reply."""
    ids = [*encode(reply), END]
    draft: Sequence[int] = ()
    at, passes = 0, 1
    while True:
        agreed = 0
        while agreed < len(draft) and at + agreed < len(ids) and draft[agreed] == ids[at + agreed]:
            agreed += 1
        written = ids[at : at + agreed + 1]
        at += len(written)
        drafter.accept(written)
        if at == len(ids):
            return passes
        draft = drafter.propose(len(ids) - at - 1)
        assert len(draft) <= len(ids) - at - 1
        passes += 1


def test_the_same_answer_again_takes_few_passes() -> None:
    known = memory()
    first = passes_for(REPLY, known.drafter(request(1), WH))
    known.remember(request(1), WH, REPLY)
    again = passes_for(REPLY, known.drafter(request(2), WH))
    plain = passes_for(REPLY, NoDraft())
    assert plain == len(REPLY) + 1
    assert first < plain / 2, "the form and the asked phrase are known"
    assert again <= 3


def test_motion_is_drafted_from_the_last_two_answers_and_their_times() -> None:
    def moved_by(pixels: int) -> str:
        return REPLY.replace("[10, 20, 60, 80]", f"[{10 + pixels}, 20, {60 + pixels}, 80]")

    for seen, most in (((0, 11), 3), ((11,), 99)):
        known = memory()
        for second, pixels in enumerate(seen, start=3 - len(seen)):
            known.remember(request(second), WH, moved_by(pixels))
        # Two seconds on, twice as far.
        passes = passes_for(moved_by(33), known.drafter(request(4), WH))
        assert (passes <= 3) == (len(seen) == 2)
        assert passes <= most


def test_each_camera_prompt_and_size_has_its_own_memory() -> None:
    known = memory()
    known.remember(request(1), WH, REPLY)
    assert passes_for(REPLY, known.drafter(request(2), WH)) <= 3
    others = [(request(2, camera="/other"), WH), (request(2, prompt="pan"), WH), (request(2), (448, 336))]
    others += [(request(2, prompt="in the left half: red cup"), WH), (replace(request(2), look=1), WH)]
    for asked, model_wh in others:
        assert passes_for(REPLY, known.drafter(asked, model_wh)) == passes_for(REPLY, memory().drafter(asked, model_wh))


def test_only_the_questions_asked_last_are_kept() -> None:
    known = memory()
    known.remember(request(1, camera="/first"), WH, REPLY)
    for number in range(MOST_PROMPTS):
        known.remember(request(1, camera=f"/{number}"), WH, REPLY)
    assert passes_for(REPLY, known.drafter(request(2, camera="/first"), WH)) > 3
    last = request(2, camera=f"/{MOST_PROMPTS - 1}")
    assert passes_for(REPLY, known.drafter(last, WH)) <= 3


def test_other_scripts_are_drafted_behind_whole_characters() -> None:
    reply = REPLY.replace("red cup", "红色的杯子")
    known = memory()
    known.remember(request(1), WH, REPLY.replace("red cup", "紫色的杯子"))
    assert passes_for(reply, known.drafter(request(2), WH)) < len(reply.encode()) / 3


@given(
    st.lists(st.text(max_size=80), min_size=1, max_size=4),
    st.text(max_size=120),
    st.lists(st.integers(0, 10**6), min_size=4, max_size=4),
)
def test_whatever_was_answered_before_the_reply_stays_the_same(
    earlier: list[str], reply: str, seconds: list[int]
) -> None:
    known = memory()
    for second, text in zip(seconds, earlier, strict=False):
        known.remember(request(second), WH, text)
    reply = reply.encode("utf-8", "replace").decode()
    assert 1 <= passes_for(reply, known.drafter(request(seconds[-1]), WH)) <= len(encode(reply)) + 1


def test_drafts_go_where_pixels_went() -> None:
    """Image pixels become the model's coordinates: 64x48 seen as 224x168 is 3.5 times as large."""
    kept = memory()
    kept.remember(request(), WH, REPLY)
    moved = REPLY.replace("[10, 20, 60, 80]", "[24, 27, 74, 87]")
    told = replace(request(2), moves=(Move((35 / 3.5, 50 / 3.5), (49 / 3.5, 57 / 3.5)),))
    assert passes_for(moved, kept.drafter(told, WH)) < passes_for(moved, kept.drafter(request(2), WH))
