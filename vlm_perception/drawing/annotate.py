"""Draw a result, or what is followed, on its image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
import supervision as sv
from numpy.typing import NDArray

from vlm_perception.drawing.caption import caption_height_px, summary, write_caption
from vlm_perception.drawing.class_colours import BLACK, RGB, WHITE, class_colours, contrast, is_faint, text_colour
from vlm_perception.drawing.label_placement import Place, place_labels
from vlm_perception.drawing.lettering import Mask, lettered, line_height_px, plain, text_mask
from vlm_perception.types import XY, DetectedObject, Prompt, Region, Result

_SMALLEST_TEXT_PX = 12
_TEXT_SHARE = 0.026
_THINNEST_LINE_PX = 2
_LINE_SHARE = 0.004
# Labels may cover this share of the picture; with more objects they get shorter, then fewer.
_LABELS_SHARE = 0.3
_WIDEST_LABEL = 0.5
_FAINT_SHARE = 0.35
_AROUND_SHARE = 0.6
# A line that is nearly black gets a light edge, every other one a dark edge.
_LEAST_EDGE_CONTRAST = 2.0
_DASH_LINES = 3
# Heights of a line.
_SHORTEST_TEXT = 4


@dataclass(frozen=True, slots=True)
class _Style:
    """Sizes in pixels."""

    text: int
    line: int
    edge: int
    dot: int
    pad: int

    @classmethod
    def of(cls, width: int, height: int) -> _Style:
        text = max(_SMALLEST_TEXT_PX, round(min(width, height) * _TEXT_SHARE))
        line = max(_THINNEST_LINE_PX, round(min(width, height) * _LINE_SHARE))
        return cls(text, line, max(1, line // 3), 2 * line, max(2, text // 4))


def annotate(rgb: NDArray[np.uint8], result: Result) -> NDArray[np.uint8]:
    """Draw boxes, points, labels with scores, the prompt and what was found.

    Lines and text grow with the image. Labels stay inside it and never cover one another: they move
    away on a leader line, and in a crowd they get shorter, then some are left out, which the caption
    says. What lies outside of the prompt's region is darker. A label in a script that no font has is
    drawn as its number, `#1`; where text was read, the text is the label. An object of a small score is
    drawn faintly. The caption is a bar below the image, whose height follows from the image's size; an
    image too small for text gets boxes and points only.

    Args:
        rgb: (height, width, 3) uint8 in RGB order; not changed.
        result: Objects in pixels of this image.

    Returns:
        A new (height + bar, width, 3) uint8 array in RGB order.
    """
    style, picture, scene, bar = _canvas(rgb)
    _darken_around(scene, result.request.prompt.region)
    objects = result.objects
    by_label = class_colours({found.label for found in objects}, result.request.prompt.targets)
    colours = [by_label[found.label] for found in objects]
    left_out = 0
    if objects:
        _draw_faintly(scene, objects, colours, style)
        sure = [index for index, found in enumerate(objects) if not is_faint(found)]
        _draw_boxes(scene, [objects[index] for index in sure], [colours[index] for index in sure], style)
        left_out = _draw_labels(scene, objects, colours, style)
    write_caption(bar, style.text, result.request.prompt.text, summary(result, left_out), result.text)
    return picture


@dataclass(frozen=True, slots=True)
class DrawnTrack:
    """One object that is followed, as it is drawn.

    Attributes:
        found: Where it is in the image, pixels; the number in its `id` stands in its label.
        trail_xy: Where its centre was before, oldest first, pixels.
        is_sure: Whether its lines are whole; else they are dashed.
    """

    found: DetectedObject
    trail_xy: Sequence[XY] = ()
    is_sure: bool = True


def annotate_tracks(
    rgb: NDArray[np.uint8], followed: Sequence[DrawnTrack], prompts: Sequence[Prompt], seen_age_s: float | None
) -> NDArray[np.uint8]:
    """Draw what is followed, as `annotate` draws what was found, with numbers, and traces below everything else.

    Args:
        rgb: (height, width, 3) uint8 in RGB order; not changed.
        followed: Objects in pixels of this image.
        prompts: What asks for them; the caption tells, and their targets have colours of their own.
        seen_age_s: How long before this image the model saw any of them last; None when it saw none.

    Returns:
        A new (height + bar, width, 3) uint8 array in RGB order.
    """
    style, picture, scene, bar = _canvas(rgb)
    targets = [target for prompt in prompts for target in prompt.targets]
    by_label = class_colours({each.found.label for each in followed}, targets)
    colours = [by_label[each.found.label] for each in followed]
    words = f"{len(followed)} followed"
    if followed:
        objects = [each.found for each in followed]
        for each, colour in zip(followed, colours, strict=True):
            _draw_trail(scene, each, colour, style)
        _draw_faintly(scene, objects, colours, style)
        for is_sure in (False, True):
            chosen = [n for n, each in enumerate(followed) if each.is_sure is is_sure and not is_faint(each.found)]
            draw = _draw_boxes if is_sure else _draw_dashed
            draw(scene, [objects[n] for n in chosen], [colours[n] for n in chosen], style)
        left_out = _draw_labels(scene, [_numbered(found) for found in objects], colours, style)
        words += f", {left_out} without label" if left_out else ""
    words += "" if seen_age_s is None else f", seen {seen_age_s:.1f} s before"
    write_caption(bar, style.text, ", ".join(prompt.text for prompt in prompts), words)
    return picture


def _canvas(
    rgb: NDArray[np.uint8],
) -> tuple[_Style, NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Return sizes, the picture, and its two parts: a copy of the image, and the bar below it."""
    height, width = rgb.shape[:2]
    style = _Style.of(width, height)
    picture = np.empty((height + caption_height_px(style.text, (width, height)), width, 3), np.uint8)
    scene = picture[:height]
    scene[:] = rgb
    return style, picture, scene, picture[height:]


def _numbered(found: DetectedObject) -> DetectedObject:
    if not found.id:
        return found
    number = f"#{_number(found)}"
    if found.text:
        return replace(found, text=f"{found.text} {number}")
    return replace(found, label=f"{found.label} {number}")


def _number(found: DetectedObject) -> str:
    """Return what is its own in an id such as `cups/7`."""
    return found.id.rpartition("/")[2]


def _draw_trail(scene: NDArray[np.uint8], each: DrawnTrack, rgb: RGB, style: _Style) -> None:
    """Draw where the centre was, thinner the longer ago."""
    left, top, right, bottom = each.found.xyxy or (each.found.point_xy or (0.0, 0.0)) * 2
    places = np.round([*each.trail_xy, ((left + right) / 2, (top + bottom) / 2)]).astype(np.int32)
    half = len(places) // 2
    for part, px in ((places[: half + 1], max(1, style.line // 2)), (places[half:], style.line)):
        cv2.polylines(scene, [part], False, rgb, px, cv2.LINE_AA)


def _draw_dashed(
    scene: NDArray[np.uint8], objects: Sequence[DetectedObject], colours: Sequence[RGB], style: _Style
) -> None:
    """Draw boxes and dots in stripes."""
    if objects:
        drawn = scene.copy()
        _draw_boxes(drawn, objects, colours, style)
        cv2.copyTo(drawn, _stripes(scene.shape[0], scene.shape[1], _DASH_LINES * style.line), scene)


@lru_cache(maxsize=4)
def _stripes(height: int, width: int, step_px: int) -> NDArray[np.uint8]:
    """Return (height, width) of 255 and 0 in slanting stripes, which dash lines of any direction but their own."""
    rows, columns = np.ogrid[:height, :width]
    stripes: NDArray[np.uint8] = np.where((rows + columns) // step_px % 3 < 2, 255, 0).astype(np.uint8)
    stripes.flags.writeable = False
    return stripes


def _darken_around(scene: NDArray[np.uint8], region: Region | None) -> None:
    """Show which part the model saw."""
    if region is None:
        return
    left, top, right, bottom = region.in_image((scene.shape[1], scene.shape[0]))
    seen = scene[top:bottom, left:right].copy()
    np.multiply(scene, _AROUND_SHARE, out=scene, casting="unsafe")
    scene[top:bottom, left:right] = seen


def _draw_faintly(
    scene: NDArray[np.uint8], objects: Sequence[DetectedObject], colours: Sequence[RGB], style: _Style
) -> None:
    """Draw what is hardly sure so that the image is seen through it, below everything else."""
    faint = [index for index, found in enumerate(objects) if is_faint(found)]
    if faint:
        drawn = scene.copy()
        _draw_boxes(drawn, [objects[index] for index in faint], [colours[index] for index in faint], style)
        cv2.addWeighted(drawn, _FAINT_SHARE, scene, 1 - _FAINT_SHARE, 0, dst=scene)


def _draw_boxes(
    scene: NDArray[np.uint8], objects: Sequence[DetectedObject], colours: Sequence[RGB], style: _Style
) -> None:
    """Draw boxes and dots with an edge, so that a red box on a red thing is seen."""
    last = np.array(scene.shape[1::-1]) - 1
    for is_box in (True, False):
        chosen = [index for index, found in enumerate(objects) if (found.xyxy is not None) is is_box]
        if not chosen:
            continue
        corners = [objects[index].xyxy or (objects[index].point_xy or (0.0, 0.0)) * 2 for index in chosen]
        # The far edges of a box lie on the last row and column of pixels.
        places = sv.Detections(xyxy=np.clip(np.array(corners, dtype=np.float64), 0, np.tile(last, 2)))
        # supervision paints in BGR order; giving it swapped colours saves turning the whole image twice.
        palette, edges = (
            sv.ColorPalette([sv.Color(*reversed(rgb)) for rgb in rgbs])
            for rgbs in ([colours[index] for index in chosen], [_edge(colours[index]) for index in chosen])
        )
        by_index = sv.ColorLookup.INDEX
        if is_box:
            for colour, px in ((edges, style.line + 2 * style.edge), (palette, style.line)):
                sv.BoxAnnotator(colour, px, by_index).annotate(scene, places)
        else:
            for colour, px in ((edges, style.dot + style.edge), (palette, style.dot)):
                sv.DotAnnotator(colour, px, sv.Position.CENTER, by_index).annotate(scene, places)


def _edge(rgb: RGB) -> RGB:
    return WHITE if contrast(rgb, BLACK) < _LEAST_EDGE_CONTRAST else BLACK


def _draw_labels(
    scene: NDArray[np.uint8], objects: Sequence[DetectedObject], colours: Sequence[RGB], style: _Style
) -> int:
    """Draw labels and return how many were left out."""
    height, width = scene.shape[:2]
    masks = _label_masks(objects, style, (width, height))
    shown = [index for index, mask in enumerate(masks) if mask is not None]
    if not shown:
        return len(objects)
    anchors = np.array([_extent(objects[index], style) for index in shown], dtype=np.float64)
    sizes = np.array([mask.shape[1::-1] for mask in masks if mask is not None])
    places = place_labels(anchors, sizes, (width, height))
    for index, anchor, size, place in zip(shown, anchors, sizes, places, strict=True):
        if place is not None and place.moved:
            _draw_leader(scene, anchor, place, size, colours[index], style)
    for index, (label_width, label_height), place in zip(shown, sizes, places, strict=True):
        mask = masks[index]
        if place is not None and mask is not None:
            picture = lettered(mask, text_colour(colours[index]), colours[index])
            scene[place.top : place.top + label_height, place.left : place.left + label_width] = picture
    return len(objects) - sum(place is not None for place in places)


def _extent(found: DetectedObject, style: _Style) -> tuple[float, float, float, float]:
    """Return what an object covers with its drawn lines."""
    if found.xyxy is not None:
        half = (style.line + 1) // 2
        left, top, right, bottom = found.xyxy
        return left - half, top - half, right + half + 1, bottom + half + 1
    x, y = found.point_xy or (0.0, 0.0)
    reach = style.dot + style.edge + 1
    return x - reach, y - reach, x + reach + 1, y + reach + 1


def _draw_leader(
    scene: NDArray[np.uint8],
    anchor: NDArray[np.float64],
    place: Place,
    size: NDArray[np.int64],
    rgb: RGB,
    style: _Style,
) -> None:
    start = np.array((place.left, place.top)) + size / 2
    label = np.array((place.left, place.top, place.left + size[0] - 1, place.top + size[1] - 1))
    end = np.clip(start, anchor[:2], anchor[2:])
    start = np.clip(end, label[:2], label[2:])
    ends = [tuple(int(v) for v in np.round(xy)) for xy in (start, end)]
    for colour, thickness in ((_edge(rgb), style.line + 2 * style.edge), (rgb, style.line)):
        cv2.line(scene, ends[0], ends[1], colour, thickness, cv2.LINE_AA)


def _label_masks(objects: Sequence[DetectedObject], style: _Style, area_wh: tuple[int, int]) -> list[Mask | None]:
    """Draw labels in the longest form that leaves most of the picture free, the best scored first."""
    room = _LABELS_SHARE * area_wh[0] * area_wh[1]
    widest = round(_WIDEST_LABEL * area_wh[0])
    masks: list[Mask | None] = []
    for detail, score in ((True, True), (False, True), (False, False)):
        masks = [
            _label_mask(found, number, style, widest, detail, score) for number, found in enumerate(objects, start=1)
        ]
        if sum(_area(mask) for mask in masks) <= room:
            return masks
    used = 0.0
    for index in sorted(range(len(objects)), key=lambda index: -(objects[index].score or 0.0)):
        used += _area(masks[index])
        masks[index] = masks[index] if used <= room else None
    return masks


def _area(mask: Mask | None) -> int:
    return 0 if mask is None else mask.size


def _label_mask(
    found: DetectedObject, number: int, style: _Style, width_px: int, detail: bool, score: bool
) -> Mask | None:
    """Draw name and score beside each other; apart from each other both are found among the masks kept."""
    height = line_height_px(style.text)
    pad, gap = (np.zeros((height, px), np.uint8) for px in (style.pad, max(2, style.text // 4)))
    after: list[Mask] = [pad]
    if score and found.score is not None:
        points = text_mask(f"{found.score:.2f}", style.text, width_px)
        after = [pad] if points is None else [gap, points, pad]
    name_px = width_px - style.pad - sum(part.shape[1] for part in after)
    if found.text and found.xyxy is not None and not detail:
        # A long text takes no more than its own place.
        name_px = min(name_px, max(_SHORTEST_TEXT * height, round(found.xyxy[2] - found.xyxy[0])))
    drawn = text_mask(plain(_words(found, detail)), style.text, name_px)
    if drawn is None:
        drawn = text_mask(f"#{_number(found) or number}", style.text, name_px)
    return None if drawn is None else np.hstack([pad, drawn, *after])


def _words(found: DetectedObject, detail: bool) -> str:
    """Return what is said of an object: its name, or the text it carries."""
    if found.text:
        text = found.text.replace("\n", " / ")
        return f"{found.label}: {text}" if detail and found.label == found.kind else text
    sub_label = found.attributes.get("sub_label", "") if detail else ""
    return f"{found.label} ({sub_label})" if sub_label else found.label
