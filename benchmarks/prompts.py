"""Which phrasing of each task a model answers best: `python -m benchmarks.prompts`, also `--model URL` of a server.

Asks the same of drawn scenes in several wordings (benchmarks/phrasings.yaml, or a file of one's own), of a thing that
is there and of one that is not, and compares what the data path gives with the truth. A model that was trained on one
wording, as the tiny ones are on the built-in one, answers that best, which says nothing of others: run it on yours, and
put what is best into `prompts_file`.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from benchmarks.report import print_table, silence_libraries, write_json
from vlm_perception.engines.base import Engine
from vlm_perception.engines.factory import open_engine
from vlm_perception.pipeline import perceive
from vlm_perception.prompts.builder import PromptBook, load_prompts
from vlm_perception.scenes import COLOURS, MovingScene, Truth
from vlm_perception.types import WH, XY, XYXY, Frame, FrameHeader, PixelBudget, Prompt, Request, Result, Task
from vlm_perception.world.boxes import match_boxes

IMAGE_WH: WH = (640, 480)
# Held out: training draws its scenes from other seeds and sizes.
FIRST_SEED = 60_000
N_OBJECTS = 3
POINT_TOLERANCE = 0.05
PHRASINGS = Path(__file__).with_name("phrasings.yaml")
BUILT_IN = "built in"
PARTS = {"cart": "wheels", "face": "eyes"}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a scene and what is right; nothing for a thing that is not there.

    Attributes:
        what: The thing.
        boxes: Its places, where boxes are asked for.
        points: The same, where points are.
        number: How many there are.
    """

    what: str
    boxes: tuple[XYXY, ...] = ()
    points: tuple[XY, ...] = ()
    number: int = 0


@dataclass(slots=True)
class Tally:
    """How the answers to one phrasing were: places found, expected and said; absent things rejected; numbers right."""

    found: int = 0
    expected: int = 0
    said: int = 0
    rejected: list[bool] = field(default_factory=list)
    counted: list[bool] = field(default_factory=list)

    def add(self, question: Question, result: Result, *, counts: bool) -> None:
        """Compare an answer with what is right; precision is of questions about things that are there."""
        boxes = [each.xyxy for each in result.objects if each.xyxy is not None]
        points = [each.point_xy for each in result.objects if each.xyxy is None and each.point_xy is not None]
        if counts:
            self.counted.append((result.count or 0) == question.number)
        if not question.number:
            self.rejected.append(not result.objects)
            return
        hits = sum(overlap >= 0.5 for _, _, overlap in match_boxes(boxes, question.boxes))
        self.found += hits + points_hit(points, question.points)
        self.expected += len(question.boxes) + len(question.points)
        self.said += len(result.objects)

    def row(self) -> dict[str, float | None]:
        """Shares from 0 to 1; None where nothing was asked."""
        return {
            "recall": self.found / self.expected if self.expected else None,
            "precision": self.found / self.said if self.said else None,
            "rejection": float(statistics.mean(self.rejected)) if self.rejected else None,
            "number right": float(statistics.mean(self.counted)) if self.counted else None,
        }


def main() -> None:
    """Ask, print the table and write build/benchmarks/prompts.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="checkpoint, or URL of a server (tiny)")
    parser.add_argument("--scenes", type=int, default=20, help="how many are drawn (20)")
    parser.add_argument("--phrasings", type=Path, default=PHRASINGS, help="YAML: task, name, template (built-in ones)")
    arguments = parser.parse_args()
    silence_libraries()
    books = books_of(arguments.phrasings)
    engine = open_engine(arguments.model)
    tallies = {name: Tally() for name in books}
    for seed in range(FIRST_SEED, FIRST_SEED + arguments.scenes):
        scene = MovingScene(seed, IMAGE_WH, n_objects=N_OBJECTS).at(0.0)
        frame = Frame(scene.rgb, FrameHeader(0, 0, "camera"), "/image", float(seed))
        truths = [truth for truth in scene.truths if truth.label != "shadow"]
        for (task, name), book in books.items():
            for question in questions_of(task, truths):
                result = ask(engine, frame, book.build(question.what, task))
                tallies[task, name].add(question, result, counts=task is Task.COUNT)
    engine.close()
    rows = [{"task": task.value, "phrasing": name, **tally.row()} for (task, name), tally in tallies.items()]
    print_table([{key: f"{v:.2f}" if isinstance(v, float) else v for key, v in row.items()} for row in rows])
    write_json("prompts", {"model": arguments.model, "scenes": arguments.scenes, "rows": rows})


def books_of(path: Path) -> dict[tuple[Task, str], PromptBook]:
    """Make a book of prompts for each phrasing of each task, the built-in one first."""
    built_in = load_prompts()
    given: Mapping[str, Mapping[str, str]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    books: dict[tuple[Task, str], PromptBook] = {}
    for task, phrasings in ((Task(name), phrasings) for name, phrasings in given.items()):
        books[task, BUILT_IN] = built_in
        for name, template in phrasings.items():
            templates = {**built_in.templates, task: {"english": template, "chinese": template}}
            books[task, name] = replace(built_in, templates=templates)
    return books


def questions_of(task: Task, truths: Sequence[Truth]) -> tuple[Question, ...]:
    """Ask for the first thing that fits the task, and for one of its kind in a colour that is not there."""
    thing = next((truth for truth in truths if task is not Task.POINT or truth.points), None)
    if thing is None:
        return ()
    kind, alike = thing.label.split()[1], [truth for truth in truths if truth.label == thing.label]
    absent = next(f"{colour} {kind}" for colour in COLOURS if not any(t.label == f"{colour} {kind}" for t in truths))
    if task is Task.POINT:
        points = tuple((x, y) for truth in alike for _, x, y in truth.points)
        part = PARTS[kind]
        present = Question(f"the {part} of the {thing.label}", points=points, number=len(points))
        return present, Question(f"the {part} of the {absent}")
    ending = "s" if task is Task.COUNT else ""
    boxes = tuple(truth.xyxy for truth in alike)
    return Question(thing.label + ending, boxes, number=len(boxes)), Question(absent + ending)


def ask(engine: Engine, frame: Frame, prompt: Prompt) -> Result:
    """Ask about a whole frame."""
    return perceive(engine, Request(frame, prompt, PixelBudget(), 384))


def points_hit(found: Sequence[XY], wanted: Sequence[XY]) -> int:
    """Count wanted points with one of the found within 5 % of the image's side, each found one once."""
    free, hits = list(found), 0
    near_px = POINT_TOLERANCE * math.sqrt(IMAGE_WH[0] * IMAGE_WH[1])
    for place in wanted:
        nearest = min(free, key=lambda xy: math.dist(xy, place), default=None)
        if nearest is not None and math.dist(nearest, place) <= near_px:
            free.remove(nearest)
            hits += 1
    return hits


if __name__ == "__main__":
    main()
