"""What goes into the worker and what it reports: the words that it shares with the ROS edge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from vlm_perception.types import Frame, Result

Deliver = Callable[[Callable[[], None]], bool]


class EngineState(str, Enum):
    """Where the model is in its life."""

    WAITING = "waiting"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    STOPPED = "stopped"


class DropCause(str, Enum):
    """Why a good frame was not answered; bad frames are counted under `ImageError.cause`.

    REPLACED: a newer one came. QUEUE_FULL: too many waited under the policy `every`. NOT_ASKED: nobody
    asked for it under `on_demand`. STALE: it waited over `max_age_s`. INACTIVE: the node was deactivated.
    OUT_OF_MEMORY: with fewer pixels too.
    """

    REPLACED = "replaced"
    QUEUE_FULL = "queue_full"
    NOT_ASKED = "not_asked"
    STALE = "stale"
    NO_PROMPT = "no_prompt"
    NOT_READY = "not_ready"
    PAUSED = "paused"
    INACTIVE = "inactive"
    PROMPT_CHANGED = "prompt_changed"
    CAMERA_GONE = "camera_gone"
    STOPPED = "stopped"
    BAD_GEOMETRY = "bad_geometry"
    OUT_OF_MEMORY = "out_of_memory"
    INFERENCE_ERROR = "inference_error"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame that has arrived and is turned into pixels only if it is answered.

    Attributes:
        camera: Resolved topic name.
        received_s: Arrival on the worker's clock, seconds.
        read: Makes the frame; raises ImageError.
    """

    camera: str
    received_s: float
    read: Callable[[], Frame]


class WorkerListener(Protocol):
    """What the worker reports. Called from the worker's thread unless noted."""

    def on_state(self, state: EngineState, detail: str) -> None:
        """The engine's state changed; `detail` is the reason of a failure."""
        ...

    def on_result(self, result: Result, deliver: Deliver) -> None:
        """A result is there.

        `deliver(publish)` calls `publish` and returns True, or returns False without calling it
        when the prompt or the camera is gone meanwhile, or the worker paused. `set_prompts`,
        `set_cameras`, `pause`, `apply` and `stop` wait while `publish` runs: keep it short, and do
        slow work such as drawing between two calls of `deliver`.
        """
        ...

    def on_partial(self, result: Result, deliver: Deliver) -> None:
        """More objects are complete while the model is still writing; only with `publish_partial`.

        `deliver` as in `on_result`. The model waits until this returns, so be quick. `on_result`
        follows for the same frame, unless the answer is aborted or fails.
        """
        ...

    def on_drop(self, camera: str, cause: str, error: Exception | None) -> None:
        """A frame, or one question about it, was not answered.

        Also called from the threads that call `offer`, `set_cameras`, `pause` and `apply`.
        """
        ...

    def on_out_of_memory(self, text: str) -> None:
        """Memory ran out; `text` says with what sizes, what is done about it, and the remedy.

        `on_drop` follows when nothing could be done about it.
        """
        ...

    def on_more_pixels(self, text: str) -> None:
        """After a lack of memory the model is shown more pixels again; `text` says how many."""
        ...
