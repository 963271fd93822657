"""What the scheduler decides: turns to be asked, requests for one answer, and news to be told."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field

from vlm_perception.errors import NoAnswerError
from vlm_perception.scheduling.frame_queue import PendingFrame
from vlm_perception.scheduling.goals import Goal
from vlm_perception.types import DropCause, Prompt, Result


@dataclass(frozen=True, slots=True, eq=False)
class OnceRequest:
    """Somebody waits for one answer, as `~/detect_once` does.

    Attributes:
        camera: Resolved topic name, or None for whichever has the newest frame.
        future: What they wait on; cancelling it withdraws the request.
    """

    camera: str | None
    future: Future[Result] = field(default_factory=Future)

    def fits(self, camera: str) -> bool:
        """Whether an answer about this camera is what was asked for."""
        return self.camera in (None, camera)

    def answer(self, result: Result) -> None:
        """Hand over the answer, unless nobody waits any more."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(result)

    def fail(self, reason: str) -> None:
        """Say why there will be no answer, unless nobody waits any more."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(NoAnswerError(reason))


@dataclass(slots=True, eq=False)
class Turn:
    """One prompt about one frame, on its way.

    Attributes:
        pending: The frame.
        prompt: What is asked about it.
        begins: Whether it is the first prompt about this frame.
        once: Who waits for this answer in particular.
        picked_s: When it was chosen, monotonic seconds.
        goal: Whose own question it is, and who alone is told; None for the standing prompts.
        over: Why nothing of it may be delivered any more; None while it may.
    """

    pending: PendingFrame
    prompt: Prompt
    begins: bool
    once: tuple[OnceRequest, ...]
    picked_s: float
    goal: Goal | None = None
    over: DropCause | None = None

    @property
    def camera(self) -> str:
        """Resolved topic name."""
        return self.pending.camera

    @property
    def waiting(self) -> tuple[OnceRequest | Goal, ...]:
        """Who waits for this answer in particular."""
        return self.once if self.goal is None else (self.goal,)

    @property
    def is_wanted(self) -> bool:
        """Whether anybody wants the answer; one that was overtaken is still what somebody waits for."""
        return self.over is None or (self.over is DropCause.OVERTAKEN and bool(self.once))


@dataclass(frozen=True, slots=True)
class News:
    """What followed from a change, to be told when no lock is held.

    Attributes:
        drops: Camera and cause of every frame that was dropped.
        refused: Who waits for an answer that will not come, and why.
    """

    drops: tuple[tuple[str, DropCause], ...]
    refused: tuple[tuple[OnceRequest | Goal, str], ...]

    def __bool__(self) -> bool:
        return bool(self.drops or self.refused)
