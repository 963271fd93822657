"""Somebody's own question: asked once, answered to whoever asked, beside the standing prompts."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from vlm_perception.errors import NoAnswerError
from vlm_perception.scheduling.frame_queue import PendingFrame
from vlm_perception.types import DropCause, Prompt, Result


def ignore_partial(result: Result) -> None:
    """An `on_partial` for those who wait for the whole answer."""


@dataclass(slots=True, eq=False)
class Goal:
    """One prompt that is to be asked about one frame, whatever else is asked, and whether or not that is paused.

    Attributes:
        prompt: What is asked.
        camera: Resolved topic name, or None for whichever has a frame first; of no meaning where the frame is given.
        frame: What it is asked about; None until a camera's next one has come.
        on_partial: Told on the worker's threads, as in `perceive`, when objects are complete.
        future: The whole answer, or a NoAnswerError that says why there is none. What ends a goal while it is answered
            leaves an answer with `finish_reason` "aborted" and the objects that were complete.
        picked: Whether the model is asked, or has been.
        withdrawn: Whether nobody wants the answer any more.
        over: Why it was ended while it was answered; None where it was not.
    """

    prompt: Prompt
    camera: str | None = None
    frame: PendingFrame | None = None
    on_partial: Callable[[Result], None] = ignore_partial
    future: Future[Result] = field(default_factory=Future)
    picked: bool = False
    withdrawn: bool = False
    over: DropCause | None = None
    is_given: bool = field(init=False)

    def __post_init__(self) -> None:
        """Remember whether its frame hangs on a camera."""
        self.is_given = self.frame is not None

    def fits(self, camera: str) -> bool:
        """Whether it waits for a frame, and one of this camera will do."""
        return self.frame is None and self.camera in (None, camera)

    def answer(self, result: Result, over: DropCause | None = None) -> None:
        """Hand over the answer, and why it was ended before it was whole."""
        self.over = over
        self.future.set_result(result)

    def fail(self, reason: str) -> None:
        """Say why there will be no answer."""
        self.future.set_exception(NoAnswerError(reason))
