"""The example engine of docs/extending.md, in a real node over DDS."""

from __future__ import annotations

import itertools
import re

import numpy as np
from checkout import ROOT

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")


def test_the_example_s_boxes_are_published(robot, talk):
    names = {"__name__": "red_engine"}
    (source,) = re.findall(r'```python\n(""".*?)```', PAGE, re.DOTALL)
    exec(source, names)
    robot.node(names["RedEngine"](), prompt="red thing")
    rgb = np.zeros((60, 80, 3), np.uint8)
    rgb[10:30, 20:50] = (200, 10, 10)
    t = talk()
    numbers = itertools.count(1)

    def answered() -> bool:
        t.show(next(numbers), rgb)
        return bool(t.detections.messages)

    robot.until(answered, "an answer to a frame")
    (found,) = t.detections.messages[0].detections
    assert (found.bbox.center.position.x, found.bbox.size_x, found.bbox.size_y) == (35.0, 30.0, 20.0)
