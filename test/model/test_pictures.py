"""The moving picture of the README is made by the product, and small enough for a page."""

from __future__ import annotations

from pathlib import Path

from checkout import ROOT
from PIL import Image

from scripts.docs.pictures import FRAMES_A_PROMPT, SHOWN_WIDTH, moving_picture


def test_the_moving_picture_shows_each_prompt(tmp_path: Path) -> None:
    moving_picture(tmp_path / "made.gif", frames_a_prompt=1)
    shipped = ROOT / "docs" / "images" / "demo.gif"
    sizes = set()
    for path, frames in ((tmp_path / "made.gif", 5), (shipped, 5 * FRAMES_A_PROMPT)):
        with Image.open(path) as picture:
            assert (picture.n_frames, picture.width) == (frames, SHOWN_WIDTH)  # type: ignore[attr-defined]
            sizes.add(picture.size)
    assert len(sizes) == 1
    assert shipped.stat().st_size < 3_000_000
