"""What a checkpoint's card says about its scores: the YAML at the top of its `README.md`.

    vlm_perception:
      knows: ...               # the only images it was trained for; left out where that is no limit
      learned: [words, ...]    # beyond boxes, points and numbers, where it knows only little
      score:
        formula: three_product # of replies/scores.py it was fitted for
        temperature: 1.7       # divides the raw score's log-odds
        bias: 0.4              # is added to them
        fitted_on: ...         # for people

A card without this is the usual case. One that says something unusable costs the calibration, not
the model: the scores are right without it, and a robot should not stop for a README.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import metadata_load, metadata_save
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vlm_perception.replies.scores import FORMULA
from vlm_perception.types import Calibration

CARD = "README.md"
_REMEDY = "scores stay uncalibrated; correct the card or fit it anew with training.calibrate"

_log = logging.getLogger(__name__)


class _ScoreEntry(BaseModel):
    """The card's entry, with bounds that every sensible fit lies well inside."""

    model_config = ConfigDict(strict=True, extra="forbid")

    formula: str
    temperature: float = Field(ge=0.01, le=100.0, allow_inf_nan=False)
    bias: float = Field(ge=-50.0, le=50.0, allow_inf_nan=False)
    fitted_on: str = ""


def read_calibration(folder: Path) -> Calibration | None:
    """Read the calibration from the card in a checkpoint's folder.

    Args:
        folder: Where the checkpoint's files are.

    Returns:
        The calibration; None without a card or an entry. Also None, with a warning that names the
        value, the limit and the remedy, for an entry that cannot be used or that was fitted for
        another formula than the one in use.
    """
    path = folder / CARD
    if not path.is_file():
        return None
    try:
        entry = _score_entry(metadata_load(path))
        if entry is None:
            return None
        fitted = _ScoreEntry.model_validate(entry)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, each['loc']))} is {each['input']!r}: {each['msg']}" for each in error.errors()
        )
        _log.warning("calibration in %s cannot be used: %s; %s", path, wrong, _REMEDY)
        return None
    except (OSError, ValueError, yaml.YAMLError) as error:
        _log.warning("%s cannot be read: %s; %s", path, " ".join(str(error).split()), _REMEDY)
        return None
    if fitted.formula != FORMULA:
        _log.warning(f"calibration in {path} is for the formula {fitted.formula!r}, in use is {FORMULA!r}; {_REMEDY}")
        return None
    return Calibration(fitted.formula, fitted.temperature, fitted.bias, fitted.fitted_on)


def read_limits(folder: Path) -> str:
    """Read from the card in a checkpoint's folder what alone it knows, such as `drawn scenes only`.

    Returns:
        One line; empty when the card states no limit, or cannot be read, which `read_calibration` warns of.
    """
    knows = _own_entry(folder).get("knows")
    return " ".join(knows.split()) if isinstance(knows, str) else ""


def read_learned(folder: Path) -> frozenset[str]:
    """Read from the card what a checkpoint that knows little learned beyond boxes, points and numbers: `words`, say.

    Returns:
        Nothing when the card names nothing, or cannot be read.
    """
    learned = _own_entry(folder).get("learned")
    return frozenset(each for each in learned if isinstance(each, str)) if isinstance(learned, list) else frozenset()


def write_calibration(folder: Path, calibration: Calibration) -> None:
    """Write the entry into a card, in place of one that is there; the rest of the card stays.

    Args:
        folder: Where the checkpoint's files are; its card must exist.
        calibration: Fitted for this checkpoint.
    """
    path = folder / CARD
    data: dict[str, Any] = metadata_load(path) or {}
    own = data.get("vlm_perception")
    entry = {
        "formula": calibration.formula,
        "temperature": round(calibration.temperature, 4),
        "bias": round(calibration.bias, 4),
        "fitted_on": calibration.fitted_on,
    }
    data["vlm_perception"] = {**(own if isinstance(own, dict) else {}), "score": entry}
    metadata_save(path, data)


def _score_entry(data: dict[str, Any] | None) -> object | None:
    own = (data or {}).get("vlm_perception")
    if own is None:
        return None
    if not isinstance(own, dict):
        raise ValueError(f"vlm_perception is {own!r} instead of a mapping")
    score: object | None = own.get("score")
    return score


def _own_entry(folder: Path) -> dict[str, Any]:
    try:
        own = (metadata_load(folder / CARD) or {}).get("vlm_perception") if (folder / CARD).is_file() else None
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return own if isinstance(own, dict) else {}
