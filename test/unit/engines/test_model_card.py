"""The calibration in a checkpoint's card: read, written, and refused with a reason."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from checkout import TINY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlm_perception.engines.model_card import read_calibration, read_learned, read_limits, write_calibration
from vlm_perception.replies.scores import FORMULA
from vlm_perception.types import Calibration

BODY = "\n# A model\n\nformula: not this one\n\n---\n\nmore\n"
GOOD = f"formula: {FORMULA}, temperature: 1.5, bias: -0.25"


def card(folder: Path, front: str) -> Path:
    (folder / "README.md").write_text(f"---\nlicense: apache-2.0\n{front}\n---\n{BODY}", encoding="utf-8")
    return folder


def test_a_good_entry_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = card(tmp_path, f"vlm_perception: {{score: {{{GOOD}, fitted_on: 99 boxes}}}}")
    assert read_calibration(folder) == Calibration(FORMULA, 1.5, -0.25, "99 boxes")
    assert caplog.records == []


@pytest.mark.parametrize("front", ["", "vlm_perception: {}", "vlm_perception: {other: 1}", "vlm_perception:"])
def test_a_card_that_says_nothing_is_the_usual_case(
    front: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_calibration(tmp_path) is None
    assert read_calibration(card(tmp_path, front)) is None
    (tmp_path / "README.md").write_text("# No front matter\n")
    assert read_calibration(tmp_path) is None
    assert caplog.records == []


# front matter; what the warning has to name
UNUSABLE = [
    ("vlm_perception: 3", "vlm_perception is 3"),
    ("vlm_perception: {score: 3}", "3"),
    (f"vlm_perception: {{score: {{formula: {FORMULA}, bias: 1.0}}}}", "temperature"),
    (f"vlm_perception: {{score: {{{GOOD}, temprature: 2}}}}", "temprature"),
    (f"vlm_perception: {{score: {{formula: {FORMULA}, temperature: 0.0, bias: 1.0}}}}", "0.01"),
    (f"vlm_perception: {{score: {{formula: {FORMULA}, temperature: -2.0, bias: 1.0}}}}", "-2.0"),
    (f"vlm_perception: {{score: {{formula: {FORMULA}, temperature: 101.0, bias: 1.0}}}}", "100"),
    (f"vlm_perception: {{score: {{formula: {FORMULA}, temperature: .nan, bias: 1.0}}}}", "temperature is nan"),
    (f"vlm_perception: {{score: {{formula: {FORMULA}, temperature: 1.0, bias: .inf}}}}", "bias is inf"),
    (f"vlm_perception: {{score: {{formula: {FORMULA}, temperature: warm, bias: 1.0}}}}", "'warm'"),
    (f"vlm_perception: {{score: {{formula: {FORMULA}, temperature: true, bias: 1.0}}}}", "True"),
    ("vlm_perception: {score: {formula: coordinate_min, temperature: 1.0, bias: 1.0}}", "'coordinate_min', in use is"),
    ("vlm_perception: {score: [", "cannot be read"),
]


@pytest.mark.parametrize(("front", "named"), UNUSABLE)
def test_an_unusable_entry_costs_the_calibration_and_says_why(
    front: str, named: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_calibration(card(tmp_path, front)) is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(tmp_path) in record.getMessage()
    assert named in record.getMessage()
    assert "scores stay uncalibrated" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_a_card_that_is_no_text_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "README.md").write_bytes(b"---\nlicense: \xff\xfe\n---\n")
    assert read_calibration(tmp_path) is None
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("front", "limits"),
    [
        ("vlm_perception: {knows: drawn scenes only}", "drawn scenes only"),
        (f"vlm_perception: {{knows: 'streets,\n  by day', score: {{{GOOD}}}}}", "streets, by day"),
        ("vlm_perception: {knows: 3}", ""),
        ("vlm_perception: {score: 3}", ""),
        ("vlm_perception: 3", ""),
        ("vlm_perception: {score: [", ""),
        ("", ""),
    ],
)
def test_what_alone_a_checkpoint_knows_is_read(front: str, limits: str, tmp_path: Path) -> None:
    assert read_limits(tmp_path) == ""
    assert read_limits(card(tmp_path, front)) == limits


@pytest.mark.parametrize(
    ("front", "learned"),
    [
        ("vlm_perception: {learned: [words, yes or no]}", {"words", "yes or no"}),
        ("vlm_perception: {learned: [words, 3, [letters]]}", {"words"}),
        ("vlm_perception: {learned: words}", set()),
        ("vlm_perception: {knows: drawn scenes only}", set()),
        ("vlm_perception: [", set()),
        ("", set()),
    ],
)
def test_what_a_checkpoint_learned_beyond_boxes_is_read(front: str, learned: set[str], tmp_path: Path) -> None:
    assert read_learned(tmp_path) == set()
    assert read_learned(card(tmp_path, front)) == learned


def test_the_shipped_card_says_what_its_model_knows_and_what_its_scores_were_fitted_on() -> None:
    assert read_limits(TINY) == "drawn scenes only"
    calibration = read_calibration(TINY)
    assert calibration is not None
    assert "drawn" in calibration.fitted_on


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.text(max_size=60))
def test_no_front_matter_raises(tmp_path: Path, front: str) -> None:
    (tmp_path / "README.md").write_bytes(f"---\n{front}\n---\n".encode("utf-8", "replace"))
    assert read_calibration(tmp_path) is None


def test_writing_keeps_the_rest_of_the_card_and_replaces_what_was_there(tmp_path: Path) -> None:
    folder = card(tmp_path, "vlm_perception: {score: {formula: old, temperature: 9.0, bias: 9.0}, other: 7}")
    wanted = Calibration(FORMULA, 0.731, 2.5, "12 boxes: all drawn")
    write_calibration(folder, wanted)
    assert read_calibration(folder) == wanted
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text.endswith(BODY)
    assert text.startswith("---\nlicense: apache-2.0\n")
    assert "other: 7" in text
    assert "old" not in text
    write_calibration(folder, wanted)
    assert (folder / "README.md").read_text(encoding="utf-8") == text
