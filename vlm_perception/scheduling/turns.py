"""What `scheduling/scheduler.py` decides: turns to be asked, and news to be told."""

from __future__ import annotations

from dataclasses import dataclass

from vlm_perception.scheduling.frame_queue import WaitingFrame
from vlm_perception.scheduling.once import Once
from vlm_perception.types import Prompt
from vlm_perception.worker.listener import DropCause


@dataclass(slots=True, eq=False)
class Turn:
    """One question about one frame, on its way.

    Attributes:
        waiting: The frame.
        prompt: The question.
        begins: Whether it is the first question about this frame.
        once: Who waits for this answer in particular.
        over: Why nothing of it may be delivered any more; None while it may.
    """

    waiting: WaitingFrame
    prompt: Prompt
    begins: bool
    once: tuple[Once, ...]
    over: DropCause | None = None

    @property
    def camera(self) -> str:
        """Resolved topic name."""
        return self.waiting.arrival.camera


@dataclass(frozen=True, slots=True)
class News:
    """What followed from a change, to be told when no lock is held.

    Attributes:
        drops: Camera and cause of every frame that was dropped.
        refused: Requests for one answer that will not get one, and why.
    """

    drops: tuple[tuple[str, DropCause], ...]
    refused: tuple[tuple[Once, str], ...]

    def __bool__(self) -> bool:
        return bool(self.drops or self.refused)
