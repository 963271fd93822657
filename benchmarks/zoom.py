"""What closer looks find of small things, and what they cost: `python -m benchmarks.zoom`.

Draws scenes of 1280x960 with a few large things and many small ones, of which the model sees a few pixels, and asks
about each: all objects, one small thing by its name, and one that is not there. Everything is asked once; the looks
follow on the same answer, so that before and after differ by them alone. Sizes are those of the true box in pixels of
what the model saw, square root of the area.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.report import print_table, silence_libraries, write_json
from vlm_perception.engines.base import Engine
from vlm_perception.engines.factory import open_engine
from vlm_perception.pipeline import look_closer, perceive
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scenes import Scene, Truth, random_scene, render
from vlm_perception.scenes.spec import COLOURS, KINDS
from vlm_perception.types import WH, DetectedObject, Frame, FrameHeader, PixelBudget, Request, Result
from vlm_perception.world.boxes import match_boxes

IMAGE_WH: WH = (1280, 960)
# Held out: training draws its scenes from other seeds and sizes.
FIRST_SEED = 50_000
SMALL_SIDES = (0.02, 0.055)
PLAIN_KINDS = KINDS[:3]
STEPS_PX = (0, 5, 7, 10, 16, 32)


@dataclass(slots=True)
class Found:
    """What one way of asking found.

    Attributes:
        places: By size, whether each thing was found at IoU >= 0.5.
        names: By size, whether it was, with its name.
        right: How many boxes were some thing's, with its name.
        boxes: How many boxes there were.
        named: Whether a thing that was asked for by its name was found.
        rejected: Whether nothing was found of one that is not there.
    """

    places: dict[int, list[bool]] = field(default_factory=lambda: defaultdict(list))
    names: dict[int, list[bool]] = field(default_factory=lambda: defaultdict(list))
    right: int = 0
    boxes: int = 0
    named: list[bool] = field(default_factory=list)
    rejected: list[bool] = field(default_factory=list)

    def add(self, objects: Sequence[DetectedObject], truths: Sequence[Truth], sizes_px: Sequence[float]) -> None:
        """Compare an answer about all things with them."""
        found = [(each, each.xyxy) for each in objects if each.xyxy is not None]
        pairs = match_boxes([box for _, box in found], [truth.xyxy for truth in truths])
        at = {place: found[index][0] for index, place, overlap in pairs if overlap >= 0.5}
        for place, (truth, size_px) in enumerate(zip(truths, sizes_px, strict=True)):
            step = max(low for low in STEPS_PX if low <= size_px)
            self.places[step].append(place in at)
            self.names[step].append(place in at and at[place].label == truth.label)
        self.right += sum(each.label == truths[place].label for place, each in at.items())
        self.boxes += len(found)


def main() -> None:
    """Ask, print the tables and write build/benchmarks/zoom.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="checkpoint, or URL of a server (tiny)")
    parser.add_argument("--scenes", type=int, default=40, help="how many are drawn (40)")
    parser.add_argument("--max-pixels", type=int, default=224 * 168, help="what the model sees at most (37632)")
    arguments = parser.parse_args()
    silence_libraries()
    engine = open_engine(arguments.model)
    before, after = Found(), Found()
    times, tokens, looks = list[float](), list[float](), list[int]()
    for seed in range(FIRST_SEED, FIRST_SEED + arguments.scenes):
        scene = small_scene(seed)
        truths = [truth for truth in scene.truths if truth.label != "shadow"]
        whole, took_s = ask(engine, scene, "all objects", arguments.max_pixels)
        began_s = time.perf_counter()
        closer = look_closer(engine, whole)
        more_s = time.perf_counter() - began_s
        sizes_px = [size_px(truth, whole.answer.model_wh) for truth in truths]
        before.add(whole.objects, truths, sizes_px)
        after.add(closer.objects, truths, sizes_px)
        if closer.looks:
            times.append(1 + more_s / took_s)
            tokens.append(1 + sum(len(look.text) for look in closer.looks) / max(1, len(whole.answer.text)))
        looks.append(len(closer.looks))
        ask_by_name(engine, scene, truths, arguments.max_pixels, before, after)
    engine.close()
    print_table(rows_of(before, after))
    shares = {
        "precision": (before.right / before.boxes, after.right / after.boxes),
        "a small thing by its name, found": (statistics.mean(before.named), statistics.mean(after.named)),
        "a thing that is not there, rejected": (statistics.mean(before.rejected), statistics.mean(after.rejected)),
    }
    print()
    print_table([{"share": name, "off": f"{a:.2f}", "auto": f"{b:.2f}"} for name, (a, b) in shares.items()])
    costs = {
        "answers with looks": len(times) / arguments.scenes,
        "looks an answer": statistics.mean(looks),
        "time of those, median, off = 1": statistics.median(times),
        "text written, median, off = 1": statistics.median(tokens),
    }
    print()
    print_table([{"cost": name, "value": f"{value:.2f}"} for name, value in costs.items()])
    figures = {"model": arguments.model, "scenes": arguments.scenes, "max_pixels": arguments.max_pixels}
    write_json("zoom", {**figures, "by_size": rows_of(before, after), "shares": shares, "costs": costs})


def small_scene(seed: int) -> Scene:
    """Draw a scene in which two of three things are small and plain."""
    rng = np.random.default_rng(seed)
    spec = random_scene(rng, IMAGE_WH, int(rng.integers(2, 6)))
    objects = []
    for number, item in enumerate(spec.objects):
        if number % 3 != 2:
            kind = item.kind if item.kind in PLAIN_KINDS else str(rng.choice(PLAIN_KINDS))
            side = float(rng.uniform(*SMALL_SIDES))
            item = replace(item, side=side, kind=kind, shadow=0, pattern="plain")
        objects.append(item)
    return render(replace(spec, objects=tuple(objects)), IMAGE_WH)


def ask(engine: Engine, scene: Scene, text: str, max_pixels: int) -> tuple[Result, float]:
    """Ask about a whole scene; the answer, and seconds it took."""
    budget = PixelBudget(min(PixelBudget().min_pixels, max_pixels), max_pixels)
    began_s = time.perf_counter()
    frame = Frame(scene.rgb, FrameHeader(0, 0, "camera"), "/image", began_s)
    result = perceive(engine, Request(frame, build_prompt(text), budget, 512))
    return result, time.perf_counter() - began_s


def ask_by_name(
    engine: Engine, scene: Scene, truths: Sequence[Truth], max_pixels: int, before: Found, after: Found
) -> None:
    """Ask for the first thing, which is small, by its name, and for one of another name that is not there."""
    present = {truth.label for truth in truths}
    absent = next(
        name for colour in COLOURS for kind in PLAIN_KINDS if (name := f"{colour} {kind}") not in present
    )  # fmt: skip
    for name in (truths[0].label, absent) if truths else (absent,):
        whole, _ = ask(engine, scene, name, max_pixels)
        wanted = [truth.xyxy for truth in truths if truth.label == name]
        for found, result in ((before, whole), (after, look_closer(engine, whole))):
            boxes = [each.xyxy for each in result.objects if each.xyxy is not None]
            if name == absent:
                found.rejected.append(not boxes)
            else:
                found.named.append(any(overlap >= 0.5 for _, _, overlap in match_boxes(boxes, wanted)))


def size_px(truth: Truth, model_wh: WH) -> float:
    """Square root of a thing's area in pixels of what the model saw."""
    left, top, right, bottom = truth.xyxy
    return math.sqrt((right - left) * model_wh[0] / IMAGE_WH[0] * (bottom - top) * model_wh[1] / IMAGE_WH[1])


def rows_of(before: Found, after: Found) -> list[dict[str, object]]:
    """Make a row for each size, and one for all below 10 pixels."""
    rows: list[dict[str, object]] = []
    ranges = [(low, high) for low, high in zip(STEPS_PX, (*STEPS_PX[1:], 10**6), strict=True) if before.places.get(low)]
    for low, high in [*ranges, (0, 10)]:
        steps = [step for step in STEPS_PX if low <= step < high]

        def share(found: dict[int, list[bool]], steps: Sequence[int] = steps) -> str:
            return f"{statistics.mean(hit for step in steps for hit in found.get(step, [])):.2f}"

        rows.append(
            {
                "size, px": f"{low} to {high}" if high < 10**6 else f"{low} and more",
                "things": sum(len(before.places.get(step, [])) for step in steps),
                "found, off": share(before.places),
                "auto": share(after.places),
                "found and named, off": share(before.names),
                "named, auto": share(after.names),
            }
        )
    return rows


if __name__ == "__main__":
    main()
