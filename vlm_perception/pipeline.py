"""The pure data path in one call: ask the engine, read its reply, score, cut, count."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from vlm_perception.engines.base import Engine, ShouldStop, never_stop
from vlm_perception.errors import DeviceLostError, GeometryError, InferenceError
from vlm_perception.frames.regions import look_at_region, shifted
from vlm_perception.replies.counting import count_answer
from vlm_perception.replies.events import event_of, read_events, spoken
from vlm_perception.replies.labels import name_objects
from vlm_perception.replies.reader import AnswerReader
from vlm_perception.replies.scores import are_calibrated, score_objects
from vlm_perception.replies.texts import TextReader
from vlm_perception.types import (
    XY,
    Answer,
    DetectedObject,
    Event,
    Look,
    LookOutcome,
    ParsedAnswer,
    Reject,
    Request,
    Result,
    Task,
    Timings,
    Token,
    Zoom,
)
from vlm_perception.world.closer_looks import merge_look, plan_looks

OnPartial = Callable[[Result], None]
# Those whose answers are places.
_LOOKED_AT = (Task.DETECT, Task.GROUND, Task.POINT, Task.COUNT)


def perceive(
    engine: Engine,
    request: Request,
    *,
    score_threshold: float = 0.0,
    should_stop: ShouldStop = never_stop,
    on_partial: OnPartial | None = None,
    zoom: Zoom = "off",
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
            are the first ones of the final result, with the same names and scores, unless the model
            ends a thinking that it never began: then they are gone; and but for small and unsure things, whose
            place, name and score closer looks make finer, or which they take away. Its rejects
            are those below the threshold alone; prose and count are known only at the end.
        zoom: "auto" asks again about parts around small and unsure things, see `look_closer`; a prompt's own wins.

    Returns:
        Objects in image pixels, named as `replies/labels.py` tells, rejects, prose
        and, for counting prompts, the count; for a clip, events, and boxes with a time are among them.

    Raises:
        InferenceError: The engine failed on this request.
        GeometryError: The engine cannot take a frame of this size or aspect ratio, or the prompt's region lies outside
            of it.
    """
    follower = Follower(engine, request, score_threshold, on_partial)
    result = follower.finish(engine.answer(follower.asked, should_stop, follower.read))
    if (request.prompt.zoom or zoom) == "off":
        return result
    return look_closer(engine, result, score_threshold=score_threshold, should_stop=should_stop)


def look_closer(
    engine: Engine,
    result: Result,
    *,
    score_threshold: float = 0.0,
    should_stop: ShouldStop = never_stop,
    is_stale: Callable[[], bool] = never_stop,
) -> Result:
    """Ask once more about parts of an answered frame, where small and unsure things are.

    Args:
        engine: The one that answered.
        result: A whole answer that lists things.
        score_threshold: As in `perceive`.
        should_stop: As in `perceive`, for each look.
        is_stale: Asked before each look; once true, no more are begun.

    Returns:
        The same objects in their order, those that a look was for as it saw them, and what is new behind them. Where a
        look found nothing at all, what it was for becomes rejects. A count goes along where it agreed with the list.
        Each look is in `looks`; one that fails, for lack of memory too, costs itself alone.

    Raises:
        DeviceLostError: No later answer can succeed.
    """
    request, answer = result.request, result.answer
    if request.prompt.task not in _LOOKED_AT or answer.finish_reason in ("aborted", "timeout"):
        return result
    image_wh, region = request.frame.image_wh, request.prompt.region
    seen = (0, 0, *image_wh) if region is None else region.in_image(image_wh)
    # A part is shown with as many pixels as all was, also where it has fewer of its own.
    least_px = min(request.budget.max_pixels, answer.model_wh[0] * answer.model_wh[1])
    budget = replace(request.budget, min_pixels=max(request.budget.min_pixels, least_px))
    objects, gone, looks, calibrated = result.objects, dict[int, Reject](), [], result.calibrated
    for number, planned in enumerate(plan_looks(result.objects, seen, answer.model_wh), 1):
        part = planned.region.in_image(image_wh)
        if should_stop():
            break
        if is_stale():
            looks.append(Look(part, "stale"))
            continue
        began_s = time.perf_counter()
        prompt = replace(request.prompt, region=planned.region, zoom="off")
        asked = replace(request, prompt=prompt, budget=budget, moves=(), look=number)
        try:
            closer = perceive(engine, asked, score_threshold=score_threshold, should_stop=should_stop)
        except DeviceLostError:
            raise
        except (InferenceError, GeometryError) as error:
            looks.append(Look(part, "failed", str(error), time.perf_counter() - began_s))
            continue
        objects = merge_look(objects, planned, closer.objects, seen, image_wh)
        calibrated = calibrated and (closer.calibrated or not closer.objects)
        if closer.answer.finish_reason == "stop" and not closer.objects and not closer.rejects:
            for index in planned.meant:
                thing = objects[index]
                text, reason = answer.text[slice(*thing.span)], f"a closer look at {list(part)} found nothing"
                gone[index] = Reject(reason, text, thing.span, thing.score)
        outcome: LookOutcome = "stopped" if closer.answer.finish_reason in ("aborted", "timeout") else "done"
        looks.append(Look(part, outcome, closer.answer.text, time.perf_counter() - began_s))
    objects = tuple(each for index, each in enumerate(objects) if index not in gone)
    more = len(objects) - len(result.objects)
    count = result.count if result.count is None or result.count_agrees is False else result.count + more
    rejects = (*result.rejects, *gone.values())
    return replace(result, objects=objects, rejects=rejects, count=count, looks=tuple(looks), calibrated=calibrated)


class Follower:
    """Reads along while the model writes one answer, so that nothing is left to read when it ends.

    Here alone a region becomes an image of its own for the engine (`asked`), and what was found in it comes back into
    the whole image.

    Args:
        engine: Tells the size of the processed image.
        request: What is asked.
        score_threshold: As in `perceive`.
        on_partial: As in `perceive`.

    Attributes:
        asked: What the engine is asked.

    Raises:
        GeometryError: The prompt's region lies outside of the frame.
    """

    def __init__(self, engine: Engine, request: Request, score_threshold: float, on_partial: OnPartial | None) -> None:
        self._began_s = time.perf_counter()
        self._engine, self._request, self._score_threshold = engine, request, score_threshold
        self.asked, self._origin_xy = look_at_region(request)
        # What an object of a clip belongs to, its time tells, which may come last.
        self._on_partial = on_partial if request.clip is None else None
        self._blank: Answer | None = None
        self._reader: AnswerReader | TextReader | None = None
        self._tokens: list[Token] = []
        self._objects: tuple[DetectedObject, ...] = ()
        self._weak: tuple[Reject, ...] = ()
        self._first_object_s: float | None = None

    def read(self, chunk: str, tokens: tuple[Token, ...]) -> None:
        """See `Engine.answer`."""
        if self._blank is None or self._reader is None:
            self._blank = self._engine.blank_answer(self.asked)
            self._reader = self._reader_of(self._blank)
        self._tokens += tokens
        complete = self._reader.feed(chunk)
        if self._reader.told == len(complete):
            # What was told before, if anything, was thought only.
            self._objects, self._weak = (), ()
        if not complete:
            return
        now_s = time.perf_counter() - self._began_s
        if self._first_object_s is None:
            self._first_object_s = now_s
        if self._on_partial is not None:
            timings = Timings(0.0, now_s, 0.0, self._first_object_s)
            answer = replace(self._blank, text=self._reader.text, tokens=tuple(self._tokens), timings=timings)
            self._tell(complete, answer, self._on_partial)

    def finish(self, answer: Answer) -> Result:
        """Return what `perceive` returns for the finished answer. Call it once."""
        answer = replace(answer, timings=replace(answer.timings, first_object_s=self._first_object_s))
        reader, blank = self._reader, self._blank
        seen = (answer.text, answer.model_wh, answer.coordinates)
        if reader is None or blank is None or (reader.text, blank.model_wh, blank.coordinates) != seen:
            # The engine does not stream, or somebody else ended the answer than began to stream it.
            reader = self._reader_of(answer)
            reader.feed(answer.text)
        parsed = reader.finish()
        events: tuple[Event, ...] = ()
        if self._request.clip is not None:
            parsed, events = _with_events(parsed, answer.text, self._request.clip.duration_s, self._origin_xy)
        objects, weak = self._kept_and_weak(parsed.objects, answer)
        prompt = self._request.prompt
        count = count_answer(prompt.task, answer, parsed, objects, prompt.targets)
        rejects, calibrated = (*parsed.rejects, *weak), are_calibrated(objects, answer)
        return Result(
            self._request,
            answer,
            objects,
            rejects,
            "\n".join(filter(None, (parsed.text, *(found.text for found in objects)))),
            count.number,
            count.agrees,
            calibrated=calibrated,
            thinking=parsed.thinking,
            remarks=parsed.remarks,
            events=events,
        )

    def _reader_of(self, answer: Answer) -> AnswerReader | TextReader:
        model_wh, image_wh, coordinates = answer.model_wh, self.asked.frame.image_wh, answer.coordinates
        prompt = self._request.prompt
        if prompt.task is Task.READ:
            return TextReader(model_wh=model_wh, image_wh=image_wh, coordinates=coordinates, targets=prompt.targets)
        return AnswerReader(model_wh=model_wh, image_wh=image_wh, coordinates=coordinates)

    def _tell(self, complete: tuple[DetectedObject, ...], answer: Answer, on_partial: OnPartial) -> None:
        objects, weak = self._kept_and_weak(complete, answer)
        self._objects += objects
        self._weak += weak
        if objects:
            calibrated = are_calibrated(self._objects, answer)
            on_partial(
                Result(self._request, answer, self._objects, self._weak, "", calibrated=calibrated, partial=True)
            )

    def _kept_and_weak(
        self, objects: tuple[DetectedObject, ...], answer: Answer
    ) -> tuple[tuple[DetectedObject, ...], tuple[Reject, ...]]:
        """Score and name objects, and part them from those below the threshold."""
        kept: list[DetectedObject] = []
        weak: list[Reject] = []
        # Scored before they are named: a label's tokens are those of the name the model wrote.
        for found in name_objects(score_objects(objects, answer), self._request.prompt):
            if found.score is not None and found.score < self._score_threshold:
                reason = f"score {found.score:.3f} is below score_threshold {self._score_threshold:.3f}"
                weak.append(Reject(reason, answer.text[slice(*found.span)], found.span, found.score))
            else:
                kept.append(shifted(found, self._origin_xy))
        return tuple(kept), tuple(weak)


def _with_events(
    parsed: ParsedAnswer, reply: str, duration_s: float, origin_xy: XY
) -> tuple[ParsedAnswer, tuple[Event, ...]]:
    """Take out of a reply about a clip what happened when, its boxes in pixels of the whole image."""
    reading = read_events(parsed.text, duration_s)
    found = [
        (item, event_of(shifted(item, origin_xy), duration_s, reply[slice(*item.span)])) for item in parsed.objects
    ]
    events = (*reading.events, *(event for _, event in found if isinstance(event, Event)))
    rejects = (*parsed.rejects, *reading.rejects, *(event for _, event in found if isinstance(event, Reject)))
    objects = tuple(item for item, event in found if event is None)
    # What was said in JSON alone is said in words, too, as of any other answer.
    text = reading.text or "\n".join(map(spoken, reading.events))
    return replace(parsed, objects=objects, rejects=rejects, text=text), events
