"""What the page shows about one result or one problem, as a picture and pieces of HTML."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from vlm_perception.apps.web.marks import mark_reply
from vlm_perception.apps.web.tables import facts_table, objects_table, rejects_table, timings_of
from vlm_perception.drawing.annotate import annotate
from vlm_perception.frames.encodings import Pixels
from vlm_perception.types import Result

NO_ANSWER = '<p class="nothing">No answer.</p>'


@dataclass(frozen=True, slots=True)
class Shown:
    """The contents of the page's outputs; everything but the picture is HTML with outside text escaped.

    Attributes:
        notice: A problem or a remark; empty when there is none.
        picture: (height, width, 3) uint8 RGB with everything drawn in, or None.
        answer: Number of objects, count, spoken text.
        objects: Table of objects.
        reply: The raw reply with its pieces marked.
        rejects: Table of what was not accepted.
        facts: Timings and sizes.
    """

    notice: str = ""
    picture: Pixels | None = None
    answer: str = ""
    objects: str = ""
    reply: str = NO_ANSWER
    rejects: str = NO_ANSWER
    facts: str = NO_ANSWER


def show_problem(reason: str) -> Shown:
    """Show why there is no answer."""
    return Shown(notice=notice("problem", reason))


def show_waiting(reason: str) -> Shown:
    """Show that the answer will come, and what it waits for."""
    return Shown(notice=notice("waiting", reason))


def show_result(result: Result) -> Shown:
    """Show a whole or a partial result."""
    return Shown(
        notice=_remark(result),
        picture=annotate(result.request.frame.rgb, result),
        answer=_answer(result),
        objects=objects_table(result.objects, calibrated=result.calibrated),
        reply=mark_reply(result.answer.text, result.objects, result.rejects),
        rejects=rejects_table(result.rejects),
        facts=facts_table(timings_of(result)),
    )


def notice(kind: str, text: str) -> str:
    """Write a line for the top of the answers; `kind` is "problem", "remark", "waiting" or "ready"."""
    role = "alert" if kind == "problem" else "status"
    return f'<p class="notice {kind}" role="{role}">{escape(text)}</p>'


def _remark(result: Result) -> str:
    """Say what the user has to know about how the reply ended."""
    if result.partial:
        return notice("waiting", "The model is still writing; more may follow.")
    limit = result.request.max_new_tokens
    remarks = {
        "length": f"The reply was cut at {limit} tokens, the limit; raise --max-new-tokens for longer lists.",
        "timeout": "The reply took too long and was cut; these are the objects that were complete by then.",
        "aborted": "The reply was stopped early; these are the objects that were complete by then.",
        "repetition": "The model repeated itself without end, so the reply was stopped early.",
    }
    parts = [remarks.get(result.answer.finish_reason, "")]
    if result.request.prompt.neutralised:
        parts.append(f"{result.request.prompt.neutralised} chat control tokens in the prompt were made harmless.")
    text = " ".join(filter(None, parts))
    return notice("remark", text) if text else ""


def _answer(result: Result) -> str:
    number = len(result.objects)
    chips = [_chip("objects", str(number))]
    if result.count is not None:
        chips.append(_chip("count", str(result.count)))
    if result.count_agrees is not None:
        agrees = "agrees with the list" if result.count_agrees else "differs from the list"
        chips.append(f'<span class="chip {"good" if result.count_agrees else "bad"}">{agrees}</span>')
    if result.rejects:
        chips.append(_chip("rejects", str(len(result.rejects)), "bad"))
    spoken = f'<p class="spoken">{escape(result.text)}</p>' if result.text.strip() else ""
    return f'<div class="chips">{"".join(chips)}</div>{spoken}'


def _chip(name: str, value: str, kind: str = "") -> str:
    return f'<span class="chip {kind}">{name} <b>{escape(value)}</b></span>'
