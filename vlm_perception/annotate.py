"""Draw a result on its image, with supervision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import supervision as sv
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vlm_perception.fonts import Font, font_for, load_font
from vlm_perception.types import DetectedObject, Result

_SMALLEST_TEXT_PX = 11
_TEXT_SHARE = 0.026
_BAR_COLOR = (20, 20, 20)
_BAR_OPACITY = 0.7
_TEXT_COLOR = (255, 255, 255)


def annotate(rgb: NDArray[np.uint8], result: Result) -> NDArray[np.uint8]:
    """Draw boxes, points, labels with scores, the prompt and what was found.

    Lines and text grow with the image. A label in a script that no installed font has is drawn as
    its number, `#1`, instead of as empty squares.

    Args:
        rgb: (height, width, 3) uint8 in RGB order; not changed.
        result: Objects in pixels of this image.

    Returns:
        A new (height, width, 3) uint8 array in RGB order.
    """
    height, width = rgb.shape[:2]
    text_px = max(_SMALLEST_TEXT_PX, round(min(width, height) * _TEXT_SHARE))
    # supervision draws in BGR order.
    scene = np.ascontiguousarray(rgb[..., ::-1])
    if result.objects:
        scene = _draw_objects(scene, result.objects, text_px)
    drawn = np.ascontiguousarray(scene[..., ::-1])
    return _draw_bar(drawn, result, text_px)


def _draw_objects(scene: NDArray[np.uint8], objects: Sequence[DetectedObject], text_px: int) -> NDArray[np.uint8]:
    height, width = scene.shape[:2]
    line_px = sv.calculate_optimal_line_thickness((width, height))
    labels = _drawable_labels(objects)
    font_path = font_for("".join(labels)) or None
    names = list(dict.fromkeys(found.label for found in objects))
    boxes = _detections([found for found in objects if found.xyxy is not None], names, 0)
    points = _detections([found for found in objects if found.xyxy is None], names, 2 * line_px)
    scene = sv.BoxAnnotator(thickness=line_px).annotate(scene, boxes)
    dots = sv.DotAnnotator(radius=2 * line_px, position=sv.Position.CENTER, outline_thickness=1)
    scene = dots.annotate(scene, points)
    writer = sv.RichLabelAnnotator(
        font_path=font_path, font_size=text_px, text_padding=max(2, text_px // 4), smart_position=True
    )
    return np.asarray(writer.annotate(scene, _detections(objects, names, 2 * line_px), labels), dtype=np.uint8)


def _detections(objects: Sequence[DetectedObject], names: Sequence[str], point_radius_px: int) -> sv.Detections:
    """Give supervision the objects; a point becomes the box around its dot."""
    boxes = np.zeros((len(objects), 4), dtype=np.float32)
    for row, found in zip(boxes, objects, strict=True):
        if found.xyxy is not None:
            row[:] = found.xyxy
        elif found.point_xy is not None:
            row[:2] = np.array(found.point_xy) - point_radius_px
            row[2:] = np.array(found.point_xy) + point_radius_px
    return sv.Detections(xyxy=boxes, class_id=np.array([names.index(found.label) for found in objects], dtype=int))


def _drawable_labels(objects: Sequence[DetectedObject]) -> list[str]:
    names = [_name(found) for found in objects]
    if font_for("".join(names)) is None:
        names = [f"#{number}" for number in range(1, len(objects) + 1)]
    return [
        name if found.score is None else f"{name} {found.score:.2f}" for name, found in zip(names, objects, strict=True)
    ]


def _name(found: DetectedObject) -> str:
    detail = found.attributes.get("sub_label")
    return f"{found.label} ({detail})" if detail else found.label


def _draw_bar(rgb: NDArray[np.uint8], result: Result, text_px: int) -> NDArray[np.uint8]:
    """Write the prompt and what was found along the lower edge."""
    height, width = rgb.shape[:2]
    said = " ".join(result.text.split())
    font_path = font_for(result.request.prompt.text + said)
    prompt = result.request.prompt.text if font_path is not None else "(prompt in a script without a font)"
    lines = [prompt, f"{_summary(result)}{' - ' + said if said and font_path is not None else ''}"]
    font = load_font(font_path or "", text_px)
    pad_px, step_px = text_px // 2, round(text_px * 1.4)
    top = max(0, height - step_px * len(lines) - pad_px)
    rgb[top:] = (rgb[top:] * (1 - _BAR_OPACITY) + np.array(_BAR_COLOR) * _BAR_OPACITY).astype(np.uint8)
    image = Image.fromarray(rgb)
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        fitted = _fitted(draw, line, font, width - 2 * pad_px)
        draw.text((pad_px, top + pad_px // 2 + row * step_px), fitted, fill=_TEXT_COLOR, font=font)
    return np.array(image, dtype=np.uint8)


def _summary(result: Result) -> str:
    found = f"{len(result.objects)} found"
    return found if result.count is None else f"count {result.count}, {found}"


def _fitted(draw: ImageDraw.ImageDraw, line: str, font: Font, width_px: int) -> str:
    """Cut a line to a width, with dots where it was cut."""
    if draw.textlength(line, font=font) <= width_px:
        return line
    share = width_px / draw.textlength(line, font=font)
    kept = line[: max(0, int(len(line) * share))]
    while kept and draw.textlength(kept + "...", font=font) > width_px:
        kept = kept[:-1]
    return kept + "..."
