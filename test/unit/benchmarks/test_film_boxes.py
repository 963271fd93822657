"""The boxes that people read off real films: enough of them, in their frames, far enough apart."""

import itertools
import json
from pathlib import Path

import pytest

BOXES = Path(__file__).parents[3] / "benchmarks" / "film_boxes.json"
FILMS = json.loads(BOXES.read_text(encoding="utf-8"))
SIZES_WH = {"bikes": (640, 272), "bigbuckbunny": (1280, 720)}


@pytest.mark.parametrize("film", FILMS)
def test_every_box_lies_in_its_frame(film: str) -> None:
    width, height = SIZES_WH[film]
    for item in FILMS[film]:
        for left, top, right, bottom in item["frames"].values():
            assert 0 <= left < right <= width, item["object"]
            assert 0 <= top < bottom <= height, item["object"]


@pytest.mark.parametrize("film", FILMS)
def test_an_object_is_read_in_frames_that_are_10_to_60_apart(film: str) -> None:
    for item in FILMS[film]:
        frames = sorted(map(int, item["frames"]))
        assert all(10 <= b - a <= 60 for a, b in itertools.pairwise(frames)), item["object"]


def test_there_are_a_hundred_boxes() -> None:
    assert sum(len(item["frames"]) for items in FILMS.values() for item in items) >= 100
