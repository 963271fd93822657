"""`vlm-perception-evaluate` with the real tiny model on drawn scenes written as COCO and as RefCOCO."""

from __future__ import annotations

import json
import pickle
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkout import ROOT, TINY
from truth_bags import IMAGE_TOPIC, TRUTH_TOPIC, image, truth, write_truth_bag

from training.evaluate import Case, answer_all, family_of, figures
from training.judge import judge
from training.questions import Asker, Question
from training.replies import Expected
from vlm_perception.frames.files import read_image
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scenes.__main__ import main as draw_scenes
from vlm_perception.scenes.moving import MovingScene

WH, SEED, SCENES = (640, 480), 41_000, 12
SECTION = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8").partition("\n## vlm-perception-evaluate")[2]
COMMAND = [sys.executable, "-m", "vlm_perception.startup.commands", "vlm-perception-evaluate"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with scenes and their truth in both formats."""
    folder = tmp_path_factory.mktemp("drawn")
    assert draw_scenes([str(folder), "--images", str(SCENES), "--frames", "0", "--seed", str(SEED)]) == 0
    (folder / "instances.json").write_bytes((folder / "truth.json").read_bytes())
    file = json.loads((folder / "truth.json").read_text())
    labels = {category["id"]: category["name"] for category in file["categories"]}
    references = [
        {"ann_id": one["id"], "image_id": one["image_id"], "split": "val"}
        | {"sentences": [{"sent": f"the {labels[one['category_id']]}"}]}
        for one in file["annotations"]
    ]
    # As it is published, and made JSON of by the page's own command.
    (folder / "refs(NAME).p").write_bytes(pickle.dumps(references, 2))
    (command,) = re.findall(r"^python -c .*$", SECTION, re.MULTILINE)
    subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=folder, timeout=60, check=True)
    return folder


def evaluate(folder: Path, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [*COMMAND, *arguments, "--model", "tiny"], cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("wrote evaluation.json\n")
    found: dict[str, Any] = json.loads((folder / "evaluation.json").read_text())
    return found


def test_the_command_of_the_page_runs_as_it_stands(tmp_path: Path) -> None:
    """On the pictures of the page's beginning."""
    program, *arguments = shlex.split(SECTION.partition("```bash\n")[2].partition("\n")[0])
    assert (program, arguments[-2:]) == ("vlm-perception-evaluate", ["--model", "tiny"])
    assert draw_scenes([str(tmp_path / "pictures"), "--frames", "0"]) == 0
    assert evaluate(tmp_path, *arguments[:-2])["images"] == 4


def test_figures_are_those_of_training_evaluate(drawn: Path) -> None:
    """The same questions judged by `make evaluate`'s own code, from its own replies."""
    found = evaluate(drawn, "truth.json", "--absent", "0")
    view, cases = family_of(TINY).view(WH), []
    for number in range(1, SCENES + 1):
        scene = MovingScene(SEED + number, WH, 3).at(0.0)
        every = Asker(np.random.default_rng(0)).ask(scene.truths, view, "all").expected.boxes
        for label in dict.fromkeys(label for label, _, _ in every):
            expected = Expected(boxes=tuple(box for box in every if box[0] == label))
            cases.append(Case(scene, Question("label", build_prompt(label).instruction, "", expected, False), view))
    replies = answer_all(TINY, cases)
    theirs = figures(judge(case.question, reply, case.scene, view) for case, reply in zip(cases, replies, strict=True))
    things = sum(len(case.question.expected.boxes) for case in cases)
    assert things == sum(row["things"] for row in found["labels"].values())
    # Batched and single sums round differently: one box may fall on the other side.
    for name in ("recall50", "precision50", "mean_iou"):
        assert found["figures"][name] == pytest.approx(theirs[name], abs=1.5 / things), name
    assert found["figures"]["map50"] > 0.7


def test_a_bag_of_the_same_scenes_and_their_truth_gives_the_same_figures(drawn: Path) -> None:
    file, messages = json.loads((drawn / "truth.json").read_text()), list[tuple[str, Any]]()
    labels = {category["id"]: category["name"] for category in file["categories"]}
    for number, entry in enumerate(file["images"]):
        boxes = [
            (labels[one["category_id"]], (x, y, x + width, y + height))
            for one in file["annotations"]
            for x, y, width, height in [one["bbox"]]
            if one["image_id"] == entry["id"]
        ]
        messages += [(TRUTH_TOPIC, truth(number, *boxes))]
        messages += [(IMAGE_TOPIC, image(number, read_image(drawn / entry["file_name"])))]
    write_truth_bag(drawn / "drive", messages)
    few = ("--absent", "0", "--max-images", "4")
    files_say, bag_says = evaluate(drawn, "truth.json", *few), evaluate(drawn, "drive", *few)
    assert bag_says["figures"]["map50"] > 0.7
    for files_figures, bag_figures in (
        (files_say["figures"], bag_says["figures"]),
        *((files_say["labels"][label], bag_says["labels"][label]) for label in files_say["labels"]),
    ):
        timeless = {name: value for name, value in files_figures.items() if not name.endswith("_s")}
        assert {name: bag_figures[name] for name in timeless} == pytest.approx(timeless, abs=1e-9)


def test_phrases_are_asked_one_by_one(drawn: Path) -> None:
    found = evaluate(drawn, "refs(NAME).json")
    assert found["figures"]["questions"] == len(json.loads((drawn / "truth.json").read_text())["annotations"])
    assert found["figures"]["acc50"] > 0.7
    assert found["labels"] == {}
