"""A deterministic engine at the `Engine` seam."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from vlm_perception.engines.base import OnText, ShouldStop, ignore_text
from vlm_perception.types import Answer, FinishReason, Request, Timings

PATIENCE_S = 120.0


class ScriptedEngine:
    """Writes `reply` letter by letter, and can be made to think.

    Attributes:
        reply: Next raw reply; coordinates are pixels of the camera image.
        first: How many characters of it are written before it thinks.
        thinking: While set, `answer` waits until it is cleared or the answer is aborted.
        deaf: Goes on thinking and writing although the answer is aborted.
        finish_reason: Of an answer that is not aborted.
        error: Raised instead of an answer.
        load_error: Raised instead of loading.
        on_ask: Called with every request first; may raise.
        requests: Everything that was asked.
        aborted: How many answers were.
        closed: Whether it was, after it was loaded last.
    """

    def __init__(self, reply: str = "[]", name: str = "scripted") -> None:
        self.name, self.reply = name, reply
        self.first = self.aborted = 0
        self.deaf = False
        self.error: Exception | None = None
        self.load_error: Exception | None = None
        self.closed = False
        self.on_ask: Callable[[Request], None] = lambda request: None
        self.finish_reason: FinishReason = "stop"
        self.thinking = threading.Event()
        self.requests: list[Request] = []
        self._changed = threading.Condition()

    def load(self) -> None:
        self.closed = False
        if self.load_error is not None:
            raise self.load_error

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        self.on_ask(request)
        if self.error is not None:
            raise self.error
        reply = self.reply
        for letter in reply[: self.first]:
            on_text(letter, ())
        pause = threading.Event()
        while self.thinking.is_set() and (self.deaf or not should_stop()):
            pause.wait(0.005)
        if self.thinking.is_set():
            self.aborted += 1
            return replace(self.blank_answer(request), text=reply[: self.first], finish_reason="aborted")
        for letter in reply[self.first :]:
            on_text(letter, ())
        return replace(self.blank_answer(request), text=reply, finish_reason=self.finish_reason)

    def blank_answer(self, request: Request) -> Answer:
        return Answer("", request.frame.image_wh, "absolute", "unfinished", (), Timings(0.0, 0.0, 0.0))

    def describe(self) -> dict[str, str]:
        return {"device": "none", "source": "test"}

    def close(self) -> None:
        self.closed = True

    def wait_asked(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, PATIENCE_S), len(self.requests)
