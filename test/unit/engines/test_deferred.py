from __future__ import annotations

import numpy as np
import pytest

from vlm_perception.engines.base import ignore_text, never_stop
from vlm_perception.engines.deferred import DeferredEngine
from vlm_perception.errors import InferenceError, ModelLoadError
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.types import Answer, Frame, FrameHeader, PixelBudget, Request, Timings

REQUEST = Request(
    Frame(np.zeros((28, 28, 3), np.uint8), FrameHeader(0, 0, ""), "/image", 0.0),
    build_prompt("cup"),
    PixelBudget(784, 784),
    8,
)


class CountingEngine:
    name = "inner"

    def __init__(self, failures: int = 0) -> None:
        self.loads, self.failures, self.closed = 0, failures, False

    def load(self) -> None:
        self.loads += 1
        if self.loads <= self.failures:
            raise ModelLoadError("not yet")

    def answer(self, request, should_stop, on_text=ignore_text):
        on_text("[]", ())
        return Answer("[]", (28, 28), "absolute", "stop", (), Timings(0, 0, 0))

    def blank_answer(self, request):
        return Answer("", (28, 28), "absolute", "unfinished", (), Timings(0, 0, 0))

    def describe(self):
        return {"device": "cpu"}

    def close(self) -> None:
        self.closed = True


def test_nothing_is_made_before_load():
    made = []
    engine = DeferredEngine(lambda: "outer", lambda: made.append(CountingEngine()) or made[-1])
    assert (engine.name, engine.describe(), made) == ("outer", {}, [])
    with pytest.raises(InferenceError, match=r"outer is not loaded: call load"):
        engine.answer(REQUEST, never_stop)
    engine.load()
    engine.load()
    assert len(made) == 1
    assert engine.answer(REQUEST, never_stop).text == "[]"
    assert engine.describe() == {"device": "cpu"}
    engine.close()
    assert made[0].closed
    with pytest.raises(InferenceError, match=r"outer is not loaded: call load"):
        engine.answer(REQUEST, never_stop)
    engine.load()
    assert len(made) == 2, "another one, because something else may be asked for by now"


def test_text_is_told_and_the_blank_answer_given_by_the_engine_inside():
    engine = DeferredEngine(lambda: "outer", CountingEngine)
    with pytest.raises(InferenceError, match=r"outer is not loaded: call load"):
        engine.blank_answer(REQUEST)
    engine.load()
    told = []
    engine.answer(REQUEST, never_stop, lambda chunk, tokens: told.append(chunk))
    assert told == ["[]"]
    assert engine.blank_answer(REQUEST).finish_reason == "unfinished"


def test_a_failed_load_stays_unloaded():
    inner = CountingEngine(failures=1)
    engine = DeferredEngine(lambda: "outer", lambda: inner)
    with pytest.raises(ModelLoadError):
        engine.load()
    with pytest.raises(InferenceError):
        engine.answer(REQUEST, never_stop)
    engine.load()
    assert engine.answer(REQUEST, never_stop).text == "[]"


def test_closing_what_was_never_loaded_does_nothing():
    DeferredEngine(lambda: "outer", CountingEngine).close()


class BatchingEngine(CountingEngine):
    def answer_batch(self, requests, should_stop, on_text=()):
        return [Answer("together", (28, 28), "absolute", "stop", (), Timings(0, 0, 0)) for _ in requests]


@pytest.mark.parametrize(("make", "text"), [(BatchingEngine, "together"), (CountingEngine, "[]")])
def test_batches_go_to_the_engine_inside_or_are_taken_one_by_one(make, text):
    engine = DeferredEngine(lambda: "outer", make)
    with pytest.raises(InferenceError, match=r"outer is not loaded: call load"):
        engine.answer_batch([REQUEST], [never_stop])
    engine.load()
    assert [answer.text for answer in engine.answer_batch([REQUEST] * 2, [never_stop] * 2)] == [text] * 2


def test_one_by_one_every_row_is_told_its_own_text():
    engine, told = DeferredEngine(lambda: "outer", CountingEngine), []
    engine.load()
    hears = [lambda chunk, tokens, row=row: told.append((row, chunk)) for row in range(2)]
    engine.answer_batch([REQUEST] * 2, [never_stop] * 2, hears)
    assert told == [(0, "[]"), (1, "[]")]
