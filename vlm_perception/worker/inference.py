"""One pass through the model: turns -> requests -> answers -> results, each delivered on its own.

What does not fit into memory is asked once more with half the pixels, and what takes too long is cut.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from vlm_perception.engines.base import BatchEngine, ConcurrentEngine, Engine
from vlm_perception.errors import (
    DeviceLostError,
    GeometryError,
    ImageError,
    InferenceError,
    ModelMemoryError,
    ServerUnavailableError,
    VlmPerceptionError,
)
from vlm_perception.frames.history import clip_of
from vlm_perception.frames.regions import look_at_region
from vlm_perception.pipeline import Follower, OnPartial, look_closer
from vlm_perception.scheduling.rate import Clock
from vlm_perception.scheduling.turns import Turn
from vlm_perception.settings import Settings
from vlm_perception.types import Answer, DropCause, PixelBudget, Request, Result, Task
from vlm_perception.worker.delivery import Delivery
from vlm_perception.worker.listener import WorkerListener
from vlm_perception.worker.memory_backoff import MemoryBackoff, PixelLimit
from vlm_perception.worker.timeouts import Deadline, PassClock, RunningPass
from vlm_perception.worker.tracking import Tracking

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One turn while the model is asked.

    Attributes:
        turn: The frame and the prompt.
        follower: Tells what the engine gets, and reads the reply while it is written.
        deadline: When the reply has to end.
    """

    turn: Turn
    follower: Follower
    deadline: Deadline

    def should_stop(self) -> bool:
        """Whether nobody wants the answer any more, or its time is over."""
        return not self.turn.is_wanted or self.deadline.look()

    def finish(self, answer: Answer) -> Result:
        """Make the result; an answer that was stopped for its time alone is one that timed out."""
        if answer.finish_reason == "aborted" and self.deadline.has_passed:
            answer = replace(answer, finish_reason="timeout")
        return self.follower.finish(answer)


class Inference:
    """Asks an engine and delivers what it says.

    Used by the worker's thread; `ask` by several threads at once where the engine allows it (`is_concurrent`).

    Args:
        engine: The model; one with `answer_batch` is asked several things in one pass.
        listener: Gets results and drops.
        delivery: Decides what of them is published.
        clock: Monotonic seconds.
        tracking: Told which frames are asked about, and gives the objects of results their ids; None follows none.
    """

    def __init__(
        self,
        engine: Engine,
        listener: WorkerListener,
        delivery: Delivery,
        clock: Clock,
        tracking: Tracking | None = None,
    ) -> None:
        self._tracking = tracking
        self._engine = engine
        self._listener = listener
        self._delivery = delivery
        self._clock = clock
        # Guards all that is below.
        self._counting = threading.Lock()
        self._backoff = MemoryBackoff()
        self._passes: list[PassClock] = []
        self._failures, self._last, self._loss = 0, "", ""

    def breakdown(self, settings: Settings) -> str:
        """Return why the model cannot be asked any more, after a lost device or too many failures; else nothing."""
        with self._counting:
            if self._loss or not 0 < settings.max_failures <= self._failures:
                return self._loss
            return f"{self._failures} answers in a row failed, as many as max_failures allows; the last: {self._last}"

    @property
    def running(self) -> RunningPass | None:
        """The pass that the model is in, of several the one that is closest to its end or beyond. For any thread."""
        with self._counting:
            return max((each.now() for each in self._passes), key=lambda now: now.overdue_s, default=None)

    @property
    def lowered(self) -> PixelLimit | None:
        """The limit of pixels after memory ran out; None when there is none. For any thread."""
        return self._backoff.lowered

    def fit(self, settings: Settings) -> PixelBudget:
        """Return the pixels that the model may see with these settings now. For any thread."""
        return self._backoff.fit(settings.budget)

    def limit(self, settings: Settings) -> int:
        """Return how many turns fit in one pass; what is asked at once are passes of their own."""
        return settings.max_batch if hasattr(self._engine, "answer_batch") and not self.is_concurrent else 1

    @property
    def is_concurrent(self) -> bool:
        """Whether the engine takes further turns while it answers."""
        return hasattr(self._engine, "max_in_flight")

    @property
    def room(self) -> float:
        """How many turns of a camera may be on their way now; see `Scheduler.room`."""
        return cast(ConcurrentEngine, self._engine).max_in_flight if self.is_concurrent else math.inf

    def read(self, turns: Sequence[Turn]) -> list[Turn]:
        """Make the frames' pixels; a frame that cannot be read is counted once and its turns are left out."""
        readable: list[Turn] = []
        for turn in turns:
            if turn.pending.broken:
                for waiting in turn.waiting:
                    waiting.fail(f"{_frame_of(turn)} could not be read; see the log")
                continue
            try:
                frame = turn.pending.read()
            except Exception as error:  # noqa: BLE001 - one bad frame must not end the thread
                self._fail(turn, error)
            else:
                readable.append(turn)
                self._listener.on_asked(frame)
                if self._tracking is not None and turn.goal is None:
                    self._tracking.ask(frame)
        return readable

    def ask(self, turns: Sequence[Turn], settings: Settings) -> None:
        """Ask everything and deliver the answers; whatever fails costs only its own turn."""
        answered = self._ask_together(turns, settings) if len(turns) > 1 else None
        for place, turn in enumerate(turns):
            try:
                attempt, answer = answered[place] if answered else self._ask_one(turn, settings)
                result = attempt.finish(answer)
                self._note_success(result)
                self._finish(turn, self._look_closer(attempt, result, settings))
            except Exception as error:  # noqa: BLE001 - one bad answer must not end the thread
                self._note_failure(error)
                self._fail(turn, error)

    def _ask_together(self, turns: Sequence[Turn], settings: Settings) -> list[tuple[Attempt, Answer]] | None:
        """Return each turn's attempt and answer; None when the pass failed and each is to be asked alone."""
        engine, budget = cast(BatchEngine, self._engine), self.fit(settings)
        try:
            with self._measured(settings) as clock:
                attempts = [self._attempt(turn, budget, settings, clock) for turn in turns]
                with contained():
                    answers = engine.answer_batch(
                        [each.follower.asked for each in attempts],
                        [each.should_stop for each in attempts],
                        [each.follower.read for each in attempts],
                    )
        except ModelMemoryError as error:
            self._listener.on_out_of_memory(f"{error}; asking one by one, lower max_batch to avoid this")
            return None
        except Exception as error:  # noqa: BLE001 - the turns are asked again and then tell themselves what is wrong
            _log.info("a pass of %d failed, asking one by one: %s", len(turns), error)
            return None
        return list(zip(attempts, answers, strict=True))

    def _ask_one(self, turn: Turn, settings: Settings) -> tuple[Attempt, Answer]:
        """Ask alone; when memory does not hold it, once more with half the pixels.

        Raises:
            ModelMemoryError: It did not fit with fewer pixels either, or cannot have fewer.
        """
        try:
            return self._try(turn, self.fit(settings), settings)
        except ModelMemoryError as error:
            smaller = self._lower(turn, settings, error, "it is asked again")
            if smaller is None or turn.over is not None:
                raise
        # Outside of the handler, where nothing refers to the failed try any more.
        try:
            return self._try(turn, smaller, settings)
        except ModelMemoryError as error:
            self._lower(turn, settings, error, "it is dropped, the next one is asked")
            raise

    def _try(self, turn: Turn, budget: PixelBudget, settings: Settings) -> tuple[Attempt, Answer]:
        with self._measured(settings) as clock:
            attempt = self._attempt(turn, budget, settings, clock)
            with contained():
                return attempt, self._engine.answer(attempt.follower.asked, attempt.should_stop, attempt.follower.read)

    def _attempt(self, turn: Turn, budget: PixelBudget, settings: Settings, clock: PassClock) -> Attempt:
        def on_partial(result: Result) -> None:
            claimed = self._claimed(turn, result)
            if claimed is not None:
                self._listener.on_partial(claimed, partial(self._delivery.publish, turn))

        request = self._request(turn, budget, settings)
        told: OnPartial | None = on_partial if settings.publish_partial else None
        if turn.goal is not None:
            told = turn.goal.on_partial
        elif self._tracking is not None:
            request = replace(request, moves=self._tracking.moves(request.frame, request.prompt))
        return Attempt(turn, Follower(self._engine, request, settings.score_threshold, told), clock.deadline())

    def _look_closer(self, attempt: Attempt, result: Result, settings: Settings) -> Result:
        """Look at small things again while the frame is fresh, in what is left of the answer's time."""
        frame, prompt = result.request.frame, result.request.prompt
        if (prompt.zoom or settings.zoom) == "off":
            return result
        # Under `every` no frame is too old to be answered.
        fresh_s = settings.timeout_s if settings.frame_policy == "every" else settings.max_age_s
        with self._measured(settings), contained():
            return look_closer(
                self._engine,
                result,
                score_threshold=settings.score_threshold,
                should_stop=attempt.should_stop,
                is_stale=lambda: self._clock() - frame.received_s > fresh_s,
            )

    def _request(self, turn: Turn, budget: PixelBudget, settings: Settings) -> Request:
        frame, prompt, limit = turn.pending.read(), turn.prompt, settings.max_new_tokens
        if prompt.task is not Task.WATCH:
            return Request(frame, prompt, budget, limit)

        def on_unreadable(error: ImageError) -> None:
            self._listener.on_drop(turn.camera, error.cause, error)

        clip = clip_of(turn.pending.before, frame, settings.watch_window_s, on_unreadable)
        return Request(frame, prompt, settings.watch_budget(budget, len(clip.frames)), limit, clip=clip)

    @contextmanager
    def _measured(self, settings: Settings) -> Iterator[PassClock]:
        clock = PassClock(settings.timeout_s, self._clock)
        with self._counting:
            self._passes.append(clock)
        try:
            yield clock
        finally:
            with self._counting:
                self._passes.remove(clock)

    def _lower(self, turn: Turn, settings: Settings, error: ModelMemoryError, then: str) -> PixelBudget | None:
        """Lower the pixels for all that follows, and tell; None when they cannot be lowered."""

        def area_of(budget: PixelBudget) -> int:
            seen, _ = look_at_region(self._request(turn, budget, settings))
            width, height = self._engine.blank_answer(seen).model_wh
            return width * height

        with self._counting:
            budget = self._backoff.lower(settings.budget, area_of)
        done = "fewer pixels are not possible" if budget is None else f"{then} with {budget.max_pixels} px at most"
        self._listener.on_out_of_memory(f"image of {turn.camera}: {error}; {done}")
        return budget

    def _note_success(self, result: Result) -> None:
        reason = result.answer.finish_reason
        with self._counting:
            # What was ended from outside says nothing: it may have ended before anything was asked of model or memory.
            self._failures = self._failures if reason == "aborted" else 0
            if reason in ("aborted", "timeout") or not self._backoff.note_good_answer():
                return
            lowered = self._backoff.lowered
        allowed = "as many pixels as before" if lowered is None else f"{lowered.max_pixels} px"
        self._listener.on_more_pixels(f"memory was enough for a while: looking at {allowed} again")

    def _claimed(self, turn: Turn, result: Result) -> Result | None:
        """Give ids to what is told now; None when it is not to be told, and begins no track."""
        with self._delivery.lock:
            if not self._delivery.claim(turn, result.partial):
                return None
            return result if self._tracking is None else self._tracking.identify(result)

    def _finish(self, turn: Turn, result: Result) -> None:
        if turn.goal is not None:
            turn.goal.answer(result, turn.over)
            return
        delivered = False

        def deliver_whole(publish: Callable[[], None]) -> bool:
            nonlocal delivered
            published = self._delivery.publish(turn, publish)
            delivered = delivered or published
            return published

        if result.answer.finish_reason != "aborted":
            self._delivery.wait(turn)
            claimed = self._claimed(turn, result)
            if claimed is not None:
                result = claimed
                self._listener.on_result(result, deliver_whole)
        if delivered or turn.over is DropCause.OVERTAKEN:
            for once in turn.once:
                once.answer(result)
        if not delivered:
            # A frame of which only a part was published has not been answered either.
            cause = turn.over or DropCause.PROMPT_CHANGED
            self._listener.on_drop(turn.camera, cause.value, None)

    def _note_failure(self, error: Exception) -> None:
        with self._counting:
            # A frame of a size that the model cannot take says nothing about the model, and servers that are gone
            # nothing about this process, which a new start would not help.
            if not isinstance(error, (GeometryError, ServerUnavailableError)):
                self._failures, self._last = self._failures + 1, describe(error)
            if isinstance(error, DeviceLostError):
                self._loss = describe(error)

    def _fail(self, turn: Turn, error: Exception) -> None:
        self._listener.on_drop(turn.camera, _cause_of(error), error)
        for waiting in turn.waiting:
            waiting.fail(f"{_frame_of(turn)} could not be answered: {describe(error)}")


@contextmanager
def contained() -> Iterator[None]:
    """Make an `InferenceError` of what would end the thread: a library's `exit()`, or a panic in its Rust part.

    Raises:
        InferenceError: What was raised is no `Exception`.
    """
    try:
        yield
    except Exception:
        raise
    except BaseException as error:
        raise InferenceError(f"the model's libraries gave up: {type(error).__name__}: {error}") from error


def describe(error: Exception) -> str:
    """Say what went wrong, with its type when it was not raised on purpose."""
    return str(error) if isinstance(error, VlmPerceptionError) else f"{type(error).__name__}: {error}"


def _frame_of(turn: Turn) -> str:
    return f"the frame of {turn.camera}" if turn.camera else "the image of the goal"


def _cause_of(error: Exception) -> str:
    if isinstance(error, ImageError):
        return error.cause
    if isinstance(error, GeometryError):
        return DropCause.BAD_GEOMETRY.value
    if isinstance(error, ModelMemoryError):
        return DropCause.OUT_OF_MEMORY.value
    if isinstance(error, VlmPerceptionError):
        return DropCause.INFERENCE_ERROR.value
    return DropCause.INTERNAL_ERROR.value
