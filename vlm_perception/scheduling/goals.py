"""Somebody's own question: asked once, answered to whoever asked, beside the standing prompts."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from vlm_perception.errors import NoAnswerError
from vlm_perception.scheduling.frame_queue import PendingFrame
from vlm_perception.types import DropCause, Prompt, Result

# Half the time between two images of a slow camera: a stamp of another sensor lies between two of ours.
STAMP_TOLERANCE_S = 0.1


def ignore_partial(result: Result) -> None:
    """An `on_partial` for those who wait for the whole answer."""


@dataclass(slots=True, eq=False)
class Goal:
    """One prompt that is to be asked about one frame, whatever else is asked, and whether or not that is paused.

    Attributes:
        prompt: What is asked.
        camera: Resolved topic name, or None for whichever has a frame first; of no meaning where the frame is given.
        frame: What it is asked about; None until a camera's next one has come.
        stamp_ns: Of the image that is waited for, which is the nearest to it; 0 takes the first that comes.
        on_partial: Told on the worker's threads, as in `perceive`, when objects are complete.
        future: The whole answer, or a NoAnswerError that says why there is none. What ends a goal while it is answered
            leaves an answer with `finish_reason` "aborted" and the objects that were complete.
        picked: Whether the model is asked, or has been.
        withdrawn: Whether nobody wants the answer any more.
        missed: Why the image of its stamp will not come any more; empty while it may.
        over: Why it was ended while it was answered; None where it was not.
    """

    prompt: Prompt
    camera: str | None = None
    frame: PendingFrame | None = None
    stamp_ns: int = 0
    on_partial: Callable[[Result], None] = ignore_partial
    future: Future[Result] = field(default_factory=Future)
    picked: bool = False
    withdrawn: bool = False
    missed: str = ""
    over: DropCause | None = None
    is_given: bool = field(init=False)
    _before: PendingFrame | None = None

    def __post_init__(self) -> None:
        """Remember whether its frame hangs on a camera."""
        self.is_given = self.frame is not None

    def take(self, pending: PendingFrame) -> None:
        """Take a frame that has come, where it is the one that is waited for."""
        if self.frame is not None or self.camera not in (None, pending.camera):
            return
        if self.stamp_ns and pending.stamp_ns < self.stamp_ns:
            # The next one may be nearer.
            self._before = pending
            return
        nearest = min((pending, self._before or pending), key=self._apart_ns)
        if self.stamp_ns and self._apart_ns(nearest) > STAMP_TOLERANCE_S * 1e9:
            self.missed = (
                f"no image within {STAMP_TOLERANCE_S:g} s of stamp {self.stamp_ns * 1e-9:.3f} came; the first one "
                f"after it is of {pending.stamp_ns * 1e-9:.3f}; give the stamp of an image"
            )
        else:
            self.frame = nearest

    def _apart_ns(self, pending: PendingFrame) -> int:
        return abs(pending.stamp_ns - self.stamp_ns)

    def answer(self, result: Result, over: DropCause | None = None) -> None:
        """Hand over the answer, and why it was ended before it was whole."""
        self.over = over
        self.future.set_result(result)

    def fail(self, reason: str) -> None:
        """Say why there will be no answer."""
        self.future.set_exception(NoAnswerError(reason))
