"""The tables of topics and services are those of the source, and the fields that docs/topics.md names exist."""

from __future__ import annotations

import re

import numpy as np
import pytest
from checkout import ROOT

from scripts.docs.pages import with_block
from scripts.docs.topics import LIFECYCLE, MADE_BY, NOTES, OF_ROS, OWN, described, table
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.replies.result_json import object_fields, result_fields
from vlm_perception.ros.topics import uses
from vlm_perception.types import Answer, DetectedObject, Frame, FrameHeader, PixelBudget, Request, Result, Timings

TOPICS = (ROOT / "docs" / "topics.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "notes"), [("topics", OWN), ("lifecycle", LIFECYCLE), ("ros", OF_ROS)])
def test_the_page_has_the_tables_of_the_source(name: str, notes: dict[str, object]) -> None:
    assert with_block(TOPICS, name, MADE_BY, table(tuple(notes))) == TOPICS, f"run {MADE_BY}"


def test_the_readme_has_the_table_of_the_source() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_block(readme, "topics", MADE_BY, table(tuple(OWN), "docs/topics.md")) == readme, f"run {MADE_BY}"


def test_everything_is_described_once_and_nothing_else() -> None:
    assert NOTES.keys() == {use.name for use in uses()}
    assert len(NOTES) == len(OWN) + len(LIFECYCLE) + len(OF_ROS)
    for use, note in described():
        assert bool(note.qos) == (use.access != "reply"), use.name


def test_a_page_with_no_place_or_two_is_refused() -> None:
    for page in ("", "<!-- x: a -->\n<!-- end of x -->\n" * 2):
        with pytest.raises(ValueError, match=r"has [02] places for x"):
            with_block(page, "x", "a", "text")


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
