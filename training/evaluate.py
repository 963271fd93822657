"""Held-out figures of a checkpoint: `python -m training.evaluate --model tiny` (or `make evaluate MODEL=tiny`).

500 scenes from seeds and photographs that training never draws, each asked several questions;
replies are read by the product's own parser and compared with the truth in camera pixels. Prints
tables by task and by number of objects and writes `build/evaluation.json`. A checkpoint that was taught
words, relations, letters and clips is asked for these too, about half as many more varied scenes; one of the first
edition is asked what it was always asked, and the figures of the two can be compared.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from training.families import TINY_FAMILIES, TinyFamily, View
from training.judge import Judged, judge
from training.photos import evaluation_photos
from training.questions import Asker, Question
from training.scenes import drawn_size, varied_scene
from training.watched import ask_clips, make_watch_cases, watch_figures
from vlm_perception.scenes import Scene, Variety, random_scene, render
from vlm_perception.startup.arguments import resolve_model
from vlm_perception.types import PixelBudget

FIRST_SEED = 500_000
BATCH = 32
BARS = {
    "json_valid": 0.99,
    "recall50": 0.90,
    "mean_iou": 0.80,
    "label_accuracy": 0.95,
    "rejection": 0.90,
    "count_accuracy": 0.90,
    "points_accuracy": 0.85,
}


# What a checkpoint is held to that was taught words, relations and letters.
TAUGHT_BARS = {
    "json_valid": 0.99,
    "recall50": 0.92,
    "mean_iou": 0.905,
    "label_accuracy": 0.955,
    "rejection": 0.942,
    "count_accuracy": 0.92,
    "points_accuracy": 0.919,
    "shadow_recall": 0.85,
    "two_recall": 0.88,
    "photo_rejection": 0.95,
    "no_doubles": 0.99,
    "crowd_recall": 0.85,
    "small_recall": 0.75,
    "relation_recall": 0.85,
    "yes_no_accuracy": 0.92,
    "words_accuracy": 0.85,
    "described": 0.85,
    "texts_accuracy": 0.85,
    "watch_said": 0.80,
    "watch_when": 0.80,
    "watch_timed": 0.80,
}
FIRST_TAUGHT_SEED = 600_000
FIRST_TWO_SEED = 650_000
# In the order of their questions; those that the scene has nothing for are left out.
TAUGHT_TASKS = ("all", "two", "shadow", "count", "parts", "describe", "exists", "related", "told")
TAUGHT_TASKS += ("relation", "superlative", "attribute", "read")
# Of the varied scenes, one in so many is a photograph without anything drawn.
PHOTO_EVERY = 4
# One clip, with four questions, for so many scenes.
SCENES_A_CLIP = 5
CROWD = 7
SMALL_SIDE = 0.08
# The first edition's vocabulary has no words for sentences.
_FIRST_EDITION_VOCABULARY = 512


@dataclass(frozen=True, slots=True)
class Case:
    """One question about one scene, and how the model sees it."""

    scene: Scene
    question: Question
    view: View


def family_of(folder: Path) -> TinyFamily:
    """Return the family of a tiny checkpoint, as its config.json names it, with the areas of its own processor."""
    family = TINY_FAMILIES[json.loads((folder / "config.json").read_text())["model_type"]]
    processor = folder / "processor_config.json"
    if not processor.exists():
        return family
    size = json.loads(processor.read_text())["image_processor"]["size"]
    return replace(family, pixels=PixelBudget(size["shortest_edge"], size["longest_edge"]))


def is_taught(folder: Path) -> bool:
    """Whether a tiny checkpoint was taught words, relations and letters: it has the vocabulary for them."""
    config = json.loads((folder / "config.json").read_text())
    return int(config["text_config"]["vocab_size"]) > _FIRST_EDITION_VOCABULARY


def bars_of(folder: Path) -> dict[str, float]:
    """What a tiny checkpoint is held to."""
    return TAUGHT_BARS if is_taught(folder) else BARS | family_of(folder).bars


def make_cases(scenes: int, first_seed: int = FIRST_SEED, family: TinyFamily | None = None) -> list[Case]:
    """The same cases on every call: "all", a mixed one, an absent label, a count, points, shadows.

    Args:
        scenes: How many scenes are asked about.
        first_seed: Seed of the first one.
        family: As it is seen by; that of models/tiny where none is given.
    """
    family = family or family_of(Path(resolve_model("tiny")))
    cases = []
    for index in range(scenes):
        rng = np.random.default_rng(first_seed + index)
        image_wh = drawn_size(rng)
        scene = render(random_scene(rng, image_wh, photos=evaluation_photos()), image_wh)
        asker, view = Asker(rng), family.view(image_wh)
        asked = [asker.ask(scene.truths, view, task) for task in ("all", None, "count", "point", "shadow")]
        asked.append(_absent(asker, scene, view))
        asked = (
            asked[:3]
            + [q for q, task in zip(asked[3:5], ("point", "shadow"), strict=True) if q.task == task]
            + asked[5:]
        )
        cases += [Case(scene, question, view) for question in asked]
    return cases


def make_two_cases(cases: Sequence[Case]) -> list[Case]:
    """One question for two things about each scene of these: too few of the mixed ones are, for a bar to hold."""
    twos = []
    for index, case in enumerate({id(case.scene): case for case in cases}.values()):
        asker = Asker(np.random.default_rng(FIRST_TWO_SEED + index))
        twos.append(replace(case, question=asker.ask(case.scene.truths, case.view, "two")))
    return twos


def make_taught_cases(scenes: int, family: TinyFamily) -> list[Case]:
    """The same cases on every call, for a checkpoint that was taught all of them; and photographs, of nothing."""
    cases = []
    for index in range(scenes):
        rng = np.random.default_rng(FIRST_TAUGHT_SEED + index)
        image_wh = drawn_size(rng)
        asker, view = Asker(rng), family.view(image_wh)
        scene = render(varied_scene(rng, image_wh, evaluation_photos()), image_wh)
        asked = [(task, asker.ask(scene.truths, view, task)) for task in TAUGHT_TASKS]
        cases += [Case(scene, question, view) for task, question in asked if question.task == task]
        if index % PHOTO_EVERY == 0:
            bare = random_scene(rng, image_wh, 0, evaluation_photos(), variety=Variety(photo_share=1.0))
            photo = render(bare, image_wh)
            questions = (asker.ask(photo.truths, view, task) for task in ("all", "label", "kind", "shadow"))
            cases += [Case(photo, replace(question, task="photograph"), view) for question in questions]
    return cases


def _absent(asker: Asker, scene: Scene, view: View) -> Question:
    while True:
        question = asker.ask(scene.truths, view, "label")
        if not question.expected.boxes:
            return question


def answer_all(folder: Path, cases: Sequence[Case]) -> list[str]:
    """Greedy replies, in batches of equally sized images."""
    processor = AutoProcessor.from_pretrained(folder)
    processor.tokenizer.padding_side = "left"
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    replies = [""] * len(cases)
    by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, case in enumerate(cases):
        by_size[case.view.image_wh].append(index)
    for indices in by_size.values():
        for start in range(0, len(indices), BATCH):
            part = indices[start : start + BATCH]
            for index, reply in zip(part, _generate(model, processor, [cases[i] for i in part]), strict=True):
                replies[index] = reply
    return replies


@torch.inference_mode()
def _generate(model: Any, processor: Any, cases: Sequence[Case]) -> list[str]:
    chats = [
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": case.question.instruction}]}]
        for case in cases
    ]
    texts = [processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    images = [Image.fromarray(c.scene.rgb).resize(c.view.model_wh, Image.Resampling.BICUBIC) for c in cases]
    inputs = processor(text=texts, images=images, padding=True, return_tensors="pt")
    output = model.generate(**inputs, max_new_tokens=300, do_sample=False)
    new = output[:, inputs["input_ids"].shape[1] :]
    decoded: list[str] = processor.batch_decode(new, skip_special_tokens=True)
    return decoded


def figures(judged: Iterable[Judged]) -> dict[str, float]:
    """Summary over judged replies; a figure without a case is 1.0 of nothing and left out."""
    rows = list(judged)
    ious = [iou for row in rows for iou in row.match_ious]
    parts = {
        "json_valid": [row.json_valid for row in rows if row.json_valid is not None],
        "recall50": [hit for row in rows for hit in row.box_hits],
        "precision50": [hit for row in rows for hit in row.found_hits],
        "mean_iou": ious,
        "label_accuracy": [right for row in rows for right in row.labels_right],
        "sub_label_accuracy": [right for row in rows for right in row.sub_labels_right],
        "rejection": [row.rejected for row in rows if row.rejected is not None],
        "count_accuracy": [row.count_right for row in rows if row.count_right is not None],
        "points_accuracy": [hit for row in rows for hit in row.point_hits],
    }
    return {key: round(float(np.mean(values)), 4) for key, values in parts.items() if len(values)}


def recall_of(cases: Sequence[Case], judged: Sequence[Judged], *tasks: str) -> list[bool]:
    """Whether each box that questions of these kinds expect is found."""
    pairs = zip(cases, judged, strict=True)
    return [hit for case, row in pairs if case.question.task in tasks for hit in row.box_hits]


def harder_figures(cases: Sequence[Case], judged: Sequence[Judged]) -> dict[str, float]:
    """Recall of the first questions' hardest kinds; one without a case is left out."""
    parts = {f"{task}_recall": recall_of(cases, judged, task) for task in ("shadow", "two")}
    return {key: round(float(np.mean(hits)), 4) for key, hits in parts.items() if hits}


def taught_figures(cases: Sequence[Case], judged: Sequence[Judged]) -> dict[str, float]:
    """Summary of what only a taught checkpoint is asked for; a figure without a case is left out."""
    pairs = list(zip(cases, judged, strict=True))
    parts: dict[str, Sequence[float | bool]] = {
        "varied_shadow_recall": recall_of(cases, judged, "shadow"),
        "varied_two_recall": recall_of(cases, judged, "two"),
        "photo_rejection": [bool(row.rejected) for case, row in pairs if case.question.task == "photograph"],
        "no_doubles": [not row.doubled for case, row in pairs if case.question.expected.boxes],
        "crowd_recall": [
            hit for case, row in pairs if len(case.question.expected.boxes) >= CROWD for hit in row.box_hits
        ],
        "small_recall": [hit for case, row in pairs for hit in _small(case, row)],
        "relation_recall": recall_of(cases, judged, "relation", "superlative", "attribute"),
        "yes_no_accuracy": [row.verdict_right for _, row in pairs if row.verdict_right is not None],
        "words_accuracy": [row.words_right for _, row in pairs if row.words_right is not None],
        "described": [row.described for _, row in pairs if row.described is not None],
        "texts_accuracy": [hit for _, row in pairs for hit in row.text_hits],
    }
    return {key: round(float(np.mean(values)), 4) for key, values in parts.items() if len(values)}


def _small(case: Case, row: Judged) -> list[bool]:
    """Of the expected boxes that are small, which were found; shadows are flat and do not count."""
    side = math.sqrt(case.view.reply_wh[0] * case.view.reply_wh[1])
    boxes = [box for label, box, _ in case.question.expected.boxes]
    small = [max(box[2] - box[0], box[3] - box[1]) < SMALL_SIDE * side for box in boxes]
    if case.question.task == "shadow":
        return []
    return [hit for hit, is_small in zip(row.box_hits, small, strict=True) if is_small]


def table(groups: dict[str, list[Judged]]) -> str:
    """Markdown table, one row a group."""
    summaries = {name: figures(rows) for name, rows in groups.items()}
    columns = list(figures([row for rows in groups.values() for row in rows]))
    lines = ["| | replies | " + " | ".join(columns) + " |", "| --- |" + " --- |" * (len(columns) + 1)]
    for name, summary in summaries.items():
        cells = [f"{summary[c]:.3f}" if c in summary else "" for c in columns]
        lines.append(f"| {name} | {len(groups[name])} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def evaluate(folder: Path, scenes: int) -> tuple[dict[str, float], str]:
    """Judge a checkpoint.

    Returns:
        Figures by name (with `scenes` and `parameters`), and the printed report.
    """
    cases = make_cases(scenes, family=family_of(folder))
    of_every_edition = with_two = len(cases)
    if is_taught(folder):
        cases += make_two_cases(cases)
        with_two = len(cases)
        cases += make_taught_cases(max(1, scenes // 2), family_of(folder))
    judged = [
        judge(c.question, reply, c.scene, c.view) for c, reply in zip(cases, answer_all(folder, cases), strict=True)
    ]
    by_task: dict[str, list[Judged]] = defaultdict(list)
    by_count: dict[str, list[Judged]] = defaultdict(list)
    by_side: dict[str, list[Judged]] = defaultdict(list)
    for case, row in zip(cases, judged, strict=True):
        by_task["absent thing" if row.rejected is not None else case.question.task].append(row)
        by_count[f"{sum(t.label != 'shadow' for t in case.scene.truths)} objects"].append(row)
        by_side["Chinese" if case.question.chinese else "English"].append(row)
    model, bars = AutoModelForImageTextToText.from_pretrained(folder), bars_of(folder)
    # The figures that every edition has are over the same questions in all.
    summary = figures(judged[:of_every_edition]) | harder_figures(cases[:with_two], judged[:with_two])
    summary |= taught_figures(cases[with_two:], judged[with_two:])
    if is_taught(folder):
        clips = make_watch_cases(max(1, scenes // SCENES_A_CLIP))
        summary |= watch_figures(ask_clips(folder, clips, family_of(folder).pixels))
    summary |= {"scenes": scenes, "replies": len(judged), "parameters": model.num_parameters()}
    lines = ["| figure | reached | bar |", "| --- | --- | --- |"]
    lines += [
        f"| {k} | {summary[k]:.3f} | {bar:.3g}{'' if summary[k] >= bar else ' (missed)'} |"
        for k, bar in bars.items()
        if k in summary
    ]
    lines += [f"| {k} | {value:.3f} | |" for k, value in summary.items() if k.startswith("varied_")]
    report = [table(dict(sorted(g.items()))) for g in (by_task, by_count, by_side)]
    return summary, "\n\n".join(["\n".join(lines), *report])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny", help="a shipped checkpoint, tiny or tiny-qwen3-vl, or a folder")
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--output", type=Path, default=Path("build/evaluation.json"))
    args = parser.parse_args()
    summary, report = evaluate(Path(resolve_model(args.model)), args.scenes)
    print(report)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(summary, indent=2) + "\n")
    args.output.with_suffix(".md").write_text(report + "\n")
    print(
        f"\n{args.scenes} scenes, {summary['replies']} replies, {summary['parameters']} parameters; wrote {args.output}"
    )


if __name__ == "__main__":
    main()
