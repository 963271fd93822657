"""The example of docs/python.md does what the page says."""

from __future__ import annotations

import re

import numpy as np
from checkout import ROOT


def test_the_example_finds_what_is_drawn() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    scene, result, picture = names["scene"], names["result"], names["picture"]
    assert len(result.objects) == len(scene.truths)
    height, width, _ = scene.rgb.shape
    assert picture.shape[1:] == (width, 3)
    assert picture.shape[0] > height, "the caption is a bar below the image"
    assert np.any(picture[:height] != scene.rgb)
