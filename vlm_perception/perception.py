"""The pure data path in one call: ask the engine, read its reply, score, cut, count."""

from __future__ import annotations

from dataclasses import replace

from vlm_perception.answers import count_of, parse_answer
from vlm_perception.engines.base import Engine, ShouldStop, never_stop
from vlm_perception.scores import score_objects
from vlm_perception.types import Answer, DetectedObject, ParsedAnswer, Prompt, Reject, Request, Result, Task


def perceive(
    engine: Engine,
    request: Request,
    *,
    score_threshold: float = 0.0,
    should_stop: ShouldStop = never_stop,
) -> Result:
    """Answer one request completely.

    Args:
        engine: A loaded engine.
        request: What to ask about which frame.
        score_threshold: Objects with a score below this, 0..1, become rejects; objects without a
            score stay.
        should_stop: See `Engine.answer`; an aborted answer still yields its complete objects.

    Returns:
        Objects in image pixels (one the model left unnamed carries the asked phrase), rejects, prose
        and, for counting questions, the count.

    Raises:
        InferenceError: The engine failed on this request.
        GeometryError: The engine cannot take a frame of this size or aspect ratio.
    """
    answer = engine.answer(request, should_stop)
    parsed = parse_answer(
        answer.text,
        model_wh=answer.model_wh,
        image_wh=request.frame.image_wh,
        coordinates=answer.coordinates,
    )
    kept: list[DetectedObject] = []
    rejects = list(parsed.rejects)
    for found in score_objects(_named(parsed.objects, request.prompt), answer):
        if found.score is not None and found.score < score_threshold:
            reason = f"score {found.score:.3f} is below score_threshold {score_threshold:.3f}"
            rejects.append(Reject(reason, answer.text[slice(*found.span)]))
        else:
            kept.append(found)
    objects = tuple(kept)
    count = _count(request, answer, parsed, objects)
    return Result(request, answer, objects, tuple(rejects), parsed.text, count)


def _named(objects: tuple[DetectedObject, ...], prompt: Prompt) -> tuple[DetectedObject, ...]:
    """Give what the model left without a name the name that was asked for."""
    asked = prompt.targets[0] if len(prompt.targets) == 1 else prompt.text
    return tuple(found if found.label else replace(found, label=asked) for found in objects)


def _count(request: Request, answer: Answer, parsed: ParsedAnswer, objects: tuple[DetectedObject, ...]) -> int | None:
    if request.prompt.task is not Task.COUNT:
        return None
    said = count_of(parsed.text, objects)
    if said is not None:
        return said
    # A finished list without a sentence is an answer too; a cut-off one is not.
    finished = answer.finish_reason == "stop"
    listed = bool(objects) or not (parsed.rejects or parsed.text)
    return len(objects) if finished and listed else None
