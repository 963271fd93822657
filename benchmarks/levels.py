"""How often the tiny model answers each level of the feature table wholly right: `python -m benchmarks.levels`.

Asks one question of every row about drawn scenes with a few large objects and compares what the
data path gives (no ROS) with the truth: every expected box at IoU >= 0.5 or point within 5 % of the
image side, the right labels, sub_labels and number, and nothing else. Prints the share of scenes
per row and the surest scene of each.

`--write test/ros/level_seeds.json` keeps the surest scenes for test/ros/test_levels.py; do so after
the checkpoint has changed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.level_questions import ROWS, Row, Seen, question_of, scene_of
from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.pipeline import perceive
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.types import Frame, FrameHeader, PixelBudget, Request

# Held out: training draws its scenes from other seeds and sizes.
FIRST_SEED = 70_000
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Ask, print the table and write build/benchmarks/levels.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(ROOT / "models" / "tiny"), help="checkpoint folder (models/tiny)")
    parser.add_argument("--scenes", type=int, default=20, help="scenes per row (20)")
    parser.add_argument("--rows", default="", help="only rows with this in their name")
    parser.add_argument("--write", type=Path, help="file for the surest seed of each row")
    arguments = parser.parse_args()
    engine = open_engine(arguments.model)
    surest: dict[str, int] = {}
    shares: dict[str, float] = {}
    print("| row | wholly right | surest seed |\n| --- | --- | --- |")
    for row in (row for row in ROWS if arguments.rows in row.name):
        right = right_seeds(engine, row, arguments.scenes)
        shares[row.name] = len(right) / arguments.scenes
        if right:
            surest[row.name] = max(right, key=lambda seed: right[seed])
        print(f"| {row.name} | {len(right)} of {arguments.scenes} | {surest.get(row.name, 'none')} |", flush=True)
    engine.close()
    out = ROOT / "build" / "benchmarks" / "levels.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"wholly_right": shares, "surest_seeds": surest}, indent=2) + "\n", encoding="utf-8")
    if arguments.write:
        known = json.loads(arguments.write.read_text(encoding="utf-8")) if arguments.write.exists() else {}
        text = json.dumps({**known, **surest}, indent=2)
        arguments.write.write_text(text + "\n", encoding="utf-8")


def right_seeds(engine: TransformersEngine, row: Row, scenes: int) -> dict[int, float]:
    """Ask about a number of scenes.

    Returns:
        Of the scenes whose answer is right: seed and how sure the model was (the probability of the
        least likely token of its reply).
    """
    right: dict[int, float] = {}
    asked, seed = 0, FIRST_SEED
    while asked < scenes:
        scene, seed = scene_of(row, seed), seed + 1
        question = question_of(row, scene)
        if question is None:
            continue
        asked += 1
        frame = Frame(scene.rgb, FrameHeader(0, 0, "camera"), "/image", 0.0)
        request = Request(frame, build_prompt(question.prompt), PixelBudget(224 * 224, 1024 * 1024), 512)
        result = perceive(engine, request)
        seen = [Seen(o.label, o.xyxy, o.point_xy, o.attributes.get("sub_label")) for o in result.objects]
        if not question.faults(seen, result.count, result.count_agrees):
            right[seed - 1] = float(np.exp(min(token.logprob for token in result.answer.tokens)))
    return right


if __name__ == "__main__":
    main()
