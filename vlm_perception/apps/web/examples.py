"""What can be asked, an example each, with a picture drawn here: no download, the same every time."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vlm_perception.engines.model_card import read_learned, read_limits
from vlm_perception.frames.video_writing import write_video
from vlm_perception.scenes import Background, Light, ObjectSpec, Scene, SceneSpec, render
from vlm_perception.scenes.clips import DrawnClip
from vlm_perception.scenes.spec import RGB

FILM_S, _FILM_RATE_HZ = 4.0, 10
_WH = (640, 480)
# Of it one thing moves.
_FILM_SEED = 31
_DAYLIGHT = Light(left=1.0, right=1.05, top=1.05, bottom=0.95, noise=2.0, blur=0.0)
_WALL = Background("plain", (226, 222, 214), (206, 202, 196), seed=3)
_SKY = Background("gradient", (214, 220, 228), (170, 178, 190), seed=3)
_WOOD = Background("planks", (206, 196, 184), (176, 164, 150), seed=5)
_RGB: dict[str, RGB] = {"red": (217, 33, 39), "blue": (41, 91, 217), "yellow": (242, 222, 36), "green": (40, 158, 60)}
_RGB |= {"orange": (242, 126, 24)}


@dataclass(frozen=True, slots=True)
class Example:
    """One example of the page.

    Attributes:
        name: What it shows, in a few words.
        prompt: What is asked, in a wording that needs no format.
        scene: The picture with what is really in it.
        needs: What a model that knows little must have learned for it, as its card names that (`words`); empty for
            boxes, points and numbers.
        film: What is asked about instead, and of which `scene` is the last picture; None for the picture alone.
    """

    name: str
    prompt: str
    scene: Scene
    needs: str = ""
    film: DrawnClip | None = None


def examples_for(model: str) -> tuple[Example, ...]:
    """Choose them for a model: one whose card says that it knows little is asked only what that says it learned.

    Args:
        model: Hub id, folder of a checkpoint, or URL of a server.
    """
    card = Path(os.path.expanduser(model))
    if not read_limits(card):
        return examples()
    learned = read_learned(card)
    return tuple(example for example in examples() if not example.needs or example.needs in learned)


def examples() -> tuple[Example, ...]:
    """Draw them: few large objects, which a tiny model sees as well as a real one."""
    shapes = _draw(
        _SKY,
        _object("striped red circle", 0.25, 0.35, 0.34),
        _object("plain blue square", 0.72, 0.32, 0.30),
        _object("striped yellow triangle", 0.55, 0.75, 0.30),
    )
    carts = _draw(
        _WOOD,
        _object("plain blue cart", 0.25, 0.30, 0.36),
        _object("plain red cart", 0.72, 0.70, 0.36),
        _object("plain green circle", 0.75, 0.25, 0.24),
    )
    parts = _draw(_WALL, _object("plain red cart", 0.33, 0.40, 0.38), _object("plain yellow face", 0.76, 0.62, 0.32))
    shadow = _draw(
        _WALL, _object("plain orange square", 0.30, 0.50, 0.30), _object("plain blue circle", 0.70, 0.42, 0.34, -1)
    )
    pile = _draw(
        _SKY,
        _object("plain blue square", 0.36, 0.70, 0.36),
        _object("plain yellow circle", 0.36, 0.352, 0.24),
        _object("plain red circle", 0.78, 0.64, 0.24),
    )
    faces = _draw(
        _WALL,
        _object("plain yellow face", 0.24, 0.34, 0.32),
        _object("plain green face", 0.74, 0.36, 0.30),
        _object("plain red cart", 0.50, 0.78, 0.30),
    )
    lettered = _draw(
        _WOOD,
        replace(_object("plain blue cart", 0.28, 0.32, 0.42), text="A7"),
        replace(_object("plain red cart", 0.70, 0.70, 0.42), text="K9"),
    )
    film = DrawnClip(np.random.default_rng(_FILM_SEED), _WH, FILM_S)
    return (
        Example("Attributes", "each object, and describe it", shapes),
        Example("Description", "the red cart", carts),
        Example("Count", "how many carts are there?", carts),
        Example("Key points", "point to the wheels of the red cart", parts),
        Example("Relations", "the shadow of the blue circle", shadow),
        Example("Not there", "the yellow face", carts),
        Example("Chinese", "红色小车在哪里？", carts),
        Example("On top", "the circle on top of the blue square", pile, "relations"),
        Example("In words", "describe the scene", pile, "words"),
        Example("Yes or no", "is there a green face?", faces, "yes or no"),
        Example("Reasoning", "how many eyes do the faces have?", faces, "relations"),
        Example("Letters", "read: labels on the carts", lettered, "letters"),
        Example("Video", "watch: what happened?", film.at(FILM_S), "clips", film),
    )


def write_film(path: Path, film: DrawnClip) -> None:
    """Write the film of an example as an MP4.

    Raises:
        OutputError: It cannot be written.
    """
    writer = write_video(path)
    for index in range(round(FILM_S * _FILM_RATE_HZ) + 1):
        writer.send((film.at(index / _FILM_RATE_HZ).rgb, index / _FILM_RATE_HZ))
    writer.close()


def _draw(background: Background, *objects: ObjectSpec) -> Scene:
    return render(SceneSpec(objects, background, _DAYLIGHT), _WH)


def _object(what: str, cx: float, cy: float, side: float, shadow: int = 0) -> ObjectSpec:
    pattern, colour, kind = what.split()
    aspect = 0.75 if kind == "cart" else 1.0
    return ObjectSpec(kind, colour, _RGB[colour], pattern, cx, cy, side, aspect, angle_deg=0.0, shadow=shadow)
