"""Draw a `SceneSpec` at a camera size and read the truth off the drawn pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vlm_perception.scenes.backgrounds import draw_background
from vlm_perception.scenes.spec import RGB, Light, ObjectSpec, SceneSpec

_SHIFT = 4  # OpenCV's fixed-point drawing: 4 fractional bits
MIN_VISIBLE = 0.30
_SHADOW = 100  # owner numbers of shadows start here, those of objects at 1
_DARK: RGB = (45, 45, 50)
_WHITE: RGB = (245, 245, 245)


@dataclass(frozen=True, slots=True)
class Truth:
    """One thing that is really there, in image pixels.

    Attributes:
        label: Colour and kind ("red circle"), or "shadow".
        xyxy: Extent of its visible pixels.
        attributes: `pattern` of an object; `of` (the owner's label) of a shadow.
        points: Key points as (name, x, y): the wheels of a cart, the eyes of a face.
        text: What is written on it, and the extent of the letters; None where nothing is, or not all of it is seen.
    """

    label: str
    xyxy: tuple[float, float, float, float]
    attributes: dict[str, str] = field(default_factory=dict)
    points: tuple[tuple[str, float, float], ...] = ()
    text: tuple[str, tuple[float, float, float, float]] | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """A drawn scene: (h, w, 3) uint8 RGB pixels and what is in them."""

    rgb: NDArray[np.uint8]
    truths: tuple[Truth, ...]


class _Canvas:
    """Pixels and, beside them, which object owns each pixel."""

    def __init__(self, pixels: NDArray[np.float32]) -> None:
        self.rgb = np.clip(pixels, 0, 255).astype(np.uint8)
        self.owner = np.zeros(pixels.shape[:2], np.uint8)
        self.drawn_area: dict[int, int] = {}
        self.letters: dict[int, NDArray[np.bool_]] = {}

    def polygon(self, points_xy: NDArray[np.float64], rgb: RGB, owner: int | None = None) -> None:
        fixed = np.round(points_xy * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(self.rgb, [fixed], rgb, lineType=cv2.LINE_AA, shift=_SHIFT)
        if owner is not None:
            self.claim(fixed, owner)

    def claim(self, fixed: NDArray[np.int32], owner: int) -> None:
        cv2.fillPoly(self.owner, [fixed], owner, lineType=cv2.LINE_8, shift=_SHIFT)

    def shade(self, points_xy: NDArray[np.float64], owner: int, strength: float) -> None:
        """Darken the polygon, as a cast shadow does."""
        fixed = np.round(points_xy * (1 << _SHIFT)).astype(np.int32)
        self.claim(fixed, owner)
        mask = self.owner == owner
        self.rgb[mask] = (self.rgb[mask] * (1 - strength)).astype(np.uint8)


def render(spec: SceneSpec, image_wh: tuple[int, int]) -> Scene:
    """Draw a scene.

    Args:
        spec: The scene.
        image_wh: Camera image size in pixels; each side at most 16000.

    Returns:
        Pixels and truths. Boxes are the extents of the *visible* pixels; an object of which less
        than 30 % can be seen is left out. Shadows follow after all objects.
    """
    canvas = _Canvas(draw_background(spec.background, image_wh))
    for index, item in enumerate(spec.objects):
        if item.shadow:
            canvas.shade(_shadow_polygon(item, image_wh), _SHADOW + index, 0.62)
            canvas.drawn_area[_SHADOW + index] = int(np.count_nonzero(canvas.owner == _SHADOW + index))
    points: list[tuple[tuple[str, float, float], ...]] = []
    for index, item in enumerate(spec.objects):
        points.append(_draw_object(canvas, item, index + 1, image_wh))
        canvas.drawn_area[index + 1] = int(np.count_nonzero(canvas.owner == index + 1))
    truths = [
        Truth(
            item.label,
            box,
            {"pattern": item.pattern},
            _seen(points[index], canvas.owner, index + 1),
            _legible(canvas, item.text, index + 1),
        )
        for index, item in enumerate(spec.objects)
        if (box := _visible_box(canvas, index + 1)) is not None
    ]
    truths += [
        Truth("shadow", box, {"of": item.label})
        for index, item in enumerate(spec.objects)
        if item.shadow and (box := _visible_box(canvas, _SHADOW + index)) is not None
    ]
    return Scene(_lit(canvas.rgb, spec), tuple(truths))


def cut_out(item: ObjectSpec, long_px: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draw one object alone, as large as its picture.

    Args:
        item: Where it stands, how it is turned and whether it has a shadow does not count.
        long_px: Longer side of the picture.

    Returns:
        (h, w, 3) uint8 RGB pixels, and (h, w) whether each is the object's.
    """
    wide = item.aspect <= 1
    image_wh = (long_px, round(long_px * item.aspect)) if wide else (round(long_px / item.aspect), long_px)
    side = long_px / math.sqrt(image_wh[0] * image_wh[1])
    alone = replace(item, cx=0.5, cy=0.5, side=side, angle_deg=0.0, shadow=0)
    canvas = _Canvas(np.full((image_wh[1], image_wh[0], 3), item.rgb, np.float32))
    _draw_object(canvas, alone, 1, image_wh)
    return canvas.rgb, canvas.owner == 1


def _draw_object(
    canvas: _Canvas, item: ObjectSpec, owner: int, image_wh: tuple[int, int]
) -> tuple[tuple[str, float, float], ...]:
    """Draw one object and return its key points."""
    half_w, half_h = item.half_wh(image_wh)
    cx, cy = item.cx * image_wh[0], item.cy * image_wh[1]
    if item.kind == "cart":
        wheels = _draw_cart(canvas, item.rgb, owner, (cx, cy, half_w, half_h))
        if item.text:
            _draw_letters(canvas, item, owner, (cx, cy, half_w, half_h))
        return wheels
    outline = _outline(item, cx, cy, half_w, half_h)
    canvas.polygon(outline, item.rgb, owner)
    if item.pattern == "striped":
        _stripe(canvas, owner, item.rgb, 2 * min(half_w, half_h) / 5)
    return _draw_face(canvas, cx, cy, half_w) if item.kind == "face" else ()


def _outline(item: ObjectSpec, cx: float, cy: float, half_w: float, half_h: float) -> NDArray[np.float64]:
    """Polygon (n, 2) of the outline, image pixels."""
    if item.kind == "square":
        unit = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], np.float64)
    elif item.kind == "triangle":
        unit = np.array([(0, -1), (1, 1), (-1, 1)], np.float64)
    else:
        turn = np.linspace(0, 2 * math.pi, 48, endpoint=False)
        unit = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    angle = math.radians(item.angle_deg)
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    placed: NDArray[np.float64] = (unit * (half_w, half_h)) @ rotation.T + (cx, cy)
    return placed


def _disc(cx: float, cy: float, radius_x: float, radius_y: float) -> NDArray[np.float64]:
    turn = np.linspace(0, 2 * math.pi, 32, endpoint=False)
    return np.stack([cx + radius_x * np.cos(turn), cy + radius_y * np.sin(turn)], axis=1)


def _draw_cart(
    canvas: _Canvas, rgb: RGB, owner: int, place: tuple[float, float, float, float]
) -> tuple[tuple[str, float, float], ...]:
    cx, cy, half_w, half_h = place
    radius = half_w * 0.30
    top, floor = cy - half_h, cy + half_h - radius
    body = np.array([(cx - half_w, top), (cx + half_w, top), (cx + half_w * 0.8, floor), (cx - half_w * 0.8, floor)])
    canvas.polygon(body, rgb, owner)
    wheels = []
    for x in (cx - half_w * 0.52, cx + half_w * 0.52):
        canvas.polygon(_disc(x, floor, radius, radius), _DARK, owner)
        canvas.polygon(_disc(x, floor, radius * 0.4, radius * 0.4), (190, 190, 190))
        wheels.append(("wheel", x, floor))
    return tuple(wheels)


def _draw_letters(canvas: _Canvas, item: ObjectSpec, owner: int, place: tuple[float, float, float, float]) -> None:
    """Write on the body of a cart, as large as fits between its top and its wheels."""
    cx, cy, half_w, half_h = place
    font, top, floor = cv2.FONT_HERSHEY_DUPLEX, cy - half_h, cy + half_h - half_w * 0.6
    (wide, high), _ = cv2.getTextSize(item.text, font, 1.0, 1)
    scale = min(1.5 * half_w / wide, 0.8 * (floor - top) / high)
    thick = max(1, round(2.2 * scale))
    start = round(cx - scale * wide / 2), round((top + floor) / 2 + scale * high / 2)
    ink = np.zeros(canvas.owner.shape, np.uint8)
    cv2.putText(ink, item.text, start, font, scale, 255, thick, cv2.LINE_AA)
    ink[canvas.owner != owner] = 0
    light = float(np.dot(item.rgb, (0.299, 0.587, 0.114))) > 110
    at = np.nonzero(ink)
    share = (ink[at] / 255.0)[:, None]
    canvas.rgb[at] = (canvas.rgb[at] * (1 - share) + np.asarray(_DARK if light else _WHITE) * share).astype(np.uint8)
    canvas.letters[owner] = ink > 127


def _legible(canvas: _Canvas, text: str, owner: int) -> tuple[str, tuple[float, float, float, float]] | None:
    """Return what is written on an object with the extent of its ink, where nothing covers any of it."""
    ink = canvas.letters.get(owner)
    if ink is None or (canvas.owner[ink] != owner).any():
        return None
    columns, rows = np.flatnonzero(ink.any(axis=0)), np.flatnonzero(ink.any(axis=1))
    # A letter that the border of the image cuts is another letter.
    height, width = ink.shape
    if not columns.size or columns[0] == 0 or rows[0] == 0 or columns[-1] == width - 1 or rows[-1] == height - 1:
        return None
    return text, (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


def _draw_face(canvas: _Canvas, cx: float, cy: float, half: float) -> tuple[tuple[str, float, float], ...]:
    eyes = []
    for x in (cx - half * 0.38, cx + half * 0.38):
        canvas.polygon(_disc(x, cy - half * 0.2, half * 0.22, half * 0.24), _WHITE)
        canvas.polygon(_disc(x, cy - half * 0.2, half * 0.10, half * 0.11), _DARK)
        eyes.append(("eye", x, cy - half * 0.2))
    canvas.polygon(_disc(cx, cy + half * 0.45, half * 0.42, half * 0.12), _DARK)
    return tuple(eyes)


def _stripe(canvas: _Canvas, owner: int, rgb: RGB, period_px: float) -> None:
    ys, xs = np.nonzero(canvas.owner == owner)
    band = ((xs + ys) / max(2.0, period_px)).astype(np.int32) % 2 == 1
    lighter = (np.asarray(rgb, np.float32) * 0.35 + 160).clip(0, 255).astype(np.uint8)
    canvas.rgb[ys[band], xs[band]] = lighter


def _shadow_polygon(item: ObjectSpec, image_wh: tuple[int, int]) -> NDArray[np.float64]:
    half_w, half_h = item.half_wh(image_wh)
    cx, cy = item.cx * image_wh[0], item.cy * image_wh[1]
    return _disc(cx + item.shadow * half_w * 1.25, cy + half_h * 0.80, half_w * 0.85, half_h * 0.24)


def _visible_box(canvas: _Canvas, owner: int) -> tuple[float, float, float, float] | None:
    mask = canvas.owner == owner
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not columns.size:
        return None
    whole = canvas.drawn_area.get(owner)
    if whole and np.count_nonzero(mask) < MIN_VISIBLE * whole:
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _seen(
    points: tuple[tuple[str, float, float], ...], owner_map: NDArray[np.uint8], owner: int
) -> tuple[tuple[str, float, float], ...]:
    """Key points that lie inside the image on a pixel their object still owns."""
    height, width = owner_map.shape
    return tuple(
        (name, x, y)
        for name, x, y in points
        if 0 <= int(x) < width and 0 <= int(y) < height and owner_map[int(y), int(x)] == owner
    )


def _lit(rgb: NDArray[np.uint8], spec: SceneSpec) -> NDArray[np.uint8]:
    """Apply light, blur and sensor noise."""
    light: Light = spec.light
    height, width = rgb.shape[:2]
    across = np.linspace(light.left, light.right, width, dtype=np.float32)
    down = np.linspace(light.top, light.bottom, height, dtype=np.float32)
    pixels = rgb * (down[:, None] * across[None, :])[..., None]
    if light.blur:
        pixels = cv2.GaussianBlur(pixels, (0, 0), light.blur * math.sqrt(width * height) / 400)
    rng = np.random.default_rng(spec.background.seed + 1)
    tile = rng.normal(0.0, light.noise, (128, 160, 3)).astype(np.float32)
    pixels += np.tile(tile, (-(-height // 128), -(-width // 160), 1))[:height, :width]
    return np.clip(pixels, 0, 255).astype(np.uint8)
