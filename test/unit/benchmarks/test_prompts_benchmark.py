"""The phrasings that are compared, and how answers to them are judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import yaml
from results import result_of

from benchmarks.prompts import BUILT_IN, PHRASINGS, Question, Tally, books_of, questions_of
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scenes import Truth
from vlm_perception.types import DetectedObject, Task

RGB = np.zeros((480, 640, 3), np.uint8)
BOX = (100.0, 100.0, 200.0, 200.0)
CART = Truth("red cart", BOX, {}, (("wheel", 120.0, 190.0), ("wheel", 180.0, 190.0)))
SQUARE = Truth("blue square", (300.0, 100.0, 400.0, 200.0), {})
FOUND, WRONG = DetectedObject("red cart", BOX, None), DetectedObject("red cart", (5.0, 5.0, 9.0, 9.0), None)


@pytest.mark.parametrize("task", [Task.DETECT, Task.GROUND, Task.POINT, Task.COUNT])
def test_at_least_four_phrasings_of_a_task_ask_for_the_same_thing_in_other_words(task: Task) -> None:
    books = {name: book for (asked, name), book in books_of(PHRASINGS).items() if asked is task}
    instructions = {name: book.build("red cart", task).instruction for name, book in books.items()}
    assert len(set(instructions.values())) == len(instructions) >= 4
    assert instructions[BUILT_IN] == build_prompt("red cart", task).instruction
    assert all("red cart" in text and "{what}" not in text for text in instructions.values())
    assert all("{what}" in text for text in yaml.safe_load(PHRASINGS.read_text(encoding="utf-8"))[task.value].values())


def test_a_thing_that_is_there_and_one_that_is_not_are_asked_for() -> None:
    there, absent = questions_of(Task.COUNT, [CART, SQUARE])
    assert (there, absent.number) == (Question("red carts", (BOX,), number=1), 0)
    assert absent.what.endswith(" carts")
    assert absent.what != "red carts"
    pointed, _ = questions_of(Task.POINT, [SQUARE, CART])
    assert (pointed.what, pointed.points) == ("the wheels of the red cart", ((120.0, 190.0), (180.0, 190.0)))
    assert questions_of(Task.POINT, [SQUARE]) == ()


def test_answers_are_judged_by_places_rejection_and_number() -> None:
    tally = Tally()
    there, absent = Question("red carts", (BOX, SQUARE.xyxy), number=2), Question("green carts")
    tally.add(there, replace(result_of(RGB, FOUND, WRONG), count=2), counts=True)
    tally.add(absent, result_of(RGB, WRONG), counts=True)
    tally.add(absent, replace(result_of(RGB), count=1), counts=True)
    assert tally.row() == {"recall": 0.5, "precision": 0.5, "rejection": 0.5, "number right": pytest.approx(2 / 3)}
    points = Tally()
    near = [DetectedObject("wheel", None, (122.0, 188.0)), DetectedObject("wheel", None, (121.0, 191.0))]
    points.add(questions_of(Task.POINT, [CART])[0], result_of(RGB, *near), counts=False)
    assert points.row() == {"recall": 0.5, "precision": 0.5, "rejection": None, "number right": None}
