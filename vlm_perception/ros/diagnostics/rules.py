"""When the node is not well, and how badly: the rules behind the level and the message of `/diagnostics`.

The rules stand in one table, worst first; docs/troubleshooting.md is held to it by a test. Counts are those of the
last 10 s, so that what has passed stops being shown by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from vlm_perception.ros.diagnostics.snapshot import NodeSnapshot
from vlm_perception.ros.lifecycle.states import State
from vlm_perception.types import DropCause

# So few may be chance.
_FEW = 3
_FEW_PIECES = 10
_HIGH_SHARE = 0.5
_MODEL_CAUSES = {DropCause.INFERENCE_ERROR, DropCause.INTERNAL_ERROR, DropCause.OUT_OF_MEMORY}
# Drops that are the node doing its job, not something being wrong.
_NORMAL_DROPS = {
    DropCause.REPLACED,
    DropCause.NOT_ASKED,
    DropCause.OVERTAKEN,
    DropCause.NO_PROMPT,
    DropCause.NOT_READY,
    DropCause.PAUSED,
    DropCause.INACTIVE,
    DropCause.PROMPT_CHANGED,
    DropCause.CAMERA_GONE,
    DropCause.STOPPED,
}
_REMARKS = ("fractions", "width_height", "other_frame", "thinking")
_NO_FAILURE = {"answers", "objects", "rejects", *_REMARKS, *(cause.value for cause in _NORMAL_DROPS)}
_OTHER_CAUSES = {cause.value for cause in DropCause}


class StatusLevel(IntEnum):
    """As in diagnostic_msgs/msg/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that may be wrong.

    Attributes:
        name: Short name, for docs and tests.
        level: How bad it is.
        when: The condition in words.
        check: Returns what to say about it, or nothing when it is not so.
    """

    name: str
    level: StatusLevel
    when: str
    check: Callable[[NodeSnapshot], str]


@dataclass(frozen=True, slots=True)
class Assessment:
    """The worst rule that applies, and what all of them say."""

    level: StatusLevel
    message: str
    symptoms: tuple[str, ...]


def assess(now: NodeSnapshot) -> Assessment:
    """Tell how the node is."""
    found = [(rule, text) for rule in RULES if (text := rule.check(now))]
    if not found:
        return Assessment(StatusLevel.OK, _well(now), ())
    rule, text = found[0]
    return Assessment(rule.level, text, tuple(f"{rule.name}: {text}" for rule, text in found))


def _well(now: NodeSnapshot) -> str:
    if now.lifecycle is not State.ACTIVE:
        return f"the node is {now.lifecycle.label}"
    if now.paused:
        return "paused by ~/enable"
    return "detecting" if now.prompts else "waiting for a prompt"


def _is_active(now: NodeSnapshot) -> bool:
    return now.lifecycle is State.ACTIVE


def _model_fails(now: NodeSnapshot) -> str:
    recent = now.total.recent
    failed = sum(recent.get(cause.value, 0) for cause in _MODEL_CAUSES)
    if failed < _FEW or recent.get("answers", 0):
        return ""
    return f"the model fails: none of the last {failed} requests was answered; see the log"


def _images_unreadable(now: NodeSnapshot) -> str:
    recent = now.total.recent
    # What is left of the drops are the causes of `ImageError`.
    unreadable = {cause: n for cause, n in recent.items() if cause in now.total.drops and cause not in _OTHER_CAUSES}
    count = sum(unreadable.values())
    if count < _FEW or recent.get("answers", 0):
        return ""
    return f"no image can be read: {_listed(unreadable)} in the last 10 s; see the log for what is wrong with them"


def _loading(now: NodeSnapshot) -> str:
    if now.lifecycle is not State.CONFIGURING:
        return ""
    return f"loading the model: {now.engine.get('loading', 'begins')}"


def _camera_mismatch(now: NodeSnapshot) -> str:
    return "; ".join(text for topic, text in now.qos_mismatches.items() if topic in now.silent_s)


def _no_image(now: NodeSnapshot) -> str:
    limit_s = now.no_image_warning_s
    silent = [topic for topic, since_s in now.silent_s.items() if since_s > limit_s]
    return f"no image on {', '.join(silent)}" if silent and _is_active(now) else ""


def _stale(now: NodeSnapshot) -> str:
    recent = now.total.recent
    stale = recent.get(DropCause.STALE.value, 0)
    if stale < _FEW or stale < _HIGH_SHARE * (stale + recent.get("answers", 0)):
        return ""
    return (
        f"frames grow too old: {stale} were dropped after max_age_s {now.max_age_s:g} in the last 10 s; lower "
        f"max_pixels, ask less, or raise max_age_s"
    )


def _lowered(now: NodeSnapshot) -> str:
    if now.lowered is None or now.budget.max_pixels != now.lowered.max_pixels:
        return ""
    return f"out of memory recovered: looking at {now.lowered.max_pixels} px instead of {now.lowered.instead_of}"


def _other_mismatch(now: NodeSnapshot) -> str:
    return "; ".join(text for topic, text in now.qos_mismatches.items() if topic not in now.silent_s)


def _many_rejects(now: NodeSnapshot) -> str:
    recent = now.total.recent
    rejects = recent.get("rejects", 0)
    pieces = rejects + recent.get("objects", 0)
    if pieces < _FEW_PIECES or rejects < _HIGH_SHARE * pieces:
        return ""
    return f"replies are hard to read: {rejects} of {pieces} pieces were refused; rejects in ~/answer say why"


def _odd_coordinates(now: NodeSnapshot) -> str:
    recent, answers = now.total.recent, now.total.recent.get("answers", 0)
    said = []
    if outside := recent.get("other_frame", 0):
        said.append(
            f"coordinates of another frame? In {outside} of {answers} answers most boxes lay outside of the image on "
            f"one side; see which frame the model writes in"
        )
    if swapped := recent.get("width_height", 0):
        said.append(
            f"in {swapped} of {answers} answers most boxes looked like x, y, width, height; ask for two corners, "
            f"[x1, y1, x2, y2]"
        )
    return "; ".join(said)


def _failures(now: NodeSnapshot) -> str:
    failures = {kind: n for kind, n in now.total.recent.items() if kind not in _NO_FAILURE}
    return f"{sum(failures.values())} failures in the last 10 s: {_listed(failures)}" if failures else ""


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))


RULES: tuple[Rule, ...] = (
    Rule(
        "transition failed",
        StatusLevel.ERROR,
        "the last change of state failed or broke, such as a model that cannot be loaded",
        lambda now: now.problem,
    ),
    Rule("model hangs", StatusLevel.ERROR, "the model is overdue and does not even look at its stop", lambda v: v.hang),
    Rule("model fails", StatusLevel.ERROR, f"at least {_FEW} answers failed in 10 s and none came", _model_fails),
    Rule(
        "images unreadable",
        StatusLevel.ERROR,
        f"at least {_FEW} images could not be read in 10 s and nothing was answered",
        _images_unreadable,
    ),
    Rule("loading", StatusLevel.WARN, "the model is being loaded", _loading),
    Rule(
        "impaired",
        StatusLevel.WARN,
        "some of the servers cannot be asked, or the fallback answers in their place",
        lambda now: now.engine.get("impaired", ""),
    ),
    Rule("same name", StatusLevel.WARN, "another node has the same full name", lambda now: now.namesakes),
    Rule("camera QoS", StatusLevel.WARN, "a camera and this node cannot hear each other", _camera_mismatch),
    Rule(
        "no image",
        StatusLevel.WARN,
        "no image for `no_image_warning_s` on a camera while the node is active",
        _no_image,
    ),
    Rule(
        "stale frames",
        StatusLevel.WARN,
        f"at least {_FEW} frames, and as many as answers, were dropped in 10 s because they waited over `max_age_s`",
        _stale,
    ),
    Rule("out of memory", StatusLevel.WARN, "memory ran out and the model sees fewer pixels since", _lowered),
    Rule(
        "QoS", StatusLevel.WARN, "somebody on another topic of this node cannot hear it, or be heard", _other_mismatch
    ),
    Rule(
        "memory",
        StatusLevel.WARN,
        "the file of the memory cannot be opened, read or written",
        lambda now: now.memory.problem,
    ),
    Rule(
        "rejects",
        StatusLevel.WARN,
        f"half or more of at least {_FEW_PIECES} pieces of replies in 10 s were refused, not counting low scores",
        _many_rejects,
    ),
    Rule(
        "coordinates",
        StatusLevel.WARN,
        "in an answer of the last 10 s more than half of the boxes lay outside of the image on one side, or looked like"
        " x, y, width, height",
        _odd_coordinates,
    ),
    Rule("failures", StatusLevel.WARN, "anything else was counted as a failure in the last 10 s", _failures),
)
