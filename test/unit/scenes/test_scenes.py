"""Drawn scenes: the truth must be what the pixels show."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_perception.scenes import (
    Background,
    Light,
    MovingScene,
    ObjectSpec,
    SceneSpec,
    Variety,
    random_scene,
    render,
)
from vlm_perception.scenes.relations import RELATIONS, odd_one_out
from vlm_perception.scenes.spec import LETTERS

CALM = Light(1.0, 1.0, 1.0, 1.0, 0.0, 0.0)
WALL = Background("plain", (200, 200, 200), (200, 200, 200), seed=0)


def thing(kind: str = "square", **changes: object) -> ObjectSpec:
    """A plain blue thing in the middle, a fifth of the image side."""
    values: dict[str, object] = {
        "kind": kind, "colour": "blue", "rgb": (40, 80, 220), "pattern": "plain", "cx": 0.5, "cy": 0.5,
        "side": 0.2, "aspect": 1.0, "angle_deg": 0.0, "shadow": 0,
    }  # fmt: skip
    return ObjectSpec(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["circle", "square", "triangle", "cart", "face"])
def test_box_is_the_extent_of_the_drawn_pixels(kind: str) -> None:
    """Every pixel that differs from the empty wall lies in the box, and the box touches them."""
    scene = render(SceneSpec((thing(kind),), WALL, CALM), (320, 240))
    changed = np.abs(scene.rgb.astype(int) - 200).max(axis=2) > 60
    ys, xs = np.nonzero(changed)
    left, top, right, bottom = scene.truths[0].xyxy
    # Antialiased borders may be off by one pixel.
    assert np.allclose((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1), (left, top, right, bottom), atol=1.5)


def test_a_hidden_thing_is_not_a_truth() -> None:
    """What is behind something else cannot be asked for."""
    hidden, cover = thing("circle", side=0.1), thing("square", side=0.3, colour="red", rgb=(220, 30, 30))
    scene = render(SceneSpec((hidden, cover), WALL, CALM), (320, 240))
    assert [t.label for t in scene.truths] == ["red square"]


def test_a_partly_hidden_thing_has_the_box_of_its_visible_part() -> None:
    """Boxes are what a camera can see."""
    alone = render(SceneSpec((thing(),), WALL, CALM), (320, 240)).truths[0].xyxy
    cover = thing("square", cx=0.6, colour="red", rgb=(220, 30, 30))
    seen = render(SceneSpec((thing(), cover), WALL, CALM), (320, 240)).truths[0].xyxy
    assert seen[0] == alone[0]
    assert seen[2] < alone[2] - 10


def test_key_points_lie_on_their_object() -> None:
    """A cart has two wheels, inside its box."""
    truth = render(SceneSpec((thing("cart"),), WALL, CALM), (320, 240)).truths[0]
    assert [name for name, _, _ in truth.points] == ["wheel", "wheel"]
    left, top, right, bottom = truth.xyxy
    assert all(left < x < right and top < y < bottom for _, x, y in truth.points)


def test_a_shadow_is_a_truth_of_its_own() -> None:
    """It names its owner and lies beside it."""
    truths = render(SceneSpec((thing(shadow=1),), WALL, CALM), (320, 240)).truths
    assert [t.label for t in truths] == ["blue square", "shadow"]
    assert truths[1].attributes == {"of": "blue square"}
    assert truths[1].xyxy[2] > truths[0].xyxy[2]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(160, 120), (320, 240), (333, 201), (480, 640), (1280, 720)]))
def test_any_scene_has_boxes_inside_the_image(seed: int, image_wh: tuple[int, int]) -> None:
    """Boxes are ordered and inside; pixels have the asked size."""
    scene = render(random_scene(np.random.default_rng(seed), image_wh), image_wh)
    assert scene.rgb.shape == (image_wh[1], image_wh[0], 3)
    for truth in scene.truths:
        left, top, right, bottom = truth.xyxy
        assert 0 <= left < right <= image_wh[0]
        assert 0 <= top < bottom <= image_wh[1]


def test_the_scenes_of_models_tiny_stay_what_they_are() -> None:
    """What may be added to scenes is added where it is asked for: these are held-out figures' own."""
    rng = np.random.default_rng(7)
    specs = [random_scene(rng, (320, 240)).objects for _ in range(20)]
    assert hashlib.sha256(repr(specs).encode()).hexdigest()[:16] == "a573ba73b70fbc61"


def test_letters_stand_on_their_cart_and_are_read_where_all_are_seen() -> None:
    cart = thing("cart", aspect=0.75, side=0.4, text="K7")
    scene = render(SceneSpec((cart,), WALL, CALM), (320, 240))
    text, (left, top, right, bottom) = scene.truths[0].text or ("", (0, 0, 0, 0))
    box = scene.truths[0].xyxy
    assert text == "K7"
    assert box[0] < left < right < box[2]
    assert box[1] < top < bottom < box[3]
    bare = render(SceneSpec((thing("cart", aspect=0.75, side=0.4),), WALL, CALM), (320, 240))
    ys, xs = np.nonzero((scene.rgb != bare.rgb).any(axis=2))
    assert np.allclose((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1), (left, top, right, bottom), atol=1.5)
    cover = thing("circle", cx=0.55, cy=0.45, side=0.1)
    assert render(SceneSpec((cart, cover), WALL, CALM), (320, 240)).truths[0].text is None
    at_border = thing("cart", aspect=0.75, side=0.4, cx=0.02, text="K7")
    assert render(SceneSpec((at_border,), WALL, CALM), (320, 240)).truths[0].text is None


def test_varied_scenes_hold_what_they_are_asked_for() -> None:
    """Small ones, crowds, letters, shadows, and things that stand in a relation."""
    image_wh, side = (320, 240), (320 * 240) ** 0.5
    variety = Variety(min_side=0.02, shadow_share=0.9, lettered_share=1.0, arranged_share=1.0)
    seen = set()
    for seed in range(60):
        scene = random_scene(np.random.default_rng(seed), image_wh, (2, 4, 12)[seed % 3], variety=variety)
        boxes = [truth.xyxy for truth in render(scene, image_wh).truths if truth.label != "shadow"]
        seen |= {name for name, holds in RELATIONS.items() for a in boxes for b in boxes if holds(a, b, side)}
        seen |= {"odd"} if odd_one_out([item.label for item in scene.objects]) is not None else set()
        seen |= {"small"} if min(item.side for item in scene.objects) < 0.03 else set()
        seen |= {"crowd"} if len(scene.objects) > 10 else set()
        texts = [item.text for item in scene.objects if item.text]
        assert all(set(text) <= set(LETTERS) and len(text) <= 3 for text in texts)
        seen |= {"letters"} if texts else set()
    assert seen == {*RELATIONS, "odd", "small", "crowd", "letters"}


def test_a_moving_scene_repeats_itself_and_moves() -> None:
    """Same seed and time, same pixels; later, other places."""
    first, again = (MovingScene(5, (320, 240), 3) for _ in range(2))
    assert np.array_equal(first.at(1.5).rgb, again.at(1.5).rgb)
    assert first.at(0.0).truths != first.at(4.0).truths


@given(st.floats(0, 10_000, allow_nan=False))
def test_moving_things_stay_in_the_picture(time_s: float) -> None:
    """They bounce off the borders however late it is."""
    for item in MovingScene(7, (320, 240), 4).spec_at(time_s).objects:
        assert 0.0 <= item.cx <= 1.0
        assert 0.0 <= item.cy <= 1.0
