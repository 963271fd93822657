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
    assert picture.shape == scene.rgb.shape
    assert np.any(picture != scene.rgb)
