"""Results that nobody had to ask a model for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm_perception.types import (
    Answer,
    DetectedObject,
    Frame,
    FrameHeader,
    PixelBudget,
    Prompt,
    Request,
    Result,
    Task,
    Timings,
)


def result_of(
    rgb: NDArray[np.uint8], *objects: DetectedObject, prompt: str | Prompt = "shapes", text: str = "", **more: Any
) -> Result:
    """What was found in an image; `more` are other fields of the result."""
    asked = prompt if isinstance(prompt, Prompt) else Prompt(prompt, Task.DETECT, prompt)
    request = Request(Frame(rgb, FrameHeader(0, 0, ""), "/image", 0.0), asked, PixelBudget(3136, 10**6), 8)
    answer = Answer("raw", (56, 56), "absolute", "stop", (), Timings(0.1, 0.2, 0.3))
    return Result(request, answer, objects, more.pop("rejects", ()), text, **more)


def answer_about(frame: Frame, *objects: DetectedObject, prompt: Prompt, **more: Any) -> Result:
    """What a model found in a frame; `more` are other fields of the result."""
    answer = Answer("", frame.image_wh, "absolute", "stop", (), Timings(0.0, 0.0, 0.0))
    return Result(Request(frame, prompt), answer, objects, (), "", **more)
