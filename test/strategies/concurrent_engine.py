"""A deterministic engine that answers several requests at once, each when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue

from scripted_engine import PATIENCE_S

from vlm_perception.engines.base import OnText, ShouldStop, ignore_text
from vlm_perception.types import Answer, Request, Timings


@dataclass
class Call:
    """One request on its way; a test says what comes of it.

    Attributes:
        request: What is asked.
        deaf: Goes on although it is told to stop.
        aborted: Whether it stopped.
        over: Set when it has answered or failed.
    """

    request: Request
    deaf: bool = False
    aborted: bool = False
    over: threading.Event = field(default_factory=threading.Event)
    _steps: SimpleQueue[Callable[[OnText], str | None]] = field(default_factory=SimpleQueue)

    def write(self, text: str) -> None:
        """Let it write this piece, and wait until it has or is over."""
        written = threading.Event()

        def write(on_text: OnText) -> None:
            on_text(text, ())
            written.set()

        self._steps.put(write)
        while not written.wait(0.005) and not self.over.is_set():
            pass

    def end(self) -> None:
        """Let it be over, and wait until it is."""
        self._steps.put(lambda on_text: "stop")
        assert self.over.wait(PATIENCE_S)

    def fail(self, error: Exception) -> None:
        def raising(on_text: OnText) -> None:
            raise error

        self._steps.put(raising)
        assert self.over.wait(PATIENCE_S)

    def run(self, should_stop: ShouldStop, on_text: OnText) -> str:
        """Do as told, in the thread that asks; returns why it ended."""
        ended = None
        while ended is None:
            if should_stop() and not self.deaf:
                self.aborted = True
                return "aborted"
            try:
                ended = self._steps.get(timeout=0.002)(on_text)
            except Empty:
                continue
        return ended


class ConcurrentEngine:
    """Keeps every call until its test ends it.

    Attributes:
        max_in_flight: For each camera.
        calls: All that came, in their order.
        on_ask: Called with every request, on its thread.
        closed_beside: How many answers were on their way when it was closed.
    """

    name = "concurrent"

    def __init__(self, max_in_flight: int = 2) -> None:
        self.max_in_flight = max_in_flight
        self.calls: list[Call] = []
        self.on_ask: Callable[[Request], None] = lambda request: None
        self.closed_beside: int | None = None
        self._running = 0
        self._changed = threading.Condition()

    def load(self) -> None:
        pass

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        call, pieces = Call(request), []

        def tell(text: str, tokens: tuple) -> None:
            pieces.append(text)
            on_text(text, tokens)

        with self._changed:
            self.calls.append(call)
            self._running += 1
            self._changed.notify_all()
        try:
            self.on_ask(request)
            reason = call.run(should_stop, tell)
            return replace(self.blank_answer(request), text="".join(pieces), finish_reason=reason)
        finally:
            with self._changed:
                self._running -= 1
                call.over.set()

    def blank_answer(self, request: Request) -> Answer:
        return Answer("", request.frame.image_wh, "absolute", "unfinished", (), Timings(0.0, 0.0, 0.0))

    def describe(self) -> dict[str, str]:
        return {"device": "none", "source": "test"}

    def close(self) -> None:
        self.closed_beside = self._running

    def running(self) -> list[Call]:
        """Wait until something is on its way, and give all of it."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._running, PATIENCE_S)
            return [each for each in self.calls if not each.over.is_set()]

    def call(self, number: int, prompt: str = "", camera: str = "a") -> Call:
        """Wait until this frame was asked about, and give the call."""

        def found() -> Call | None:
            asked = ((each, each.request.frame) for each in self.calls if each.request.prompt.id == prompt)
            return next((each for each, at in asked if (at.header.stamp_sec, at.camera) == (number, camera)), None)

        with self._changed:
            there = self._changed.wait_for(found, PATIENCE_S)
        assert there, [(each.request.frame.header.stamp_sec, each.request.prompt.id) for each in self.calls]
        return there
