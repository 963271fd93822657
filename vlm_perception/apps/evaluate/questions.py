"""What is asked about an image, and what is right."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from vlm_perception.errors import ImageError
from vlm_perception.frames.files import read_image
from vlm_perception.types import WH, XYXY, Frame


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


class SheetImage(Protocol):
    """An image that is not read yet."""

    @property
    def title(self) -> str:
        """Name for messages."""
        ...

    def read(self) -> Frame:
        """Read it.

        Raises:
            ImageError: It cannot be read, or is not the one that the truth is about.
        """
        ...


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image that is a file.

    Attributes:
        path: Of the image.
        image_wh: As the data set says, pixels; None where it does not.
    """

    path: Path
    image_wh: WH | None

    @property
    def title(self) -> str:
        """See `SheetImage`."""
        return str(self.path)

    def read(self) -> Frame:
        """See `SheetImage`."""
        frame = Frame(read_image(self.path), camera=str(self.path))
        if self.image_wh not in (None, frame.image_wh):
            width, height = frame.image_wh
            raise ImageError(
                f"{self.path} has {width}x{height} pixels, and its boxes are for {self.image_wh}: give with --images "
                f"the folder of those that were annotated",
                cause="wrong_size",
            )
        return frame


@dataclass(frozen=True, slots=True)
class Sheet:
    """An image with all questions about it, in the order in which they are asked."""

    image: SheetImage
    questions: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """What is to be asked.

    Attributes:
        sheets: One for each image; of a bag they are made while they are asked about.
        count: How many they are.
        notes: What was left out, in words.
    """

    sheets: Iterable[Sheet]
    count: int
    notes: tuple[str, ...] = field(default=())


def label_questions(
    name: str, there: Mapping[str, Sequence[TrueBox]], labels: Sequence[str], absent: int
) -> tuple[Query, ...]:
    """Ask for each label that an image has, and for some that it does not have.

    Args:
        name: Of the image; it chooses those, the same ones every time.
        there: What is in it.
        labels: All of the data set, sorted.
        absent: For about how many that it does not have it is asked.
    """
    missing = [label for label in labels if label not in there]
    # Not by Python's own hash, which is another one in each process.
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    chosen = [missing[int(place)] for place in rng.permutation(len(missing))[:absent]]
    return (*(Query(label, tuple(truths)) for label, truths in there.items()), *(Query(label, ()) for label in chosen))
