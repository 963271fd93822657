"""Where the coordinates that a model writes lie in the camera image."""

from __future__ import annotations

from vlm_perception.errors import GeometryError
from vlm_perception.types import WH, XY, XYXY, CoordinateFrame


def coordinate_wh(model_wh: WH, coordinates: CoordinateFrame) -> WH:
    """Return the largest x and y that a model writes.

    Args:
        model_wh: Size of the processed image, pixels.
        coordinates: "absolute" for pixels of the processed image, "relative_1000" for 0..1000.

    Raises:
        GeometryError: There is no such frame.
    """
    if coordinates not in ("absolute", "relative_1000"):
        raise GeometryError(f"coordinate frame {coordinates!r} is unknown: use 'absolute' or 'relative_1000'")
    return model_wh if coordinates == "absolute" else (1000, 1000)


def image_scale(model_wh: WH, image_wh: WH, coordinates: CoordinateFrame) -> XY:
    """Return image pixels per unit of the model's coordinates, for x and y.

    Args:
        model_wh: Size of the processed image, pixels.
        image_wh: Size of the camera image, pixels.
        coordinates: "absolute" for pixels of the processed image, "relative_1000" for 0..1000.

    Raises:
        GeometryError: A side is not positive, or there is no such frame.
    """
    frame_wh = coordinate_wh(model_wh, coordinates)
    if min(*frame_wh, *image_wh) <= 0:
        raise GeometryError(
            f"cannot map model image {model_wh} to camera image {image_wh} (width, height): "
            f"every side must be at least 1 pixel; check the image source"
        )
    return image_wh[0] / frame_wh[0], image_wh[1] / frame_wh[1]


def box_in_image(corners: XYXY, scale: XY, image_wh: WH) -> XYXY | None:
    """Map a box to image pixels and cut it to the image.

    Args:
        corners: Two opposite corners as the model wrote them, in any order.
        scale: Image pixels per unit of the model's coordinates.
        image_wh: Width and height of the image, pixels.

    Returns:
        The part inside the image, or None when no area of it is inside.
    """
    x1, y1, x2, y2 = corners
    left, right = max(0.0, min(x1, x2) * scale[0]), min(float(image_wh[0]), max(x1, x2) * scale[0])
    top, bottom = max(0.0, min(y1, y2) * scale[1]), min(float(image_wh[1]), max(y1, y2) * scale[1])
    return (left, top, right, bottom) if left < right and top < bottom else None
