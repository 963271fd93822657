"""The pure data path in one call: ask the engine, read its reply, score, cut, count."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from vlm_perception.engines.base import Engine, ShouldStop, never_stop
from vlm_perception.replies.counting import count_answer
from vlm_perception.replies.labels import name_objects
from vlm_perception.replies.reader import AnswerReader, parse_answer
from vlm_perception.replies.scores import are_calibrated, score_objects
from vlm_perception.types import (
    Answer,
    DetectedObject,
    ParsedAnswer,
    Prompt,
    Reject,
    Request,
    Result,
    Timings,
    Token,
)

OnPartial = Callable[[Result], None]


def perceive(
    engine: Engine,
    request: Request,
    *,
    score_threshold: float = 0.0,
    should_stop: ShouldStop = never_stop,
    on_partial: OnPartial | None = None,
) -> Result:
    """Answer one request completely.

    Args:
        engine: A loaded engine.
        request: What to ask about which frame.
        score_threshold: Objects with a score below this, 0..1, become rejects; objects without a
            score stay.
        should_stop: See `Engine.answer`; an aborted answer still yields its complete objects.
        on_partial: Told, on the calling thread, each time objects became complete while the model
            is still writing: a `Result` with `partial` set, whose objects are those so far. They
            are the first ones of the final result, with the same names and scores. Its rejects
            are those below the threshold alone; prose and count are known only at the end.

    Returns:
        Objects in image pixels, named as `replies/labels.py` tells, rejects, prose
        and, for counting questions, the count.

    Raises:
        InferenceError: The engine failed on this request.
        GeometryError: The engine cannot take a frame of this size or aspect ratio.
    """
    follower = Follower(engine, request, score_threshold, on_partial)
    answer = engine.answer(request, should_stop, follower.read)
    return follower.finish(answer)


def _result_of(request: Request, answer: Answer, parsed: ParsedAnswer, score_threshold: float) -> Result:
    objects, weak = _judged(parsed.objects, request.prompt, answer, score_threshold)
    count = count_answer(request.prompt.task, answer, parsed, objects)
    return Result(
        request,
        answer,
        objects,
        (*parsed.rejects, *weak),
        parsed.text,
        count.number,
        count.agrees,
        calibrated=are_calibrated(objects, answer),
    )


class Follower:
    """Reads along while the model writes one answer, so that nothing is left to read when it ends.

    Args:
        engine: Tells the size of the processed image.
        request: What is asked.
        score_threshold: As in `perceive`.
        on_partial: As in `perceive`.
    """

    def __init__(self, engine: Engine, request: Request, score_threshold: float, on_partial: OnPartial | None) -> None:
        self._began_s = time.perf_counter()
        self._engine, self._request, self._score_threshold = engine, request, score_threshold
        self._on_partial = on_partial
        self._reader: AnswerReader | None = None
        self._chunks: list[str] = []
        self._tokens: list[Token] = []
        self._objects: tuple[DetectedObject, ...] = ()
        self._weak: tuple[Reject, ...] = ()
        self._first_object_s: float | None = None

    def read(self, chunk: str, tokens: tuple[Token, ...]) -> None:
        """See `Engine.answer`."""
        if self._reader is None:
            self._reader = self._start()
        self._chunks.append(chunk)
        self._tokens += tokens
        complete = self._reader.feed(chunk)
        if not complete:
            return
        if self._first_object_s is None:
            self._first_object_s = time.perf_counter() - self._began_s
        if self._on_partial is not None:
            self._tell(complete, self._on_partial)

    def finish(self, answer: Answer) -> Result:
        """Return what `perceive` returns for the finished answer. Call it once."""
        timed = replace(answer, timings=replace(answer.timings, first_object_s=self._first_object_s))
        return _result_of(self._request, timed, self._parsed(answer), self._score_threshold)

    def _parsed(self, answer: Answer) -> ParsedAnswer:
        if self._reader is not None and "".join(self._chunks) == answer.text:
            return self._reader.finish()
        # The engine does not stream, or the text is not what it streamed.
        image_wh = self._request.frame.image_wh
        return parse_answer(answer.text, model_wh=answer.model_wh, image_wh=image_wh, coordinates=answer.coordinates)

    def _start(self) -> AnswerReader:
        blank = self._engine.blank_answer(self._request)
        image_wh = self._request.frame.image_wh
        return AnswerReader(model_wh=blank.model_wh, image_wh=image_wh, coordinates=blank.coordinates)

    def _tell(self, complete: tuple[DetectedObject, ...], on_partial: OnPartial) -> None:
        timings = Timings(0.0, time.perf_counter() - self._began_s, 0.0, self._first_object_s)
        text, tokens = "".join(self._chunks), tuple(self._tokens)
        answer = replace(self._engine.blank_answer(self._request), text=text, tokens=tokens, timings=timings)
        objects, weak = _judged(complete, self._request.prompt, answer, self._score_threshold)
        self._objects += objects
        self._weak += weak
        if objects:
            told = Result(self._request, answer, self._objects, self._weak, "", partial=True)
            on_partial(replace(told, calibrated=are_calibrated(self._objects, answer)))


def _judged(
    objects: tuple[DetectedObject, ...], prompt: Prompt, answer: Answer, score_threshold: float
) -> tuple[tuple[DetectedObject, ...], tuple[Reject, ...]]:
    """Score and name objects, and part them from those below the threshold."""
    kept: list[DetectedObject] = []
    weak: list[Reject] = []
    # Scored before they are named: a label's tokens are those of the name the model wrote.
    for found in name_objects(score_objects(objects, answer), prompt):
        if found.score is not None and found.score < score_threshold:
            reason = f"score {found.score:.3f} is below score_threshold {score_threshold:.3f}"
            weak.append(Reject(reason, answer.text[slice(*found.span)], found.span, found.score))
        else:
            kept.append(found)
    return tuple(kept), tuple(weak)
