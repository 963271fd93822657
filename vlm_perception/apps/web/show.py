"""What the page shows about one result or one problem: a picture and pieces of HTML, in which nothing can run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import chain, repeat

from vlm_perception.drawing.annotate import annotate
from vlm_perception.frames.encodings import Pixels
from vlm_perception.replies.result_json import fitted_on, one_line, result_fields
from vlm_perception.types import DetectedObject, Event, Reject, Result

NO_ANSWER = '<p class="nothing">No answer.</p>'


@dataclass(frozen=True, slots=True)
class Shown:
    """The contents of the page's outputs; everything but the picture is HTML with outside text escaped.

    Attributes:
        notice: A problem or a remark; empty when there is none.
        picture: (height, width, 3) uint8 RGB with everything drawn in, or None.
        answer: Number of objects, count, spoken text.
        objects: Table of objects, and for a video of what happened when.
        reply: The raw reply with its pieces marked.
        rejects: Table of what was not accepted.
        facts: Timings and sizes.
        picture_alt: What the picture shows, in words.
        spoken: What a screen reader says once the answer is whole; else empty.
        title: What was asked and found, plain text; empty unless the answer is whole.
        json: The answer as a line of JSON, as `vlm-detect` writes it; empty unless the answer is whole.
        kept: Only the notice is new, and the result before stays.
    """

    notice: str = ""
    picture: Pixels | None = None
    answer: str = ""
    objects: str = ""
    reply: str = NO_ANSWER
    rejects: str = NO_ANSWER
    facts: str = NO_ANSWER
    picture_alt: str = ""
    spoken: str = ""
    title: str = ""
    json: str = ""
    kept: bool = False


def show_problem(reason: str) -> Shown:
    """Show why there is no answer."""
    return Shown(notice=notice("problem", reason))


def show_refused(reason: str) -> Shown:
    """Show why nothing was asked."""
    return Shown(notice=notice("problem", f"Not asked: {reason}"), kept=True)


def show_waiting(reason: str) -> Shown:
    """Show that the answer will come, and what it waits for."""
    return Shown(notice=notice("waiting", reason))


def show_result(result: Result, source: str, model: str, image: str = "") -> Shown:
    """Show a whole or a partial result.

    Args:
        result: The result.
        source: What the user calls the image.
        model: The model's name.
        image: The file of the image, by which the page knows it.
    """
    image_w, listed = result.request.frame.image_wh[0], ""
    if not result.words_alone:
        listed = objects_table(result.objects, fitted_on(result), image_w=image_w, image=image)
    shown = Shown(
        notice=_remark(result),
        picture=annotate(result.request.frame.rgb, result),
        answer=_answer(result),
        objects=events_table(result.events) + listed,
        reply=mark_reply(result.answer.text, result.objects, result.rejects),
        rejects=rejects_table(result.rejects),
        facts=table(("", ""), timings_of(result), name="facts"),
        picture_alt=picture_alt(result),
    )
    if result.partial:
        return shown
    return replace(
        shown,
        spoken=escape(f"{shown.picture_alt} {result.text}".strip()),
        title=f"{result.request.prompt.text}: {shown.picture_alt}",
        json=one_line({"source": source, "model": model, **result_fields(result)}),
    )


def picture_alt(result: Result) -> str:
    """Name what is drawn in the picture, such as `3 objects: 2 cup, red ball. Count 3.` for a screen reader."""
    if result.words_alone:
        return "Answered in words."
    names = Counter(found.label for found in result.objects)
    listed = ", ".join(f"{number} {name}" if number > 1 else name for name, number in names.items())
    number = len(result.objects)
    told = f"{number} object{'' if number == 1 else 's'}: {listed}." if number else "No objects."
    return told if result.count is None else f"{told} Count {result.count}."


def notice(kind: str, text: str) -> str:
    """Write a line for a live region of the page; `kind` is "problem", "remark", "waiting" or "ready"."""
    role = ' role="alert"' if kind == "problem" else ""
    return f'<p class="notice {kind}"{role}>{escape(text)}</p>'


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
    parts += [f"{remark.text[0].upper()}{remark.text[1:]}." for remark in result.remarks]
    text = " ".join(filter(None, parts))
    return notice("remark", text) if text else ""


def _answer(result: Result) -> str:
    chips = [] if result.words_alone else [_chip("objects", str(len(result.objects)))]
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


def mark_reply(text: str, objects: Sequence[DetectedObject], rejects: Sequence[Reject]) -> str:
    """Show a reply with its objects and rejects marked.

    Where two spans overlap (several boxes under one label share their text), the one that begins
    first keeps its place and the other gets what is left of it; an empty span marks nothing.

    Args:
        text: The reply exactly as the model wrote it; may hold anything, HTML too.
        objects: What was read from it, with its `span` in it.
        rejects: What was not accepted, likewise.

    Returns:
        HTML whose text is `text` and nothing else; notes are in `title` attributes.
    """
    marks = [(*found.span, "object", f"object {n}: {found.text or found.label}") for n, found in enumerate(objects, 1)]
    marks += [(*reject.span, "reject", f"not accepted: {reject.reason}") for reject in rejects]
    pieces: list[str] = []
    at = 0
    for span_start, span_end, kind, note in sorted(marks, key=lambda mark: mark[:2]):
        start, end = max(span_start, at), min(span_end, len(text))
        if start < end:
            pieces.append(escape(text[at:start]))
            pieces.append(f'<mark class="{kind}" title="{escape(note)}">{escape(text[start:end])}</mark>')
            at = end
    return f'<pre class="reply">{"".join(pieces)}{escape(text[at:])}</pre>'


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    name: str,
    numbers: Sequence[int] = (),
    places: Iterable[str] = (),
) -> str:
    """Write a table.

    Args:
        heads: Column titles, plain text.
        rows: Cells, plain text.
        name: The `class` of the table.
        numbers: Indices of the columns whose cells are numbers and stand right.
        places: For each row that can be chosen its place, for `highlight.js`.
    """

    def cells(tag: str, row: Sequence[str]) -> str:
        kinds = [' class="number"' if index in numbers else "" for index in range(len(row))]
        return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for cell, kind in zip(row, kinds, strict=True))

    begins = chain((f'<tr tabindex="0" data-place="{escape(place)}">' for place in places), repeat("<tr>"))
    body = "".join(f"{begin}{cells('td', row)}</tr>" for begin, row in zip(begins, rows, strict=False))
    head = f"<thead><tr>{cells('th', heads)}</tr></thead>" if any(heads) else ""
    return f'<div class="scroll"><table class="{name}">{head}<tbody>{body}</tbody></table></div>'


def objects_table(objects: Sequence[DetectedObject], fitted_to: str | None, *, image_w: int, image: str = "") -> str:
    """List the objects, in the order and with the numbers of the marked reply; image pixels.

    Args:
        objects: In the order of the reply.
        fitted_to: What the scores were fitted on; None when they are not calibrated.
        image_w: Width of the image, pixels.
        image: Its file.
    """
    if not objects:
        return '<p class="nothing">No objects.</p>'
    heads = ["#", "label", "score", "place, px"]
    rows = []
    for number, found in enumerate(objects, 1):
        corners = ", ".join(f"{value:.0f}" for value in found.xyxy or found.point_xy or ())
        score = "" if found.score is None else f"{found.score:.2f}"
        rows.append([str(number), found.label, score, f"{'box' if found.xyxy else 'point'} {corners}"])
    if any(found.kind for found in objects):
        heads.append("text")
        for row, found in zip(rows, objects, strict=True):
            row.append(found.text)
    if any(found.attributes for found in objects):
        heads.append("attributes")
        for row, found in zip(rows, objects, strict=True):
            row.append(", ".join(f"{name}: {value}" for name, value in found.attributes.items()))
    places = [" ".join(f"{value / image_w:.5f}" for value in found.xyxy or found.point_xy or ()) for found in objects]
    remark = "uncalibrated: they order objects, and are no chances of being right"
    if fitted_to is not None:
        remark = f"chances of being right for images like those they were fitted on, {fitted_to}, and for no others"
    listed = table(heads, rows, name="objects", numbers=(0, 2), places=places)
    about = f'data-image="{escape(image)}" data-image-w="{image_w}"'
    inside = f'<button class="inside" {about} hidden>Ask about this part</button>'
    return f'{listed}{inside}<p class="legend">Scores are {escape(remark)}.</p>'


def events_table(events: Sequence[Event]) -> str:
    """List what happened when in a video, seconds after its first frame; nothing where nothing did."""
    rows = [(f"{event.start_s:.2f}", f"{event.end_s:.2f}", event.text) for event in events]
    return table(("from, s", "to, s", "what"), rows, name="events", numbers=(0, 1)) if rows else ""


def rejects_table(rejects: Sequence[Reject]) -> str:
    """List what was not accepted, with the reason."""
    if not rejects:
        return '<p class="nothing">No rejects.</p>'
    return table(("reason", "text"), [(reject.reason, reject.text) for reject in rejects], name="rejects")


def timings_of(result: Result) -> tuple[tuple[str, str], ...]:
    """Name the durations and sizes of one answer."""
    answer, timings = result.answer, result.answer.timings
    image_w, image_h = result.request.frame.image_wh
    n_tokens, generate_s = len(answer.tokens), timings.generate_s
    rate = f", {n_tokens} tokens, {n_tokens / generate_s:.0f}/s" if n_tokens and generate_s > 0 else ""
    facts = [
        ("whole answer", f"{timings.total_s:.2f} s"),
        ("prepare the image", f"{timings.preprocess_s * 1000:.0f} ms"),
        ("generate", f"{timings.generate_s:.2f} s{rate}"),
        ("read the tokens", f"{timings.decode_s * 1000:.0f} ms"),
    ]
    if timings.first_object_s is not None:
        facts.insert(1, ("first object after", f"{timings.first_object_s:.2f} s"))
    if result.looks:
        looks_s = sum(look.took_s for look in result.looks)
        facts.append(("closer looks", f"{len(result.looks)}, {looks_s:.2f} s more"))
    if (clip := result.request.clip) is not None:
        facts.append(("video", f"{len(clip.frames)} frames, {clip.duration_s:.2f} s"))
    facts += [
        ("image", f"{image_w} x {image_h} px"),
        ("the model saw", f"{answer.model_wh[0]} x {answer.model_wh[1]} px"),
        ("task", result.request.prompt.task.value),
        ("instruction sent", result.request.prompt.instruction),
        ("ended by", answer.finish_reason + (", truncated" if result.truncated else "")),
    ]
    return tuple(facts)
