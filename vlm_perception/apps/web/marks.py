"""The raw reply as HTML in which every piece that was read is marked, and nothing can run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from vlm_perception.types import DetectedObject, Reject


@dataclass(frozen=True, slots=True)
class Mark:
    """One marked range of the reply.

    Attributes:
        start: Index of its first character.
        end: Index one past its last character.
        kind: "object" or "reject"; the class of the HTML element.
        note: What to say about it, plain text.
    """

    start: int
    end: int
    kind: str
    note: str


def marks_of(length: int, objects: Sequence[DetectedObject], rejects: Sequence[Reject]) -> tuple[Mark, ...]:
    """Turn spans into ranges that lie inside the reply, in order, none overlapping another.

    Where two spans overlap (several boxes under one label share their text), the one that begins
    first keeps its place and the other gets what is left of it.

    Args:
        length: Characters in the reply.
        objects: Objects with their `span` in it.
        rejects: Rejects with their `span` in it; an empty span marks nothing.
    """
    wanted = [Mark(*found.span, "object", f"object {n}: {found.label}") for n, found in enumerate(objects, 1)]
    wanted += [Mark(*reject.span, "reject", f"not accepted: {reject.reason}") for reject in rejects]
    kept: list[Mark] = []
    at = 0
    for mark in sorted(wanted, key=lambda mark: (mark.start, mark.end)):
        start, end = max(mark.start, at), min(mark.end, length)
        if start < end:
            kept.append(Mark(start, end, mark.kind, mark.note))
            at = end
    return tuple(kept)


def mark_reply(text: str, objects: Sequence[DetectedObject], rejects: Sequence[Reject]) -> str:
    """Show a reply with its objects and rejects marked.

    Args:
        text: The reply exactly as the model wrote it; may hold anything, HTML too.
        objects: What was read from it.
        rejects: What was not accepted.

    Returns:
        HTML whose text is `text` and nothing else; notes are in `title` attributes.
    """
    pieces: list[str] = []
    at = 0
    for mark in marks_of(len(text), objects, rejects):
        pieces.append(escape(text[at : mark.start]))
        body = escape(text[mark.start : mark.end])
        pieces.append(f'<mark class="{mark.kind}" title="{escape(mark.note)}">{body}</mark>')
        at = mark.end
    pieces.append(escape(text[at:]))
    return f'<pre class="reply">{"".join(pieces)}</pre>'
