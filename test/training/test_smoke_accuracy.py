"""The shipped checkpoints on a small fixed part of the held-out scenes, floors well under its card's figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from checkout import SHIPPED

from training.evaluate import evaluate

FLOORS = {
    "json_valid": 0.95,
    "recall50": 0.70,
    "mean_iou": 0.70,
    "label_accuracy": 0.75,
    "rejection": 0.50,
    "count_accuracy": 0.50,
    "points_accuracy": 0.50,
}


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_shipped_checkpoint_is_as_good_as_its_card_says(folder: Path) -> None:
    """A broken checkpoint, tokenizer, processor, resize or parser falls through a floor."""
    summary, _ = evaluate(folder, scenes=16)
    assert {key: summary[key] for key, floor in FLOORS.items() if summary[key] < floor} == {}
    assert summary["parameters"] <= 8_000_000


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_card_holds_the_figures_of_500_scenes(folder: Path) -> None:
    """The card was printed by `make evaluate` on the full set, for this checkpoint."""
    figures = json.loads((folder / "figures.json").read_text())
    assert figures["scenes"] == 500
    card = (folder / "README.md").read_text()
    for key in FLOORS:
        assert f"| {key} | {figures[key]:.3f} |" in card
