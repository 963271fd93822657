"""What pages say about the source is what the source says, and their examples work."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from checkout import ROOT

from vlm_perception.frames.compressed import MAX_PIXELS
from vlm_perception.frames.encodings import SUPPORTED_ENCODINGS
from vlm_perception.pipeline import perceive
from vlm_perception.prompts.builder import MAX_PROMPT_CHARS, build_prompt
from vlm_perception.replies.result_json import object_fields, result_fields
from vlm_perception.ros.topics import main as print_policy
from vlm_perception.ros.topics import uses
from vlm_perception.types import (
    Answer,
    DetectedObject,
    DropCause,
    Frame,
    FrameHeader,
    PixelBudget,
    Request,
    Result,
    Timings,
)

PACKAGE = ROOT / "vlm_perception"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}


def first_column(page: str, heading: str) -> set[str]:
    """The names in the first column of the page's table with this heading."""
    table = PAGES[page].split(f"| {heading} |")[1].split("\n\n")[0]
    return {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}


def in_source(pattern: str, paths: str) -> set[str]:
    return {name for path in PACKAGE.glob(paths) for name in re.findall(pattern, path.read_text(encoding="utf-8"))}


def image_causes() -> set[str]:
    return in_source(r'cause="(\w+)"', "frames/[ce]*.py")


def a_request(rgb: np.ndarray) -> Request:
    frame = Frame(rgb, FrameHeader(1, 2, "camera"), "/image", 0.0)
    return Request(frame, build_prompt("red thing"), PixelBudget(3136, 10**6), 100)


def a_result() -> Result:
    answer = Answer("", (28, 28), "absolute", "stop", (), Timings(0.0, 0.0, 0.0))
    return Result(a_request(np.zeros((28, 28, 3), np.uint8)), answer, (), (), "")


@pytest.mark.parametrize(
    ("page", "heading", "names"),
    [
        ("cameras", "encoding | read as", lambda: set(SUPPORTED_ENCODINGS)),
        # The only image that is written is counted as an error.
        (
            "troubleshooting",
            "dropped | why",
            lambda: {cause.value for cause in DropCause} | image_causes() - {"unencodable"},
        ),
        (
            "troubleshooting",
            "error | what",
            lambda: in_source(r'count_error\("(\w+)"', "ros/**/*.py") | {"unencodable"} & image_causes(),
        ),
        # What ROS adds stands in `answer_json`; of a clip there is more.
        (
            "topics",
            "key | what it holds",
            lambda: result_fields(a_result()).keys() | {"stamp", "frame_id", "camera", "events", "clip"},
        ),
    ],
)
def test_tables_name_what_is_there_and_nothing_else(page: str, heading: str, names: Callable[[], set[str]]) -> None:
    assert first_column(page, heading) == names()


def test_the_parts_of_an_answer_are_named() -> None:
    named = set(re.findall(r"`(\w+)`", PAGES["topics"].split("\n## Answer\n")[1].split("\n## ")[0]))
    assert named >= result_fields(a_result())["timings"].keys() | {"latency_s", "age_s"}
    assert named >= object_fields(DetectedObject("red circle", (1.0, 2.0, 3.0, 4.0), None, kind="line")).keys()


@pytest.mark.parametrize(
    ("page", "limit"),
    [
        ("prompts", f"at most {MAX_PROMPT_CHARS} characters"),
        ("security", f"More than {MAX_PROMPT_CHARS} characters are refused"),
        *((page, f"{MAX_PIXELS // 10**6} million pixels") for page in ("security", "cameras", "troubleshooting")),
    ],
)
def test_limits_are_those_of_the_source(page: str, limit: str) -> None:
    assert limit in " ".join(PAGES[page].split())


def test_the_values_of_diagnostics_that_tuning_looks_at_are_published() -> None:
    source = (PACKAGE / "ros" / "diagnostics" / "message.py").read_text(encoding="utf-8")
    lines = re.findall(r"^\*Look at\*: (.*)$", PAGES["parameters"], re.MULTILINE)
    named = {name for line in lines for name in re.findall(r"`([^`]+)`", line) if " " in name}
    assert len(named) > 8
    for name in named:
        # What is made of a cause or of the engine's facts has only its beginning in the source.
        fixed = re.sub(r"(?<=: ).*$|(?<=^engine )dtype$", "", name)
        assert f'"{fixed}' in source, name


@pytest.mark.parametrize(
    "command", re.findall(r"python -m vlm_perception\.ros\.topics (--.*) > policy\.xml", PAGES["security"])
)
def test_the_commands_that_print_a_policy_work(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert print_policy(command.split()) == 0
    assert "<enclave path=" in capsys.readouterr().out


def test_the_application_s_enclave_fits_the_node_and_configures_nothing() -> None:
    (text,) = re.findall(r"```xml\n(<enclave .*?</enclave>)\n```", PAGES["security"], re.DOTALL)
    enclave = ElementTree.fromstring(text)
    mine = {(use.access, use.name.replace("~", "/vlm_perception")) for use in uses()}
    other_side = {"publish": "subscribe", "subscribe": "publish", "request": "reply"}
    asked = []
    for group in (*enclave.iter("topics"), *enclave.iter("services")):
        (access,) = group.attrib
        for item in group:
            name = str(item.text)
            # What every node publishes and offers is its own.
            if access in other_side and name not in ("/rosout", "/parameter_events"):
                assert (other_side[access], name) in mine, name
            asked += [name] if access == "request" else []
    assert not any(word in name for name in asked for word in ("change_state", "set_parameters"))


@pytest.fixture
def example_engine() -> Any:
    names: dict[str, Any] = {"__name__": "red_engine"}
    (source,) = re.findall(r'```python\n(""".*?)```', PAGES["extending"], re.DOTALL)
    exec(source, names)
    return names["RedEngine"]()


def test_the_example_engine_finds_what_is_red_stops_and_streams(example_engine: Any) -> None:
    rgb = np.full((60, 80, 3), 90, np.uint8)
    rgb[10:30, 20:50] = (200, 10, 10)
    example_engine.load()
    (found,) = perceive(example_engine, a_request(rgb)).objects
    assert (found.label, found.xyxy, found.score) == ("red thing", (20.0, 10.0, 50.0, 30.0), None)
    assert perceive(example_engine, a_request(np.zeros((60, 80, 3), np.uint8))).objects == ()
    assert perceive(example_engine, a_request(rgb), should_stop=lambda: True).answer.finish_reason == "aborted"
    told: list[str] = []
    answer = example_engine.answer(a_request(rgb), lambda: False, lambda text, tokens: told.append(text))
    assert "".join(told) == answer.text
    assert example_engine.blank_answer(a_request(rgb)).finish_reason == "unfinished"
    assert example_engine.describe()["device"] == "cpu"
    example_engine.close()
