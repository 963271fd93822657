"""How many questions of each row of the ladder a model answers wholly right: `python -m benchmarks.levels`.

Each row is asked about drawn scenes in English and in Chinese, through the node over DDS, as a robot does it, and what
is published is compared with the truth (benchmarks/level_answers.py): everything that is asked for, in its place, and
nothing else. `--model` takes any checkpoint or the URL of a server. Figures and each wrong answer go to
build/benchmarks/levels.json.

`--write test/ros/level_seeds.json` keeps the surest right scene of each row for test/ros/test_levels.py, which asks
these again (`--seeds`); do so after the checkpoint has changed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.asked_node import AskingClient, Published, asked_node
from benchmarks.level_answers import Heard, Seen
from benchmarks.level_questions import CLIP_FRAMES, ROWS, STEP_S, Row
from benchmarks.paced_camera import benchmark_domain
from benchmarks.report import print_table, write_json
from vlm_perception.startup.arguments import resolve_model

LANGUAGES = ("English", "Chinese")
# Held out: training draws its scenes from other seeds and sizes.
FIRST_SEED = 70_000


def main() -> None:
    """Ask, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=resolve_model("tiny"), help="as the node's parameter (tiny)")
    parser.add_argument("--scenes", type=int, default=10, help="scenes per row and language (10)")
    parser.add_argument("--rows", default="", help="only rows with this in their name")
    parser.add_argument("--seeds", type=Path, help="ask about the scenes of this file alone")
    parser.add_argument("--write", type=Path, help="file for the surest right scene of each row and language")
    parser.add_argument("--output", type=Path, help="JSON file (build/benchmarks/levels.json)")
    options = parser.parse_args()
    known = json.loads(options.seeds.read_text(encoding="utf-8")) if options.seeds else None
    figures = []
    with benchmark_domain(), asked_node(options.model, (CLIP_FRAMES - 1) * STEP_S) as client:
        for row, language in itertools.product(ROWS, LANGUAGES):
            if options.rows not in row.name:
                continue
            seeds = asked_seeds(row, language, options.scenes) if known is None else seeds_in(known, row, language)
            if seeds:
                figures.append(figures_of(client, row, language, seeds))
                print(f"{row.name}, {language}: {len(figures[-1]['right'])} of {len(seeds)}", file=sys.stderr)
    print_table([table_row(figure) for figure in figures])
    write_json("levels", {"model": options.model, "rows": figures}, options.output)
    if options.write:
        written = json.loads(options.write.read_text(encoding="utf-8")) if options.write.exists() else {}
        options.write.write_text(json.dumps(with_surest(written, figures), indent=2) + "\n", encoding="utf-8")


def asked_seeds(row: Row, language: str, scenes: int) -> list[int]:
    """Choose the first scenes that have something to ask about."""
    fitting = (s for s in itertools.count(FIRST_SEED) if row.question(s, chinese=language == "Chinese"))
    return list(itertools.islice(fitting, scenes))


def seeds_in(known: Mapping[str, Mapping[str, int]], row: Row, language: str) -> list[int]:
    """Take the scene of a file of seeds, where it has one."""
    seed = known.get(row.name, {}).get(language)
    return [] if seed is None else [seed]


def figures_of(client: AskingClient, row: Row, language: str, seeds: Iterable[int]) -> dict[str, Any]:
    """Ask one row in one language; returns the number of questions, the seeds answered right, and what was wrong."""
    right: dict[int, float] = {}
    wrong: list[dict[str, Any]] = []
    for seed in seeds:
        question = row.question(seed, chinese=language == "Chinese")
        if question is None:
            raise SystemExit(f"scene {seed} has nothing to ask about in {row.name!r}: choose the seeds again")
        shown, asked = question
        try:
            published = client.ask(asked.prompt, shown.frames, STEP_S)
        except TimeoutError as error:
            raise SystemExit(str(error)) from error
        faults = asked.faults(heard(published))
        if faults:
            said = published.answer["raw_text"]
            wrong.append({"seed": seed, "prompt": asked.prompt, "faults": faults, "said": said})
        else:
            right[seed] = sureness(published)
    asked_in_all = len(right) + len(wrong)
    return {"row": row.name, "language": language, "asked": asked_in_all, "right": right, "wrong": wrong}


def heard(published: Published) -> Heard:
    """Read boxes and points from the array, and what it has no room for (sub_labels, text, events) from the answer."""
    answer = published.answer
    return Heard(
        task=answer["task"],
        seen=tuple(_seen(published)),
        count=answer["count"],
        count_agrees=answer["count_agrees"],
        events=tuple((event["start_s"], event["end_s"], event["text"]) for event in answer.get("events", ())),
        text=answer["text"],
    )


def _seen(published: Published) -> Iterator[Seen]:
    for detection, told in zip(published.detections.detections, published.answer["objects"], strict=True):
        centre, width, height = detection.bbox.center.position, detection.bbox.size_x, detection.bbox.size_y
        is_point = width == height == 0.0
        box = (centre.x - width / 2, centre.y - height / 2, centre.x + width / 2, centre.y + height / 2)
        yield Seen(
            label=detection.results[0].hypothesis.class_id,
            xyxy=None if is_point else box,
            point_xy=(centre.x, centre.y) if is_point else None,
            sub_label=told["attributes"].get("sub_label", ""),
            text=told.get("text", ""),
        )


def sureness(published: Published) -> float:
    """The lowest score of a thing; 1 where there is none."""
    return min((detection.results[0].hypothesis.score for detection in published.detections.detections), default=1.0)


def table_row(figure: Mapping[str, Any]) -> dict[str, Any]:
    """One line of the table, with the first thing that was wrong."""
    first = figure["wrong"][0]["faults"][0] if figure["wrong"] else None
    counts = {"row": figure["row"], "language": figure["language"], "asked": figure["asked"]}
    return {**counts, "right": len(figure["right"]), "wrong, such as": first}


def with_surest(written: Mapping[str, Mapping[str, int]], figures: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Put the surest right scene of each row and language into what a file holds.

    Those of which less than half was right leave it: what is right by luck holds nothing.
    """
    seeds = {name: dict(of_row) for name, of_row in written.items()}
    for figure in figures:
        of_row = seeds.setdefault(figure["row"], {})
        of_row.pop(figure["language"], None)
        right = figure["right"]
        if right and 2 * len(right) >= figure["asked"]:
            of_row[figure["language"]] = max(right, key=right.__getitem__)
    return {name: of_row for name, of_row in seeds.items() if of_row}


if __name__ == "__main__":
    main()
