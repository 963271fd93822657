"""The example engine of docs/extending.md runs as it stands there."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from checkout import ROOT

from vlm_perception.pipeline import perceive
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.types import Frame, FrameHeader, PixelBudget, Request

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")


@pytest.fixture
def engine() -> Any:
    names: dict[str, Any] = {"__name__": "red_engine"}
    (source,) = re.findall(r'```python\n(""".*?)```', PAGE, re.DOTALL)
    exec(source, names)
    return names["RedEngine"]()


def asked_about(rgb: np.ndarray) -> Request:
    frame = Frame(rgb, FrameHeader(1, 2, "camera"), "/image", 0.0)
    return Request(frame, build_prompt("red thing"), PixelBudget(3136, 10**6), 100)


def test_the_example_finds_what_is_red(engine: Any) -> None:
    rgb = np.full((60, 80, 3), 90, np.uint8)
    rgb[10:30, 20:50] = (200, 10, 10)
    engine.load()
    result = perceive(engine, asked_about(rgb))
    assert [(found.label, found.xyxy, found.score) for found in result.objects] == [
        ("red thing", (20.0, 10.0, 50.0, 30.0), None)
    ]
    assert perceive(engine, asked_about(np.zeros((60, 80, 3), np.uint8))).objects == ()
    engine.close()


def test_the_example_stops_and_streams(engine: Any) -> None:
    rgb = np.full((60, 80, 3), (200, 10, 10), np.uint8)
    assert perceive(engine, asked_about(rgb), should_stop=lambda: True).answer.finish_reason == "aborted"
    told: list[str] = []
    answer = engine.answer(asked_about(rgb), lambda: False, lambda text, tokens: told.append(text))
    assert "".join(told) == answer.text
    assert engine.blank_answer(asked_about(rgb)).finish_reason == "unfinished"
    assert engine.describe()["device"] == "cpu"
