"""Draw example pictures to try things on: `python -m vlm_perception.scenes FOLDER`."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vlm_perception.scenes.clips import DrawnClip
from vlm_perception.scenes.draw import Truth
from vlm_perception.scenes.moving import MovingScene

_IMAGE_WH = (640, 480)
_RATE_HZ = 10.0
_OBJECTS = 3
_SHORTEST_S = 1.5


def main(argv: Sequence[str] | None = None) -> int:
    """Draw and print what is in each picture, and what happens in the video.

    Writes `scene_1.png` and so on, `truth.json` (COCO) with their things, and `clip.mp4`.

    Returns:
        0, or 2 when the folder cannot be written to.
    """
    parser = argparse.ArgumentParser(prog="python -m vlm_perception.scenes", description="Draw example pictures.")
    parser.add_argument("folder", type=Path, help="where to; it is made")
    parser.add_argument("--images", type=int, default=4, help="how many images (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=41, help="how many frames of video (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=9000, help="which scenes are drawn (default: %(default)s)")
    options = parser.parse_args(argv)
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
        numbers = range(1, options.images + 1)
        drawn = [_image(options.folder / f"scene_{number}.png", options.seed + number) for number in numbers]
        _truth(options.folder / "truth.json", drawn)
        if options.frames > 0:
            _video(options.folder / "clip.mp4", options.seed, options.frames)
    except OSError as error:
        print(f"scenes: cannot write to {options.folder}: {error.strerror}; name another folder", file=sys.stderr)
        return 2
    return 0


def _image(path: Path, seed: int) -> tuple[str, tuple[Truth, ...]]:
    scene = MovingScene(seed, _IMAGE_WH, _OBJECTS).at(0.0)
    _, data = cv2.imencode(path.suffix, cv2.cvtColor(scene.rgb, cv2.COLOR_RGB2BGR))
    path.write_bytes(data.tobytes())
    print(f"{path}: {', '.join(truth.label for truth in scene.truths)}")
    return path.name, scene.truths


def _truth(path: Path, drawn: Sequence[tuple[str, tuple[Truth, ...]]]) -> None:
    """Write what `vlm-perception-evaluate` compares with: every thing, no shadows."""
    things = [(image, truth) for image, (_, truths) in enumerate(drawn) for truth in truths if truth.label != "shadow"]
    labels = sorted({truth.label for _, truth in things})
    annotations: list[dict[str, Any]] = []
    for image, truth in things:
        x1, y1, x2, y2 = truth.xyxy
        box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
        annotations.append({"id": len(annotations), "image_id": image, "category_id": labels.index(truth.label), **box})
    width, height = _IMAGE_WH
    images = [{"id": id_, "file_name": name, "width": width, "height": height} for id_, (name, _) in enumerate(drawn)]
    categories = [{"id": id_, "name": label} for id_, label in enumerate(labels)]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}) + "\n")
    print(f"{path}: {len(things)} things in {len(drawn)} images, as COCO")


def _video(path: Path, seed: int, frames: int) -> None:
    duration_s = max(_SHORTEST_S, (frames - 1) / _RATE_HZ)
    drawn = (DrawnClip(np.random.default_rng(one), _IMAGE_WH, duration_s) for one in itertools.count(seed))
    clip = next(clip for clip in drawn if clip.happenings)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), _RATE_HZ, _IMAGE_WH)
    if not writer.isOpened():
        raise OSError(0, "OpenCV cannot write MP4 there")
    for index in range(frames):
        writer.write(cv2.cvtColor(clip.at(index / _RATE_HZ).rgb, cv2.COLOR_RGB2BGR))
    writer.release()
    told = [
        f"{one.label} {one.what} {one.direction}, {one.start_s:.1f} s to {one.end_s:.1f} s" for one in clip.happenings
    ]
    print(f"{path}: {'; '.join(told)}")


if __name__ == "__main__":
    sys.exit(main())
