"""Sizes and coordinates: how large the model sees an image, and where its pixels lie in ours."""

from __future__ import annotations

import math

from vlm_perception.errors import GeometryError
from vlm_perception.types import WH, XY, XYXY, CoordinateFrame, PixelBudget

# A patch is 14 pixels, and 2 x 2 patches merge into one image token.
CELL_PX = 28
MAX_ASPECT_RATIO = 200


def plan_resize(image_wh: WH, budget: PixelBudget, *, cell_px: int = CELL_PX) -> WH:
    """Plan the processed size by Qwen2.5-VL's own rule.

    Both sides become multiples of `cell_px` (Python's rounding), the area is brought under the
    budget's maximum by rounding down or over its minimum by rounding up, and the aspect ratio is
    kept as closely as that allows.

    Args:
        image_wh: Camera image's width and height, pixels.
        budget: Area bounds, pixels.
        cell_px: Side of the square one image token covers, pixels.

    Returns:
        Width and height of the processed image, pixels.

    Raises:
        GeometryError: A side is not positive, the aspect ratio is over 200, or the budget's
            minimum is above its maximum.
    """
    width, height = image_wh
    _check(width, height, budget)
    planned_h = round(height / cell_px) * cell_px
    planned_w = round(width / cell_px) * cell_px
    if planned_h * planned_w > budget.max_pixels:
        shrink = math.sqrt(height * width / budget.max_pixels)
        planned_h = max(cell_px, math.floor(height / shrink / cell_px) * cell_px)
        planned_w = max(cell_px, math.floor(width / shrink / cell_px) * cell_px)
    elif planned_h * planned_w < budget.min_pixels:
        grow = math.sqrt(budget.min_pixels / (height * width))
        planned_h = math.ceil(height * grow / cell_px) * cell_px
        planned_w = math.ceil(width * grow / cell_px) * cell_px
    return planned_w, planned_h


def intersect_budgets(budget: PixelBudget, allowed: PixelBudget) -> PixelBudget:
    """Return the areas that both allow; where they do not meet, `allowed` wins."""
    low = max(budget.min_pixels, allowed.min_pixels)
    high = min(budget.max_pixels, allowed.max_pixels)
    return PixelBudget(low, high) if low <= high else allowed


def image_scale(model_wh: WH, image_wh: WH, coordinates: CoordinateFrame) -> XY:
    """Return image pixels per unit of the model's coordinates, for x and y.

    Args:
        model_wh: Size of the processed image, pixels.
        image_wh: Size of the camera image, pixels.
        coordinates: "absolute" for pixels of the processed image, "relative_1000" for 0..1000.

    Raises:
        GeometryError: A side is not positive, or there is no such frame.
    """
    if coordinates not in ("absolute", "relative_1000"):
        raise GeometryError(f"coordinate frame {coordinates!r} is unknown: use 'absolute' or 'relative_1000'")
    frame_wh = model_wh if coordinates == "absolute" else (1000, 1000)
    if min(*frame_wh, *image_wh) <= 0:
        raise GeometryError(
            f"cannot map model image {model_wh} to camera image {image_wh} (width, height): "
            f"every side must be at least 1 pixel; check the image source"
        )
    return image_wh[0] / frame_wh[0], image_wh[1] / frame_wh[1]


def scale_xyxy(xyxy: XYXY, scale: XY) -> XYXY:
    """Multiply x by `scale[0]` and y by `scale[1]`."""
    x1, y1, x2, y2 = xyxy
    return x1 * scale[0], y1 * scale[1], x2 * scale[0], y2 * scale[1]


def order_corners(xyxy: XYXY) -> XYXY:
    """Return the same rectangle as (left, top, right, bottom), whichever corners were given."""
    x1, y1, x2, y2 = xyxy
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def clip_xyxy(xyxy: XYXY, image_wh: WH) -> XYXY | None:
    """Cut a box to the image.

    Args:
        xyxy: (left, top, right, bottom) in image pixels.
        image_wh: Width and height of the image, pixels.

    Returns:
        The part inside the image, or None when no area of it is inside.
    """
    left, top, right, bottom = xyxy
    width, height = image_wh
    left, right = max(0.0, left), min(float(width), right)
    top, bottom = max(0.0, top), min(float(height), bottom)
    return (left, top, right, bottom) if left < right and top < bottom else None


def _check(width: int, height: int, budget: PixelBudget) -> None:
    if min(width, height) <= 0:
        raise GeometryError(
            f"image size {width}x{height} is empty: both sides must be at least 1 pixel; check the image source"
        )
    ratio = max(width, height) / min(width, height)
    if ratio > MAX_ASPECT_RATIO:
        raise GeometryError(
            f"image size {width}x{height} has aspect ratio {ratio:.1f}, over the limit "
            f"{MAX_ASPECT_RATIO}; crop the image or use another camera mode"
        )
    if budget.min_pixels > budget.max_pixels:
        raise GeometryError(
            f"min_pixels {budget.min_pixels} is above max_pixels {budget.max_pixels}; "
            f"lower min_pixels or raise max_pixels"
        )
