"""`vlm-perception-evaluate` in this process, with an engine that says what it is told to; test/model has the real."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from spoken import SpokenEngine

from vlm_perception.apps.evaluate import command as cli
from vlm_perception.apps.evaluate.asking import ask_all
from vlm_perception.apps.evaluate.coco import read_coco
from vlm_perception.engines.base import OnText, ShouldStop, ignore_text
from vlm_perception.errors import InferenceError
from vlm_perception.prompts.builder import load_prompts
from vlm_perception.settings import Settings
from vlm_perception.types import Answer, Request

BOXES = {"a.png": [4, 6, 16, 24], "b.png": [30, 1, 30, 39], "c.png": [0, 0, 9, 9]}
REPLY = '[{"bbox_2d": [4, 6, 20, 30], "label": "cup"}]'


@pytest.fixture
def engine() -> SpokenEngine:
    return SpokenEngine(REPLY)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three images of one cup each; it is where the engine says that it is in the first one alone."""
    for name in BOXES:
        Image.new("RGB", (64, 48)).save(tmp_path / name)
    file = {
        "images": [{"id": n, "file_name": name, "width": 64, "height": 48} for n, name in enumerate(BOXES)],
        "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "saw"}],
        "annotations": [{"image_id": n, "category_id": 1, "bbox": box} for n, box in enumerate(BOXES.values())],
    }
    (tmp_path / "truth.json").write_text(json.dumps(file))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "truth.json"


def written(path: str = "evaluation.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path).read_text())
    return found


def test_figures_are_printed_and_written(data: Path, engine: SpokenEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([str(data)], engine.make) == 0
    out, err = capsys.readouterr()
    assert [line for line in err.splitlines() if line != "a library that prints"] == []
    summary = written()
    assert (summary["images"], summary["failed"], summary["complete"]) == (3, 0, True)
    assert summary["figures"]["recall50"] == pytest.approx(1 / 3)
    assert summary["figures"]["rejection"] == 0.0
    assert summary["labels"]["cup"]["things"] == 3
    assert "| recall50" in out
    assert "0.333" in out
    assert "| cup" in out
    assert out.splitlines()[-1] == "3 images, 6 questions, 0 failed; wrote evaluation.json"
    assert [request.prompt.text for request in engine.requests] == ["cup", "saw"] * 3
    assert engine.closed == 1


def test_options_choose_what_is_asked(data: Path, engine: SpokenEngine) -> None:
    arguments = [str(data), "--absent", "0", "--max-images", "2", "--output", "sub/found.json", "--max-pixels", "90000"]
    assert cli.main(arguments, engine.make) == 0
    assert [request.prompt.text for request in engine.requests] == ["cup", "cup"]
    assert engine.requests[0].budget.max_pixels == 90000
    assert written("sub/found.json")["figures"]["rejection"] is None


@pytest.mark.parametrize(
    ("format_", "given"),
    [
        ("coco", ("--topic", "--truth-topic", "--split")),
        ("refcoco", ("--absent", "--topic", "--truth-topic")),
        ("truth-bag", ("--images", "--split")),
    ],
)
def test_options_of_another_format_are_refused(
    data: Path, engine: SpokenEngine, format_: str, given: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    values = [f"{name}={'0' if name == '--absent' else 'val'}" for name in given]
    assert cli.main([str(data), "--format", format_, *values], engine.make) == 2
    err = capsys.readouterr().err
    assert f"truth.json is read as {format_}" in err
    assert all(name in err.partition("leave ")[2] for name in given)
    assert engine.loaded == 0


@pytest.mark.parametrize(("option", "said"), [("--absent", "-1 is below 0"), ("--max-images", "-1 is below 1")])
def test_wrong_numbers_are_refused(
    data: Path, engine: SpokenEngine, option: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        cli.main([str(data), f"{option}=-1"], engine.make)
    assert said in capsys.readouterr().err


class UnsureEngine(SpokenEngine):
    """Tells no probabilities, as some servers do."""

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        return replace(super().answer(request, should_stop), tokens=())


def test_a_score_that_is_not_known_counts_as_1(data: Path) -> None:
    sheets = read_coco(data, data.parent, 0).sheets
    answers = ask_all(
        UnsureEngine(REPLY), sheets, load_prompts(), Settings(), should_stop=lambda: False, on_failure=pytest.fail
    )
    assert [[box.score for box in answer.found] for answer in answers] == [[1.0]] * 3


def test_a_phrase_asks_for_boxes_whatever_its_words_are(data: Path, engine: SpokenEngine) -> None:
    file = json.loads(data.read_text())
    file["categories"][0]["name"] = "how many cups are there?"
    data.write_text(json.dumps(file))
    assert cli.main([str(data), "--absent", "0"], engine.make) == 0
    assert engine.requests[0].prompt.task.value == "detect"


def test_what_fails_is_told_and_the_rest_is_in_the_figures(
    data: Path, engine: SpokenEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("b.png").write_bytes(b"no image")
    Image.new("RGB", (48, 64)).save("c.png")

    def fail(number: int) -> None:
        if number == 2:
            raise InferenceError("it failed")

    engine.before_answer = fail
    assert cli.main([str(data)], engine.make) == 1
    err = capsys.readouterr().err
    assert "a.png, 'saw': it failed" in err
    assert "b.png" in err
    assert "c.png has 48x64 pixels, and its boxes are for (64, 48)" in err
    assert (written()["images"], written()["failed"]) == (1, 3)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_after_a_signal_the_figures_of_what_was_answered_are_written(
    data: Path, engine: SpokenEngine, number: int, code: int
) -> None:
    engine.before_answer = lambda count: os.kill(os.getpid(), number) if count == 3 else None
    assert cli.main([str(data)], engine.make) == code
    assert (written()["complete"], written()["figures"]["questions"]) == (False, 2)


def test_an_output_that_nobody_reads_is_141(data: Path, engine: SpokenEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        monkeypatch.setattr("sys.stdout", closed)
        assert cli.main([str(data)], engine.make) == 141
    assert written()["images"] == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.json"], "none.json cannot be read"),
        (["a.png"], "no COCO file"),
        (["truth.json", "--format", "refcoco"], "no list of references"),
        (["truth.json", "--output", "/proc/none/found.json"], "cannot be written"),
        (["truth.json", "--score-threshold", "2"], "score_threshold"),
        (["empty.json"], "nothing to ask about"),
    ],
)
def test_what_cannot_be_used_is_2_before_the_model_is_loaded(
    data: Path, engine: SpokenEngine, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cup"}]}
    data.with_name("empty.json").write_text(json.dumps(empty))
    assert cli.main(arguments, engine.make) == 2
    assert said in capsys.readouterr().err
    assert engine.loaded == 0
