"""Questions about a clip: what happened, which thing moved which way, and when one came, left or moved."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from training.replies import Expected, in_chinese
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scenes import COLOURS, KINDS
from vlm_perception.scenes.clips import Direction, Happening, What

# Frames are half a second apart, and nobody can know better.
STEP_S = 0.5
_OPPOSITE: dict[Direction, Direction] = {"left": "right", "right": "left", "up": "down", "down": "up"}
_SIDE: dict[Direction, str] = {"left": "the left", "right": "the right", "up": "the top", "down": "the bottom"}
_SIDE_ZH: dict[Direction, str] = {"left": "左", "right": "右", "up": "上", "down": "下"}
_ASKED: dict[What, tuple[str, str]] = {
    "moves": ("move", "移动"),
    "comes": ("come", "进入"),
    "leaves": ("leave", "离开"),
}

# In both languages, as no word of one is one of the other.
_LABELS = {name: label for label in (f"{c} {k}" for c in COLOURS for k in KINDS) for name in (label, in_chinese(label))}
_VERBS: dict[str, What] = {what: what for what in _ASKED} | {zh: what for what, (_, zh) in _ASKED.items()}
_SIDES = {name.removeprefix("the "): to for to, name in _SIDE.items()} | {name: to for to, name in _SIDE_ZH.items()}
_LABEL = rf"(?P<label>{'|'.join(_LABELS)})"
_CLAIMS = (
    re.compile(rf"{_LABEL} (?P<verb>moves|comes|leaves) (?:to|from) the (?P<side>left|right|top|bottom)"),
    re.compile(rf"{_LABEL}(?:在[\d:. -]+)?[从向](?P<side>[左右上下])边?(?P<verb>移动|进入|离开)"),
)

Claim = tuple[str, What, Direction]
"""Label of a thing, what it did, and which way it went."""


def ask(
    happenings: Sequence[Happening], still: Sequence[str], rng: np.random.Generator, *, chinese: bool
) -> tuple[str, Expected]:
    """Ask one question about a clip.

    Args:
        happenings: What happens in it, by time.
        still: Labels of things that stay where they are and that nothing else in the clip has.
        rng: Source of chance.
        chinese: Language.

    Returns:
        The instruction, and what a right reply holds: sentences, or times for "when".
    """
    if rng.random() < 0.5:
        return _when(happenings, still, rng, chinese=chinese)
    moved = [one.label for one in happenings]
    label = _one_of(rng, [*moved, *still]) if (moved or still) and rng.random() < 0.4 else ""
    if label:
        name = in_chinese(label) if chinese else label
        question = f"{name}怎么移动了？" if chinese else f"which way did the {name} go?"
    else:
        question = _one_of(rng, ("发生了什么？", "什么东西移动了？") if chinese else ("what happened?", "what moved?"))
    meant = tuple(one for one in happenings if label in ("", one.label))
    space = "" if chinese else " "
    said = space.join(sentence(one, chinese=chinese) for one in meant) or _nothing(label, chinese=chinese)
    return build_prompt(f"watch: {question}").instruction, Expected(words=said, happenings=meant)


def sentence(one: Happening, *, chinese: bool) -> str:
    """Say what happened, with its time: "The red cart moves to the right in 00:01.50 - 00:04.00."."""
    start, end = times(one)
    span = f"{clock(start)} - {clock(end)}"
    if chinese:
        way = f"从{_SIDE_ZH[_OPPOSITE[one.direction]]}边进入" if one.what == "comes" else f"向{_SIDE_ZH[one.direction]}"
        return f"{in_chinese(one.label)}在{span}{way}{'' if one.what == 'comes' else _ASKED[one.what][1]}。"
    return f"The {clause(one)} in {span}."


def clause(one: Happening) -> str:
    """The same without its time: "red cart comes from the left"."""
    if one.what == "comes":
        return f"{one.label} comes from {_SIDE[_OPPOSITE[one.direction]]}"
    return f"{one.label} {one.what} to {_SIDE[one.direction]}"


def claims(text: str) -> Counter[Claim]:
    """Read back what sentences of this form claim, in both languages."""
    read: Counter[Claim] = Counter()
    for found in (found for pattern in _CLAIMS for found in pattern.finditer(text)):
        what, side = _VERBS[found["verb"]], _SIDES[found["side"]]
        read[_LABELS[found["label"]], what, _OPPOSITE[side] if what == "comes" else side] += 1
    return read


def times(one: Happening) -> tuple[float, float]:
    """Start and end in seconds, to the frame; never at the same one."""
    start = round(one.start_s / STEP_S) * STEP_S
    return start, max(start + STEP_S, round(one.end_s / STEP_S) * STEP_S)


def clock(time_s: float) -> str:
    """Write seconds as `mm:ss.ff`."""
    return f"{int(time_s // 60):02d}:{time_s % 60:05.2f}"


def render_events(events: Sequence[tuple[float, float, str]]) -> str:
    """Write times as Qwen does: a fenced JSON list of start and end."""
    if not events:
        return "```json\n[]\n```"
    items = [{"start_time": clock(start), "end_time": clock(end), "description": said} for start, end, said in events]
    return f"```json\n{json.dumps(items, indent=4, ensure_ascii=False)}\n```"


def _when(
    happenings: Sequence[Happening], still: Sequence[str], rng: np.random.Generator, *, chinese: bool
) -> tuple[str, Expected]:
    if happenings and (rng.random() < 0.75 or not still):
        one = happenings[int(rng.integers(len(happenings)))]
        label, what = one.label, one.what
    else:
        label = _one_of(rng, still) if still else "red cart"
        what = tuple(_ASKED)[int(rng.integers(len(_ASKED)))]
    verb, verb_zh = _ASKED[what]
    question = f"{in_chinese(label)}什么时候{verb_zh}？" if chinese else f"when did the {label} {verb}?"
    meant = tuple(one for one in happenings if (one.label, one.what) == (label, what))
    events = tuple((*times(one), _described(one, chinese=chinese)) for one in meant)
    expected = Expected(words=render_events(events), events=events, happenings=meant)
    return build_prompt(f"watch: {question}").instruction, expected


def _described(one: Happening, *, chinese: bool) -> str:
    return sentence(one, chinese=True).replace(f"在{_span(one)}", "").rstrip("。") if chinese else f"the {clause(one)}"


def _span(one: Happening) -> str:
    return " - ".join(map(clock, times(one)))


def _nothing(label: str, *, chinese: bool) -> str:
    if chinese:
        return f"{in_chinese(label)}没有移动。" if label else "没有东西移动。"
    return f"The {label} does not move." if label else "Nothing moves."


def _one_of(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]
