"""The seam between the product and whatever runs the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

from vlm_perception.types import Answer, Request, Token

ShouldStop = Callable[[], bool]
OnText = Callable[[str, tuple[Token, ...]], None]


class EngineState(str, Enum):
    """Where the model is in its life."""

    WAITING = "waiting"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    STOPPED = "stopped"


def never_stop() -> bool:
    """A `should_stop` for callers that let the model finish."""
    return False


def ignore_text(chunk: str, tokens: tuple[Token, ...]) -> None:
    """An `on_text` for callers that wait for the whole answer."""


class Engine(Protocol):
    """Something that answers a prompt about a frame.

    One engine belongs to one worker: `load`, `answer` and `close` are never called at the same time
    (but see `ConcurrentEngine`). `describe` may be called from any thread at any time.
    """

    @property
    def name(self) -> str:
        """Short name for logs and diagnostics, such as the model id."""
        ...

    def load(self) -> None:
        """Bring the model up; does nothing when it is up already.

        Raises:
            ModelLoadError: It cannot be loaded; the message names the remedy.
        """
        ...

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        """Answer one request.

        Args:
            request: Frame, prompt, pixel budget and token limit.
            should_stop: Asked at least once per decoder pass; once true, the answer so far comes
                back with `finish_reason` "aborted". Has to be cheap and safe from any thread.
            on_text: Told, on the calling thread, about every piece of text as soon as its
                characters are whole, with its tokens, whose places count from the start of the
                answer. All pieces together are the answer's text and tokens; tokens that write
                nothing, such as the one that ends the reply, come with an empty piece. Has to be
                quick: the model waits for it.

        Returns:
            The raw reply with its tokens, the processed image's size and timings.

        Raises:
            ModelMemoryError: Memory ran out; what the failed try held is free again.
            DeviceLostError: The device failed; no later answer can succeed in this process.
            InferenceError: The model is not loaded or failed on this request; the next one may succeed.
            GeometryError: The frame's size or aspect ratio is outside what the model accepts.
        """
        ...

    def blank_answer(self, request: Request) -> Answer:
        """Return the answer to this request before its first word, to read and score by while it is written.

        Only asked while an answer is streamed. Has to be cheap.

        Returns:
            No text and no tokens, "unfinished"; everything else that `answer` is going to return
            and that does not depend on what the model says: `model_wh`, `coordinates`,
            `calibration`.

        Raises:
            InferenceError: The model is not loaded.
            GeometryError: As `answer`.
        """
        ...

    def describe(self) -> dict[str, str]:
        """Facts for diagnostics: `device`, `dtype`, `parameters`, `weights`, `source`, `quantized` where they are.

        `loading` is how far it is; `impaired` what of it fails while it answers all the same; `knows`, once it is
        loaded, what alone it was trained for, if its card says so.
        """
        ...

    def close(self) -> None:
        """Free the model; the engine may be loaded again."""
        ...


class BatchEngine(Engine, Protocol):
    """An engine that answers several requests in one pass."""

    def answer_batch(
        self, requests: Sequence[Request], should_stop: Sequence[ShouldStop], on_text: Sequence[OnText] = ()
    ) -> list[Answer]:
        """Answer several requests together; each answer is what `answer` would give.

        Args:
            requests: What to ask; frames may differ in size.
            should_stop: One for each request; a row that is stopped does not end the others.
            on_text: One for each request, or none at all.

        Returns:
            One answer for each request, in their order.

        Raises:
            InferenceError: As `answer`; then there is no answer to any of them.
            GeometryError: As `answer`, when one of the frames is outside what the model accepts.
        """
        ...


class ConcurrentEngine(Engine, Protocol):
    """An engine that is asked again while it still answers, as a server is.

    Its `answer` and `blank_answer` are called from several threads at the same time, though never beside `load` and
    `close`. It is not asked in batches.
    """

    @property
    def max_in_flight(self) -> int:
        """How many answers a camera may have on their way, at least 1; may change at any time.

        One that weighs more than the mean may have more, in that proportion and one; all together never more than so
        many for each.
        """
        ...
