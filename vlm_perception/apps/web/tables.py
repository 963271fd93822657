"""What was found, as HTML tables. Every text that came from outside is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from vlm_perception.types import DetectedObject, Reject, Result

Row = Sequence[str]


def table(heads: Row, rows: Iterable[Row], *, name: str, numbers: Sequence[int] = ()) -> str:
    """Write a table.

    Args:
        heads: Column titles, plain text.
        rows: Cells, plain text.
        name: The `class` of the table.
        numbers: Indices of the columns whose cells are numbers and stand right.
    """

    def cells(tag: str, row: Row) -> str:
        kinds = [' class="number"' if index in numbers else "" for index in range(len(row))]
        return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for cell, kind in zip(row, kinds, strict=True))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    head = f"<thead><tr>{cells('th', heads)}</tr></thead>" if any(heads) else ""
    return f'<div class="scroll"><table class="{name}">{head}<tbody>{body}</tbody></table></div>'


def objects_table(objects: Sequence[DetectedObject], *, calibrated: bool) -> str:
    """List the objects, in the order and with the numbers of the marked reply; image pixels."""
    if not objects:
        return '<p class="nothing">No objects.</p>'
    heads = ["#", "label", "score", "place, px"]
    rows = [[str(number), found.label, _score(found), _place(found)] for number, found in enumerate(objects, 1)]
    if any(found.attributes for found in objects):
        heads.append("attributes")
        for row, found in zip(rows, objects, strict=True):
            row.append(_attributes(found))
    remark = "calibrated" if calibrated else "uncalibrated: they order objects, and are no chances of being right"
    return f'{table(heads, rows, name="objects", numbers=(0, 2))}<p class="legend">Scores are {remark}.</p>'


def rejects_table(rejects: Sequence[Reject]) -> str:
    """List what was not accepted, with the reason."""
    if not rejects:
        return '<p class="nothing">No rejects.</p>'
    return table(("reason", "text"), [(reject.reason, reject.text) for reject in rejects], name="rejects")


def facts_table(facts: Iterable[tuple[str, str]]) -> str:
    """List names and values."""
    return table(("", ""), facts, name="facts")


def timings_of(result: Result) -> tuple[tuple[str, str], ...]:
    """Name the durations and sizes of one answer."""
    answer, timings = result.answer, result.answer.timings
    image_w, image_h = result.request.frame.image_wh
    total_s = timings.preprocess_s + timings.generate_s + timings.decode_s
    facts = [
        ("whole answer", f"{total_s:.2f} s"),
        ("prepare the image", f"{timings.preprocess_s * 1000:.0f} ms"),
        ("generate", f"{timings.generate_s:.2f} s{_rate(len(answer.tokens), timings.generate_s)}"),
        ("read the tokens", f"{timings.decode_s * 1000:.0f} ms"),
    ]
    if timings.first_object_s is not None:
        facts.insert(1, ("first object after", f"{timings.first_object_s:.2f} s"))
    facts += [
        ("image", f"{image_w} x {image_h} px"),
        ("the model saw", f"{answer.model_wh[0]} x {answer.model_wh[1]} px"),
        ("task", result.request.prompt.task.value),
        ("instruction sent", result.request.prompt.instruction),
        ("ended by", answer.finish_reason + (", truncated" if result.truncated else "")),
    ]
    return tuple(facts)


def _rate(tokens: int, duration_s: float) -> str:
    return f", {tokens} tokens, {tokens / duration_s:.0f}/s" if tokens and duration_s > 0 else ""


def _score(found: DetectedObject) -> str:
    return "" if found.score is None else f"{found.score:.2f}"


def _place(found: DetectedObject) -> str:
    corners = found.xyxy or found.point_xy or ()
    kind = "box" if found.xyxy else "point"
    return f"{kind} {', '.join(f'{value:.0f}' for value in corners)}"


def _attributes(found: DetectedObject) -> str:
    return ", ".join(f"{name}: {value}" for name, value in found.attributes.items())
