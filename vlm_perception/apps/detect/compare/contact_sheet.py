"""The contact sheet: pictures about which the variants differ most, one row each, one column a variant."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from vlm_perception.apps.detect.compare.agreement import Agreement
from vlm_perception.apps.detect.compare.comparison import Comparison
from vlm_perception.apps.detect.inputs import Picture
from vlm_perception.drawing.annotate import annotate
from vlm_perception.drawing.class_colours import RGB, WHITE
from vlm_perception.drawing.lettering import line_height_px, paint, plain, text_mask
from vlm_perception.frames.encodings import Pixels
from vlm_perception.frames.whole_files import whole_file
from vlm_perception.types import WH

MOST_ROWS = 6
# Bounds of the sheet: 2400 pixels wide, and 6 rows of at most 600 with what is written above them.
_WIDEST_PX = 2400
_CELL_WH = (800, 600)
_GAP_PX = 8
_TEXT_PX = 22
_BACKGROUND = 24
_HEADING: RGB = (255, 214, 120)


def write_sheet(path: Path, comparison: Comparison, pictures: Iterable[Picture]) -> None:
    """Write it as a PNG.

    Args:
        path: Of the file.
        comparison: Whose answers are drawn.
        pictures: About which they differ, the top one first; at most `MOST_ROWS`.

    Raises:
        OutputError: It cannot be written.
    """
    variants = [each.variant for each in comparison.answers]
    cell_wh = (min(_CELL_WH[0], _WIDEST_PX // len(variants)), _CELL_WH[1])
    rows = [np.hstack([_heading(each.title, cell_wh[0] + _GAP_PX, WHITE) for each in variants])]
    for picture in pictures:
        rows.append(_row_heading(picture, comparison, rows[0].shape[1]))
        rows.append(_cells(picture, comparison, cell_wh))
    with whole_file(path) as part:
        Image.fromarray(np.vstack(rows)).save(part, format="PNG")


def _row_heading(picture: Picture, comparison: Comparison, width_px: int) -> Pixels:
    first, *others = (each.variant.letter for each in comparison.answers)
    agreements = comparison.agreements[picture.id]
    said = "; ".join(_said(first, letter, agreements.get(letter)) for letter in others)
    name = picture.path.name if picture.frame_index is None else f"{picture.path.name} frame {picture.frame_index}"
    return _heading(f"{name} | {said}", width_px, _HEADING)


def _said(first: str, letter: str, one: Agreement | None) -> str:
    if one is None:
        return f"no answer of {letter}"
    return f"{first}, {letter}: {one.pairs} in both, {one.missing} in {first} alone, {one.more} in {letter} alone"


def _cells(picture: Picture, comparison: Comparison, cell_wh: WH) -> Pixels:
    results = [each.results.get(picture.id) for each in comparison.answers]
    drawn = [_fitted(picture.rgb if result is None else annotate(picture.rgb, result), cell_wh) for result in results]
    height = max(rgb.shape[0] for rgb in drawn) + _GAP_PX
    row = np.full((height, len(drawn) * (cell_wh[0] + _GAP_PX), 3), _BACKGROUND, np.uint8)
    for column, rgb in enumerate(drawn):
        left = column * (cell_wh[0] + _GAP_PX)
        row[: rgb.shape[0], left : left + rgb.shape[1]] = rgb
    return row


def _fitted(rgb: Pixels, cell_wh: WH) -> Pixels:
    height, width = rgb.shape[:2]
    scale = min(cell_wh[0] / width, cell_wh[1] / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), np.uint8)


def _heading(text: str, width_px: int, rgb: RGB) -> Pixels:
    bar = np.full((line_height_px(_TEXT_PX) + _GAP_PX, width_px, 3), _BACKGROUND, np.uint8)
    mask = text_mask(plain(text), _TEXT_PX, width_px - 2 * _GAP_PX)
    if mask is not None:
        paint(bar, mask, _GAP_PX, _GAP_PX // 2, rgb)
    return bar
