"""Where the coordinates that a model writes lie in the camera image."""

from __future__ import annotations

from vlm_perception.errors import GeometryError
from vlm_perception.types import WH, XY, XYXY, CoordinateFrame


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
