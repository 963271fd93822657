"""Fitting a calibration, and that a new checkpoint never keeps an old one."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from checkout import TINY

from training import calibrate as calibrating
from training import evaluate, publish
from training.calibrate import FIRST_SEED, SCENES, calibrate, fit
from training.scenes import FIRST_TRAINING_SEED
from training.scored import Asked, Found
from vlm_perception.engines.model_card import read_calibration, read_learned, read_limits, write_calibration
from vlm_perception.replies.scores import FORMULA, calibrated
from vlm_perception.replies.token_evidence import Evidence
from vlm_perception.types import Calibration

TRUE = Calibration(FORMULA, 0.6, 1.2)


def drawn(count: int) -> tuple[list[float], list[bool]]:
    """Raw scores, each right with exactly the chance that `TRUE` gives it."""
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.05, 0.95, count)
    return scores.tolist(), [bool(rng.random() < calibrated(score, TRUE)) for score in scores]


def test_the_fit_finds_what_made_the_data() -> None:
    fitted = fit(*drawn(20_000))
    assert fitted.formula == FORMULA
    assert fitted.temperature == pytest.approx(TRUE.temperature, rel=0.05)
    assert fitted.bias == pytest.approx(TRUE.bias, abs=0.1)


def test_a_fit_needs_enough_of_both_kinds() -> None:
    with pytest.raises(ValueError, match="5 right and 0 wrong boxes, a fit needs 20 of each"):
        fit([0.5] * 5, [True] * 5)


def test_scores_that_fall_with_being_right_are_refused() -> None:
    scores, right = drawn(2000)
    with pytest.raises(ValueError, match="score no higher than wrong ones"):
        fit([1.0 - score for score in scores], right)


def test_seeds_of_calibration_are_neither_those_of_training_nor_of_evaluation() -> None:
    assert evaluate.FIRST_SEED + 10_000 <= FIRST_SEED
    assert FIRST_SEED + SCENES <= FIRST_TRAINING_SEED
    with pytest.raises(ValueError, match="reach training's seeds"):
        calibrate(TINY, FIRST_TRAINING_SEED - FIRST_SEED + 1)


def answers(count: int) -> list[Asked]:
    scores, right = drawn(count)
    found = [Found(Evidence((float(np.log(s)),)), r, is_box=True) for s, r in zip(scores, right, strict=True)]
    # Wrong points that score high would spoil the fit if they were counted.
    found += [Found(Evidence((-0.01,)), right=False, is_box=False)] * count
    return [Asked(index, False, 1, (each,)) for index, each in enumerate(found)]


def test_the_result_lies_in_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Card\n")
    (tmp_path / "config.json").write_text('{"model_type": "qwen3_vl"}')
    monkeypatch.setattr(calibrating, "make_cases", lambda scenes, first_seed, family: [])
    monkeypatch.setattr(calibrating, "ask_all", lambda folder, cases: answers(5000))
    fitted = calibrate(tmp_path, 7)
    read = read_calibration(tmp_path)
    assert read is not None
    assert (read.temperature, read.bias) == pytest.approx((fitted.temperature, fitted.bias), abs=1e-4)
    assert fitted.temperature == pytest.approx(TRUE.temperature, rel=0.1)
    assert "5000 boxes" in (tmp_path / "README.md").read_text()
    assert "7 drawn calibration scenes" in (tmp_path / "README.md").read_text()


def test_a_card_tells_what_its_family_is(tmp_path: Path) -> None:
    """How large the images are, how coordinates are meant, and how it is made and measured again."""
    config = {"model_type": "qwen3_vl", "architectures": ["Qwen3VLForConditionalGeneration"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    summary = {"scenes": 500, "replies": 9, "parameters": 4_600_000}
    size = {"shortest_edge": 39_200, "longest_edge": 50_176}
    card = publish.card_of(tmp_path, "tiny-qwen3-vl", size, summary, "| report |", "7,100 steps")
    for text in (
        "# The tiny Qwen3-VL of",
        "`Qwen3VLForConditionalGeneration` with 4,600,000",
        "by the first edition (training/README.md) of `make train FAMILY=qwen3_vl` on two CPU cores, in 7,100 steps",
        "make evaluate MODEL=tiny-qwen3-vl",
        "0 to 1000 of the image",
        "4:3 becomes 256x192",
        "`Qwen/Qwen3-VL-4B-Instruct`",
    ):
        assert text in card, text


@pytest.mark.parametrize(
    ("figures", "learned"),
    [
        ({}, set()),
        ({"relation_recall": 0.49, "texts_accuracy": 0.0}, set()),
        ({"relation_recall": 0.6, "yes_no_accuracy": 0.9, "texts_accuracy": 0.1}, {"relations", "yes or no"}),
    ],
)
def test_a_card_names_what_its_model_answers_beyond_boxes(
    tmp_path: Path, figures: dict[str, float], learned: set[str]
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen2_5_vl", "architectures": ["Qwen"]}')
    size = {"shortest_edge": 39_200, "longest_edge": 50_176}
    summary = {"scenes": 500, "replies": 9, "parameters": 7, **figures}
    (tmp_path / "README.md").write_text(publish.card_of(tmp_path, "tiny", size, summary, ""))
    assert read_learned(tmp_path) == learned
    assert read_limits(tmp_path) == "drawn scenes only"


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A worse checkpoint with a calibration, and `publish` about to ship a better one there."""
    target = tmp_path / "shipped"
    shutil.copytree(TINY, target)
    (target / "figures.json").unlink()
    write_calibration(target, Calibration(FORMULA, 9.0, 9.0, "the one before"))
    summary = dict.fromkeys(evaluate.BARS, 1.0) | {"scenes": 3, "replies": 9, "parameters": 4}
    monkeypatch.setattr(publish, "evaluate", lambda folder, scenes: (summary, "| report |"))
    monkeypatch.setattr(sys, "argv", ["publish", "--source", str(TINY), "--target", str(target)])
    return target


def test_publishing_calibrates_anew(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrating, "make_cases", lambda scenes, first_seed, family: [])
    monkeypatch.setattr(calibrating, "ask_all", lambda folder, cases: answers(5000))
    publish.main()
    fitted = read_calibration(shipped)
    assert fitted is not None
    assert fitted.temperature == pytest.approx(TRUE.temperature, rel=0.1)


@pytest.mark.parametrize("count", [3, 0])
def test_publishing_without_a_fit_leaves_no_calibration(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    monkeypatch.setattr(calibrating, "make_cases", lambda scenes, first_seed, family: [])
    monkeypatch.setattr(calibrating, "ask_all", lambda folder, cases: answers(count))
    publish.main()
    assert read_calibration(shipped) is None
    assert "the one before" not in (shipped / "README.md").read_text()
    assert "stay uncalibrated" in capsys.readouterr().out


def test_a_crash_while_copying_leaves_no_old_calibration(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: Path, target: Path) -> dict[str, int]:
        raise OSError("disk full")

    monkeypatch.setattr(publish, "copy", fail)
    with pytest.raises(OSError, match="disk full"):
        publish.main()
    assert read_calibration(shipped) is None
