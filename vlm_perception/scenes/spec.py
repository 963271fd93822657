"""What stands where in a scene, in fractions of the image, before anything is drawn.

Coordinates `cx`, `cy` are fractions of the image width and height. `side` is a fraction of the
image side, by which this package means sqrt(width * height), so that an object keeps its shape in
every aspect ratio.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

RGB = tuple[int, int, int]

# Hue in degrees, saturation and value; every drawn colour is jittered around these.
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (358.0, 0.85, 0.85),
    "orange": (28.0, 0.90, 0.95),
    "yellow": (54.0, 0.85, 0.95),
    "green": (130.0, 0.75, 0.62),
    "blue": (222.0, 0.78, 0.85),
    "purple": (283.0, 0.65, 0.70),
}
KINDS = ("circle", "square", "triangle", "cart", "face")
PATTERNS = ("plain", "striped")
MIN_SIDE, MAX_SIDE = 0.04, 0.50
# Smaller than this, wheels, eyes and stripes would be less than a pixel or two for the tiny model.
MIN_DETAILED_SIDE = 0.13
# Crowded scenes: however many objects are wanted, the largest may be this large.
MIN_LARGEST_SIDE = 0.22
MAX_OVERLAP = 0.30
# A cart this large has room for letters that the tiny model can read, about 9 of its pixels high.
MIN_LETTERED_SIDE = 0.18
# Without those that look like another, such as O and 0.
LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
MAX_LETTERS = 3


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """One object.

    Attributes:
        kind: One of `KINDS`.
        colour: A name of `COLOURS`.
        rgb: The exact colour drawn.
        pattern: One of `PATTERNS`.
        cx: Centre, fraction of the image width.
        cy: Centre, fraction of the image height.
        side: Longer side, fraction of sqrt(width * height).
        aspect: Height over width of the outline.
        angle_deg: Rotation of squares and triangles, degrees.
        shadow: -1 for a shadow on the left, 1 on the right, 0 for none.
        text: What is written on it, of `LETTERS`; carts only.
    """

    kind: str
    colour: str
    rgb: RGB
    pattern: str
    cx: float
    cy: float
    side: float
    aspect: float
    angle_deg: float
    shadow: int
    text: str = ""

    @property
    def label(self) -> str:
        """Colour and kind, such as "red circle"."""
        return f"{self.colour} {self.kind}"

    def half_wh(self, image_wh: tuple[int, int]) -> tuple[float, float]:
        """Half width and half height of the unrotated outline, image pixels."""
        long_px = self.side * math.sqrt(image_wh[0] * image_wh[1]) / 2
        return (long_px, long_px * self.aspect) if self.aspect <= 1 else (long_px / self.aspect, long_px)


@dataclass(frozen=True, slots=True)
class Background:
    """What lies behind the objects; `photo` (h, w, 3) uint8 RGB is used by kind "photo" only."""

    kind: str
    rgb: RGB
    rgb2: RGB
    seed: int
    photo: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class Light:
    """Brightness left/top and right/bottom, sensor noise (8-bit standard deviation), blur."""

    left: float
    right: float
    top: float
    bottom: float
    noise: float
    blur: float


@dataclass(frozen=True, slots=True)
class SceneSpec:
    """Everything needed to draw one scene again, at any size."""

    objects: tuple[ObjectSpec, ...]
    background: Background
    light: Light


@dataclass(frozen=True, slots=True)
class Variety:
    """How varied random scenes are; the defaults are the scenes that models/tiny was trained on.

    Attributes:
        min_side: The smallest object, fraction of the image side.
        min_detailed_side: The smallest one that may have wheels, eyes, stripes or a shadow.
        shadow_share: Of objects large enough, how many cast a shadow.
        photo_share: Of the backgrounds, where there are photographs.
        lettered_share: Of the carts large enough, how many have letters on them; in half as many scenes one such cart
            is there on purpose.
        arranged_share: Of scenes with room for it, in how many things stand in a relation: one inside or on top of
            another, or all but one alike.
    """

    min_side: float = MIN_SIDE
    min_detailed_side: float = MIN_DETAILED_SIDE
    shadow_share: float = 0.22
    photo_share: float = 0.35
    lettered_share: float = 0.0
    arranged_share: float = 0.0


PLAIN = Variety()


def random_scene(
    rng: np.random.Generator,
    image_wh: tuple[int, int],
    n_objects: int | None = None,
    photos: Sequence[NDArray[np.uint8]] = (),
    max_objects: int = 6,
    variety: Variety = PLAIN,
) -> SceneSpec:
    """Invent a scene.

    Args:
        rng: Source of chance; the same state gives the same scene.
        image_wh: Camera image size in pixels, needed for the aspect ratio.
        n_objects: How many objects to try to place; None draws 1 to `max_objects`.
        photos: (h, w, 3) uint8 RGB pictures that may serve as backgrounds.
        max_objects: Upper end of the drawn number.
        variety: How varied it is.
    """
    wanted = int(rng.integers(1, max_objects + 1)) if n_objects is None else n_objects
    largest = MAX_SIDE if wanted <= 2 else max(MIN_LARGEST_SIDE, MAX_SIDE - 0.04 * (wanted - 2))
    objects: list[ObjectSpec] = []
    alike: tuple[str, str] | None = None
    if variety.arranged_share and wanted >= 2 and rng.random() < variety.arranged_share:
        if wanted >= 3 and rng.random() < 0.4:
            alike = str(rng.choice(KINDS[:3])), str(rng.choice(list(COLOURS)))
        else:
            objects += _pair(rng, image_wh, variety)
    while len(objects) < wanted:
        lettered = False
        if variety.lettered_share and not objects and alike is None:
            lettered = bool(rng.random() < variety.lettered_share / 2)
        for _attempt in range(25):
            candidate = _random_object(rng, image_wh, largest, variety)
            if lettered:
                candidate = _lettered_cart(rng, candidate, image_wh)
            elif alike is not None:
                candidate = _odd_or_alike(rng, candidate, alike, odd=not objects)
            if all(_overlap(candidate, other, image_wh) <= MAX_OVERLAP for other in objects):
                objects.append(candidate)
                break
        else:
            wanted -= 1
    if alike is not None:
        # The odd one was placed first, and nothing may be known by who lies on top.
        objects = [objects[int(place)] for place in rng.permutation(len(objects))]
    return SceneSpec(tuple(objects), _random_background(rng, photos, variety), _random_light(rng))


def _pair(rng: np.random.Generator, image_wh: tuple[int, int], variety: Variety) -> list[ObjectSpec]:
    """One thing, and a second one inside it or on top of it."""
    root = math.sqrt(image_wh[0] * image_wh[1])
    inside = rng.random() < 0.5
    first, second = (replace(_random_object(rng, image_wh, 0.4, variety), angle_deg=0.0, shadow=0) for _ in range(2))
    colour = str(rng.choice([name for name in COLOURS if name != first.colour]))
    second = replace(second, colour=colour, rgb=_jittered(rng, colour))
    if inside:
        side = float(rng.uniform(0.3, 0.45))
        first = replace(first, kind=str(rng.choice(KINDS[:2])), pattern="plain", text="", side=side)
        small = side * float(rng.uniform(0.28, 0.42))
        if small < variety.min_detailed_side:
            second = replace(second, kind=str(rng.choice(KINDS[:3])), pattern="plain")
        second = replace(second, side=small, text="")
    else:
        first = replace(first, kind="square", text="", side=float(rng.uniform(0.2, 0.35)))
        second = replace(second, side=float(rng.uniform(0.6, 1.0)) * first.side)
        if second.side < variety.min_detailed_side:
            second = replace(second, kind=str(rng.choice(KINDS[:3])), pattern="plain")
        if second.side < MIN_LETTERED_SIDE:
            second = replace(second, text="")
    half_w, half_h = first.half_wh(image_wh)
    above = 0.0 if inside else 2 * second.half_wh(image_wh)[1]
    low_x, low_y = min(0.5, half_w / image_wh[0]), half_h / image_wh[1]
    first = replace(
        first,
        cx=float(rng.uniform(low_x, 1 - low_x)),
        cy=float(rng.uniform(min(1 - low_y, low_y + above / image_wh[1]), 1 - low_y)),
    )
    slide_px = float(rng.uniform(-0.12, 0.12)) * first.side * root
    drop_px = float(rng.uniform(-0.1, 0.1)) * first.side * root if inside else -half_h - above / 2
    return [first, replace(second, cx=first.cx + slide_px / image_wh[0], cy=first.cy + drop_px / image_wh[1])]


def _odd_or_alike(rng: np.random.Generator, item: ObjectSpec, alike: tuple[str, str], *, odd: bool) -> ObjectSpec:
    """Make an object one of those that are alike in kind and colour, or the one that is neither."""
    kind, colour = alike
    if odd:
        kind = str(rng.choice([name for name in KINDS[:3] if name != kind]))
        colour = str(rng.choice([name for name in COLOURS if name != colour]))
    angle_deg = item.angle_deg if kind in ("square", "triangle") else 0.0
    return replace(item, kind=kind, colour=colour, rgb=_jittered(rng, colour), angle_deg=angle_deg, text="")


def _random_object(rng: np.random.Generator, image_wh: tuple[int, int], largest: float, variety: Variety) -> ObjectSpec:
    side = variety.min_side + (largest - variety.min_side) * float(rng.random()) ** 1.25
    detailed = side >= variety.min_detailed_side
    kinds = KINDS if detailed else KINDS[:3]
    kind = str(rng.choice(kinds))
    colour = str(rng.choice(list(COLOURS)))
    striped = detailed and kind in KINDS[:3] and rng.random() < 0.3
    aspect = {"cart": 0.75, "face": 1.0}.get(kind, float(rng.uniform(0.8, 1.25)))
    root = math.sqrt(image_wh[0] * image_wh[1])
    reach_x, reach_y = side / 2 * root / image_wh[0], side / 2 * root / image_wh[1]
    # One object in eight may be cut by the border of the image.
    slack = 0.6 if side > 0.1 and rng.random() < 0.125 else 1.0
    low_x, low_y = min(0.5, reach_x * slack), min(0.5, reach_y * slack)
    item = ObjectSpec(
        kind=kind,
        colour=colour,
        rgb=_jittered(rng, colour),
        pattern="striped" if striped else "plain",
        cx=float(rng.uniform(low_x, 1 - low_x)),
        cy=float(rng.uniform(low_y, 1 - low_y)),
        side=side,
        aspect=aspect,
        angle_deg=float(rng.uniform(-15, 15)) if kind in ("square", "triangle") else 0.0,
        shadow=int(rng.choice((-1, 1))) if detailed and rng.random() < variety.shadow_share else 0,
    )
    if (
        variety.lettered_share
        and kind == "cart"
        and side >= MIN_LETTERED_SIDE
        and rng.random() < variety.lettered_share
    ):
        return replace(item, text=_letters(rng))
    return item


def _lettered_cart(rng: np.random.Generator, item: ObjectSpec, image_wh: tuple[int, int]) -> ObjectSpec:
    """Make an object a cart with letters on it, all of it in the image."""
    side = float(rng.uniform(MIN_LETTERED_SIDE, 0.4))
    item = replace(item, kind="cart", pattern="plain", side=side, aspect=0.75, angle_deg=0.0, text=_letters(rng))
    x, y = (half / size for half, size in zip(item.half_wh(image_wh), image_wh, strict=True))
    return replace(item, cx=float(rng.uniform(x, 1 - x)), cy=float(rng.uniform(y, 1 - y)))


def _letters(rng: np.random.Generator) -> str:
    return "".join(rng.choice(list(LETTERS), int(rng.integers(1, MAX_LETTERS + 1))))


def _overlap(a: ObjectSpec, b: ObjectSpec, image_wh: tuple[int, int]) -> float:
    """Intersection over the smaller outline's area."""
    (aw, ah), (bw, bh) = a.half_wh(image_wh), b.half_wh(image_wh)
    ax, ay, bx, by = a.cx * image_wh[0], a.cy * image_wh[1], b.cx * image_wh[0], b.cy * image_wh[1]
    width = min(ax + aw, bx + bw) - max(ax - aw, bx - bw)
    height = min(ay + ah, by + bh) - max(ay - ah, by - bh)
    return max(0.0, width) * max(0.0, height) / (4 * min(aw * ah, bw * bh))


def _jittered(rng: np.random.Generator, colour: str) -> RGB:
    hue, saturation, value = COLOURS[colour]
    return _rgb(
        hue + rng.uniform(-7, 7),
        saturation * rng.uniform(0.85, 1.1),
        value * rng.uniform(0.85, 1.1),
    )


def _rgb(hue_deg: float, saturation: float, value: float) -> RGB:
    red, green, blue = colorsys.hsv_to_rgb((hue_deg % 360) / 360, min(1.0, saturation), min(1.0, value))
    return round(red * 255), round(green * 255), round(blue * 255)


def _random_background(rng: np.random.Generator, photos: Sequence[NDArray[np.uint8]], variety: Variety) -> Background:
    procedural = ("plain", "gradient", "clouds", "grain", "planks", "tiles")
    use_photo = bool(photos) and rng.random() < variety.photo_share
    # Low saturation: a strongly coloured wall would make "the red object" a matter of taste.
    first, second = (_rgb(rng.uniform(0, 360), rng.uniform(0, 0.22), rng.uniform(0.25, 0.98)) for _ in range(2))
    return Background(
        kind="photo" if use_photo else str(rng.choice(procedural)),
        rgb=first,
        rgb2=second,
        seed=int(rng.integers(2**31)),
        photo=photos[int(rng.integers(len(photos)))] if use_photo else None,
    )


def _random_light(rng: np.random.Generator) -> Light:
    left, right, top, bottom = (float(v) for v in rng.uniform(0.8, 1.12, 4))
    return Light(left, right, top, bottom, float(rng.uniform(0, 7)), float(rng.choice((0.0, 0.0, 0.0, 0.8))))
