"""What a checkpoint sees happen in held-out clips, asked through the product's own data path."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.replies import Expected
from training.watching import STEP_S, ask, claims
from vlm_perception.engines.factory import open_engine
from vlm_perception.pipeline import perceive
from vlm_perception.replies.events import read_events
from vlm_perception.scenes.clips import DrawnClip
from vlm_perception.types import Clip, Event, Frame, FrameHeader, PixelBudget, Prompt, Request, Task

# Training's seeds are above.
FIRST_CLIP_SEED = 700_000
IMAGE_WH = (640, 480)
FRAMES = 9
MAX_NEW_TOKENS = 200
# As exact as the frames are.
TOLERANCE_S = STEP_S
QUESTIONS_A_CLIP = 4


@dataclass(frozen=True, slots=True)
class WatchCase:
    """One question about one clip."""

    clip: Clip
    instruction: str
    expected: Expected


@dataclass(frozen=True, slots=True)
class Watched:
    """What one reply about a clip got right.

    Attributes:
        said: Of "what happened": it claims what did and nothing else, which thing, what it did and which way. Else
            None.
        when: Of "when": every time is there within half a second, and no other. Else None.
        timed: Per true claim of "what happened": its times are told too, within half a second.
    """

    said: bool | None
    when: bool | None
    timed: tuple[bool, ...] = ()


def make_watch_cases(clips: int) -> list[WatchCase]:
    """The same questions on every call, about clips of four seconds."""
    cases = []
    times_s = tuple(frame * STEP_S for frame in range(FRAMES))
    for index in range(clips):
        rng = np.random.default_rng(FIRST_CLIP_SEED + index)
        drawn = DrawnClip(rng, IMAGE_WH, times_s[-1])
        frames = tuple(Frame(drawn.at(time_s).rgb, FrameHeader(0, 0, "camera"), "/image", time_s) for time_s in times_s)
        for number in range(QUESTIONS_A_CLIP):
            chinese = number == QUESTIONS_A_CLIP - 1
            instruction, expected = ask(drawn.happenings, drawn.still, rng, chinese=chinese)
            cases.append(WatchCase(Clip(frames, times_s), instruction, expected))
    return cases


def watched(expected: Expected, text: str, events: Sequence[Event]) -> Watched:
    """Judge one reply.

    Args:
        expected: The right one.
        text: The reply's words.
        events: What the product read from it.
    """
    if expected.words.startswith("```"):
        free = list(expected.events)
        for event in events:
            near = [one for one in free if _is_near((one[0], one[1]), event)]
            if not near:
                return Watched(None, False)
            free.remove(near[0])
        return Watched(None, not free)
    right, told = claims(expected.words), claims(text)
    spans = {
        claim: (e.start_s, e.end_s) for e in read_events(expected.words, math.inf).events for claim in claims(e.text)
    }
    seen = [(claim, event) for event in events for claim in claims(event.text)]
    timed = tuple(any(c == claim and _is_near(spans[claim], e) for c, e in seen) for claim in right if claim in told)
    is_said = told == right if right else not told and text.strip() == expected.words
    return Watched(is_said, None, timed)


def ask_clips(folder: Path, cases: Sequence[WatchCase], pixels: PixelBudget) -> list[Watched]:
    """Ask a checkpoint about clips and judge its replies; each frame is seen within `pixels`."""
    engine = open_engine(folder, device="cpu", dtype="float32")
    rows = []
    try:
        for case in cases:
            prompt = Prompt(case.instruction, Task.WATCH, case.instruction)
            request = Request(case.clip.frames[-1], prompt, pixels, MAX_NEW_TOKENS, clip=case.clip)
            result = perceive(engine, request)
            rows.append(watched(case.expected, result.text, result.events))
    finally:
        engine.close()
    return rows


def watch_figures(rows: Sequence[Watched]) -> dict[str, float]:
    """Summary over judged replies; a figure without a case is left out."""
    parts: dict[str, list[bool]] = {
        "watch_said": [row.said for row in rows if row.said is not None],
        "watch_when": [row.when for row in rows if row.when is not None],
        "watch_timed": [right for row in rows for right in row.timed],
    }
    return {key: round(float(np.mean(values)), 4) for key, values in parts.items() if values}


def _is_near(times_s: tuple[float, float], event: Event) -> bool:
    start_s, end_s = times_s
    return max(abs(event.start_s - start_s), abs(event.end_s - end_s)) <= TOLERANCE_S
