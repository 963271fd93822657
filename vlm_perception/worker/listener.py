"""What the worker reports, and how a result is delivered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from vlm_perception.engines.base import EngineState
from vlm_perception.types import Frame, Result

Deliver = Callable[[Callable[[], None]], bool]


class WorkerListener(Protocol):
    """What the worker reports. Called from the worker's thread unless noted.

    Of an engine that is asked several things at once, what concerns an answer (`on_result`, `on_partial`, `on_drop` and
    those about memory) comes from the threads that ask, at the same time.
    """

    def on_state(self, state: EngineState, detail: str) -> None:
        """The engine's state changed; `detail` is the reason of a failure."""
        ...

    def on_asked(self, frame: Frame) -> None:
        """A frame was taken for asking, once for each prompt about it; be quick."""
        ...

    def on_result(self, result: Result, deliver: Deliver) -> None:
        """A result is there.

        `deliver(publish)` calls `publish` and returns True, or returns False without calling it
        when the prompt or the camera is gone meanwhile, the worker paused, or the answer about a later
        frame was told. `set_prompts`, `set_cameras`, `pause`, `apply` and `stop` wait while `publish`
        runs: keep it short, and do slow work such as drawing between two calls of `deliver`.
        """
        ...

    def on_partial(self, result: Result, deliver: Deliver) -> None:
        """More objects are complete while the model is still writing; only with `publish_partial`.

        `deliver` as in `on_result`. The model waits until this returns, so be quick. `on_result`
        follows for the same frame, unless the answer is aborted or fails.
        """
        ...

    def on_drop(self, camera: str, cause: str, error: Exception | None) -> None:
        """A frame, or one prompt about it, was not answered; or it was kept for a clip and cannot be read.

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
