"""Requests for a single answer, as `~/detect_once` makes them."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field

from vlm_perception.errors import DetectOnceError
from vlm_perception.types import Result


@dataclass(frozen=True, slots=True, eq=False)
class Once:
    """Somebody waits for one answer.

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
            self.future.set_exception(DetectOnceError(reason))
