"""One pass through the model: turns -> requests -> answers -> results, each delivered on its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import cast

from vlm_perception.engines.base import BatchEngine, Engine
from vlm_perception.errors import GeometryError, ImageError, VlmPerceptionError
from vlm_perception.perception import Follower
from vlm_perception.settings import Settings
from vlm_perception.turn_taking import Turn
from vlm_perception.types import Answer, Request, Result
from vlm_perception.worker_seam import Deliver, DropCause, WorkerListener

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Row:
    """One turn and what it asks."""

    turn: Turn
    request: Request

    def should_stop(self) -> bool:
        """Whether nobody wants the answer any more."""
        return self.turn.over is not None


class Asker:
    """Asks an engine and delivers what it says. Used by the worker's thread alone.

    Args:
        engine: The model; one with `answer_batch` is asked several things in one pass.
        listener: Gets results and drops.
        delivery: Held while something is published; no turn becomes `over` meanwhile.
    """

    def __init__(self, engine: Engine, listener: WorkerListener, delivery: AbstractContextManager[object]) -> None:
        self._engine = engine
        self._listener = listener
        self._delivery = delivery

    def limit(self, settings: Settings) -> int:
        """Return how many turns fit in one pass."""
        return settings.max_batch if hasattr(self._engine, "answer_batch") else 1

    def read(self, turns: Sequence[Turn], settings: Settings) -> list[Row]:
        """Turn frames into pixels; one that cannot be read is counted once and left out."""
        rows: list[Row] = []
        for turn in turns:
            if turn.waiting.broken:
                continue
            try:
                frame = turn.waiting.read()
            except Exception as error:  # noqa: BLE001 - one bad frame must not end the thread
                self._fail(turn, error)
            else:
                rows.append(Row(turn, Request(frame, turn.prompt, settings.budget, settings.max_new_tokens)))
        return rows

    def ask(self, rows: Sequence[Row], settings: Settings) -> None:
        """Ask everything and deliver the answers; whatever fails costs only its own row."""
        answered = self._ask_together(rows, settings) if len(rows) > 1 else None
        for place, row in enumerate(rows):
            try:
                follower, answer = answered[place] if answered else self._ask_one(row, settings)
                self._finish(row, follower.finish(answer))
            except Exception as error:  # noqa: BLE001 - one bad answer must not end the thread
                self._fail(row.turn, error)

    def _ask_together(self, rows: Sequence[Row], settings: Settings) -> list[tuple[Follower, Answer]] | None:
        """Return who read along and the answer, row by row; None when the pass failed and each is to be asked alone."""
        engine = cast(BatchEngine, self._engine)
        followers = [self._follower(row, settings) for row in rows]
        try:
            answers = engine.answer_batch(
                [row.request for row in rows], [row.should_stop for row in rows], [each.read for each in followers]
            )
        except Exception as error:  # noqa: BLE001 - the rows are asked again and then tell themselves what is wrong
            _log.info("a pass of %d failed, asking one by one: %s", len(rows), error)
            return None
        return list(zip(followers, answers, strict=True))

    def _ask_one(self, row: Row, settings: Settings) -> tuple[Follower, Answer]:
        follower = self._follower(row, settings)
        return follower, self._engine.answer(row.request, row.should_stop, follower.read)

    def _follower(self, row: Row, settings: Settings) -> Follower:
        def on_partial(result: Result) -> None:
            self._listener.on_partial(result, self._deliverer(row.turn))

        told = on_partial if settings.publish_partial else None
        return Follower(self._engine, row.request, settings.score_threshold, told)

    def _deliverer(self, turn: Turn) -> Deliver:
        def deliver(publish: Callable[[], None]) -> bool:
            with self._delivery:
                if turn.over is not None:
                    return False
                publish()
                return True

        return deliver

    def _finish(self, row: Row, result: Result) -> None:
        delivered = False
        deliver = self._deliverer(row.turn)

        def deliver_whole(publish: Callable[[], None]) -> bool:
            nonlocal delivered
            published = deliver(publish)
            delivered = delivered or published
            return published

        if result.answer.finish_reason != "aborted":
            self._listener.on_result(result, deliver_whole)
        if delivered:
            for once in row.turn.once:
                once.answer(result)
        else:
            # A frame of which only a part was published has not been answered either.
            cause = row.turn.over or DropCause.PROMPT_CHANGED
            self._listener.on_drop(row.turn.camera, cause.value, None)

    def _fail(self, turn: Turn, error: Exception) -> None:
        self._listener.on_drop(turn.camera, _cause_of(error), error)
        for once in turn.once:
            once.fail(f"the frame of {turn.camera} could not be answered: {describe(error)}")


def describe(error: Exception) -> str:
    """Say what went wrong, with its type when it was not raised on purpose."""
    return str(error) if isinstance(error, VlmPerceptionError) else f"{type(error).__name__}: {error}"


def _cause_of(error: Exception) -> str:
    if isinstance(error, ImageError):
        return error.cause
    if isinstance(error, GeometryError):
        return DropCause.BAD_GEOMETRY.value
    if isinstance(error, VlmPerceptionError):
        return DropCause.INFERENCE_ERROR.value
    return DropCause.INTERNAL_ERROR.value
