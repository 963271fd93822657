"""What a session remembers: the newest first, not too many, and small."""

from __future__ import annotations

import numpy as np
import pytest

from vlm_perception.apps.web.history import MAX_KEPT, History, Kept, remember
from vlm_perception.apps.web.show import Shown


def answer(title: str, width: int = 64, height: int = 48) -> Shown:
    return Shown(title=title, objects=f"<p>{title}</p>", picture=np.full((height, width, 3), (200, 30, 30), np.uint8))


def test_the_newest_comes_first_and_the_oldest_goes() -> None:
    history: History = ()
    for number in range(MAX_KEPT + 3):
        history = remember(history, answer(str(number)))
    assert [kept.shown.title for kept in history] == [str(number) for number in range(MAX_KEPT + 2, 2, -1)]


def test_an_answer_comes_back_as_it_was_shown() -> None:
    again = Kept.of(answer("cups")).again()
    assert again.objects == "<p>cups</p>"
    assert again.picture is not None
    assert again.picture.shape == (48, 64, 3)
    assert np.abs(again.picture.astype(int) - (200, 30, 30)).max() <= 6


@pytest.mark.parametrize(
    ("width", "height", "picture_wh", "thumbnail_wh"),
    [
        (2560, 1920, (1280, 960), (240, 180)),
        (100, 50, (100, 50), (100, 50)),
        (70_000, 400, (1280, 7), (240, 1)),
        (10, 2000, (6, 1280), (1, 240)),
    ],
)
def test_pictures_are_kept_small(
    width: int, height: int, picture_wh: tuple[int, int], thumbnail_wh: tuple[int, int]
) -> None:
    kept = Kept.of(answer("big", width, height))
    picture = kept.again().picture
    assert picture is not None
    assert picture.shape[1::-1] == picture_wh
    assert kept.thumbnail.shape[1::-1] == thumbnail_wh
