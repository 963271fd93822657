"""An engine that says what it is told to, for programs that need no model."""

from __future__ import annotations

from collections.abc import Callable

from vlm_perception.engines.base import Engine, OnText, ShouldStop, ignore_text
from vlm_perception.settings import Settings
from vlm_perception.types import Answer, Request, Timings, Token

REPLY = '[{"bbox_2d": [4, 6, 20, 30], "label": "red cup"},\n{"bbox_2d": [30, 1, 60, 40], "label": "person"}]'


class SpokenEngine:
    """Says `reply` in two pieces to every request; coordinates are pixels of the image."""

    name = "spoken"

    def __init__(self, reply: str = REPLY) -> None:
        self.reply = reply
        self.settings: Settings | None = None
        self.requests: list[Request] = []
        self.loaded = self.closed = 0
        self.facts: dict[str, str] = {}
        self.before_answer: Callable[[int], None] = lambda number: None

    def make(self, settings: Settings) -> Engine:
        self.settings = settings
        return self

    def load(self) -> None:
        self.loaded += 1

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        self.requests.append(request)
        self.before_answer(len(self.requests))
        print("a library that prints")
        if should_stop():
            return Answer("", request.frame.image_wh, "absolute", "aborted", (), Timings(0.0, 0.0, 0.0))
        half = len(self.reply) // 2
        tokens = (Token(0, half, -0.1), Token(half, len(self.reply), -0.1))
        on_text(self.reply[:half], tokens[:1])
        on_text(self.reply[half:], tokens[1:])
        return Answer(self.reply, request.frame.image_wh, "absolute", "stop", tokens, Timings(0.0, 0.0, 0.0))

    def blank_answer(self, request: Request) -> Answer:
        return Answer("", request.frame.image_wh, "absolute", "unfinished", (), Timings(0.0, 0.0, 0.0))

    def describe(self) -> dict[str, str]:
        return self.facts

    def close(self) -> None:
        self.closed += 1
