"""Held-out figures of a checkpoint: `python -m training.evaluate --model tiny` (or `make evaluate MODEL=tiny`).

500 scenes from seeds and photographs that training never draws, each asked several questions;
replies are read by the product's own parser and compared with the truth in camera pixels. Prints
tables by task and by number of objects and writes `build/evaluation.json`.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from training.cache import CAMERA_SIZES
from training.families import TINY_FAMILIES, TinyFamily, View
from training.judge import Judged, judge
from training.photos import evaluation_photos
from training.questions import Asker, Question
from vlm_perception.scenes import Scene, random_scene, render
from vlm_perception.startup.arguments import resolve_model

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


@dataclass(frozen=True, slots=True)
class Case:
    """One question about one scene, and how the model sees it."""

    scene: Scene
    question: Question
    view: View


def family_of(folder: Path) -> TinyFamily:
    """Return the family of a tiny checkpoint, as its config.json names it."""
    return TINY_FAMILIES[json.loads((folder / "config.json").read_text())["model_type"]]


def make_cases(
    scenes: int, first_seed: int = FIRST_SEED, family: TinyFamily = TINY_FAMILIES["qwen2_5_vl"]
) -> list[Case]:
    """The same cases on every call: "all", a mixed one, an absent label, a count, points, shadows."""
    sizes, shares = zip(*CAMERA_SIZES, strict=True)
    cases = []
    for index in range(scenes):
        rng = np.random.default_rng(first_seed + index)
        image_wh = sizes[int(rng.choice(len(sizes), p=shares))]
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
        "json_valid": [row.json_valid for row in rows],
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
    model, bars = AutoModelForImageTextToText.from_pretrained(folder), BARS | family_of(folder).bars
    summary = figures(judged) | {"scenes": scenes, "replies": len(judged), "parameters": model.num_parameters()}
    lines = ["| figure | reached | bar |", "| --- | --- | --- |"]
    lines += [
        f"| {k} | {summary[k]:.3f} | {bar:.2f}{'' if summary[k] >= bar else ' (missed)'} |" for k, bar in bars.items()
    ]
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
