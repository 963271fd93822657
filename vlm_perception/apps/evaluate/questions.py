"""What is asked about an image, and what is right."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vlm_perception.types import WH, XYXY


@dataclass(frozen=True, slots=True)
class TrueBox:
    """One thing that is there.

    Attributes:
        xyxy: In pixels of the image file.
        area: What the data set says of it, square pixels: that of the thing itself, not of its box.
        is_crowd: Many of its kind in one box; whether a box lies on it is neither right nor wrong.
    """

    xyxy: XYXY
    area: float
    is_crowd: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """One prompt about one image.

    Attributes:
        prompt: As a user would send it: a label, or a phrase.
        truths: Every thing that it means; none where the answer is that there is none.
        is_phrase: It means one thing among others, so that the surest box is the answer.
    """

    prompt: str
    truths: tuple[TrueBox, ...]
    is_phrase: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """An image with all questions about it.

    Attributes:
        path: Of the image.
        image_wh: As the data set says, pixels; None where it does not.
        questions: In the order in which they are asked.
    """

    path: Path
    image_wh: WH | None
    questions: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """What is to be asked, and what of the file was left out, in words."""

    sheets: tuple[Sheet, ...]
    notes: tuple[str, ...] = field(default=())
