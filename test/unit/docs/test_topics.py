"""The tables of topics and services are those of the source, and the fields that docs/topics.md names exist."""

from __future__ import annotations

import re

import numpy as np
from checkout import ROOT

from vlm_perception.prompts.builder import build_prompt
from vlm_perception.replies.result_json import object_fields, result_fields
from vlm_perception.types import Answer, DetectedObject, Frame, FrameHeader, PixelBudget, Request, Result, Timings

TOPICS = (ROOT / "docs" / "topics.md").read_text(encoding="utf-8")


def keys_of(section: str) -> set[str]:
    """The names in the first column of a section's table."""
    body = TOPICS.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return {name for row in re.findall(r"^\| (`.*?) \|", body, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}


def test_the_fields_of_an_answer_are_those_that_are_written() -> None:
    thing = DetectedObject("red circle", (1.0, 2.0, 3.0, 4.0), None)
    frame = Frame(np.zeros((28, 28, 3), np.uint8), FrameHeader(1, 2, "camera"), "/image", 0.0)
    request = Request(frame, build_prompt("red circle"), PixelBudget(3136, 3136), 10)
    answer = Answer("", (28, 28), "absolute", "stop", (), Timings(0.0, 0.0, 0.0))
    fields = result_fields(Result(request, answer, (thing,), (), ""))
    # What ROS adds; see `answer_json`.
    assert keys_of("Answer") == fields.keys() | {"stamp", "frame_id", "camera"}
    named = set(re.findall(r"`(\w+)`", TOPICS.split("\n## Answer\n")[1].split("\n## ")[0]))
    assert named >= fields["timings"].keys() | {"latency_s", "age_s"}
    assert named >= object_fields(thing).keys()


def test_the_values_of_diagnostics_that_tuning_looks_at_are_published() -> None:
    source = (ROOT / "vlm_perception" / "ros" / "diagnostics" / "message.py").read_text(encoding="utf-8")
    tuning = (ROOT / "docs" / "tuning.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\*Look at\*: (.*)$", tuning, re.MULTILINE)
    named = {name for line in lines for name in re.findall(r"`([^`]+)`", line) if " " in name}
    assert len(named) > 8
    for name in named:
        # What is made of a cause or of the engine's facts has only its beginning in the source.
        fixed = re.sub(r"(?<=: ).*$|(?<=^engine )dtype$", "", name)
        assert f'"{fixed}' in source, name
