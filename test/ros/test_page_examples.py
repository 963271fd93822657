"""The example engine of docs/extending.md in a real node, and the example client of docs/topics.md beside it."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys

import numpy as np
import pytest
from checkout import ROOT


def example(page: str, first_line: str) -> str:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (source,) = re.findall(rf"```python\n({first_line}.*?)```", text, re.DOTALL)
    return source


@pytest.fixture
def show_red(talk):
    """A node on the example engine; what is returned shows it one more image."""
    names = {"__name__": "red_engine"}
    exec(example("extending.md", '"""'), names)
    rgb = np.zeros((60, 80, 3), np.uint8)
    rgb[10:30, 20:50] = (200, 10, 10)
    t = talk(names["RedEngine"](), prompt="red thing")
    numbers = itertools.count(1)

    def show():
        t.show(next(numbers), rgb)
        return t

    return show


def test_the_example_s_boxes_are_published(robot, show_red):
    robot.until(lambda: show_red().detections.messages, "an answer to a frame")
    (found,) = show_red().detections.messages[0].detections
    assert (found.bbox.center.position.x, found.bbox.size_x, found.bbox.size_y) == (35.0, 30.0, 20.0)


def test_the_example_client_prints_what_was_found(robot, show_red):
    client = subprocess.Popen([sys.executable, "-c", example("topics.md", "import json")], stdout=subprocess.PIPE)
    try:
        robot.until(lambda: show_red() and client.poll() is not None, "the end of the client")
        assert client.communicate()[0].decode() == "[('red thing', [20.0, 10.0, 50.0, 30.0])]\n"
    finally:
        client.kill()
