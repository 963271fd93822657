"""Draw example pictures to try things on: `python -m vlm_perception.scenes FOLDER`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2

from vlm_perception.scenes.moving import MovingScene

_IMAGE_WH = (640, 480)
_RATE_HZ = 10.0
_OBJECTS = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Write `scene_1.png` and so on and `clip.mp4`, and print what is in each.

    Returns:
        0, or 2 when the folder cannot be written to.
    """
    parser = argparse.ArgumentParser(prog="python -m vlm_perception.scenes", description="Draw example pictures.")
    parser.add_argument("folder", type=Path, help="where to; it is made")
    parser.add_argument("--images", type=int, default=4, help="how many images (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=20, help="how many frames of video (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=9000, help="which scenes are drawn (default: %(default)s)")
    options = parser.parse_args(argv)
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, options.images + 1):
            _image(options.folder / f"scene_{number}.png", options.seed + number)
        if options.frames > 0:
            _video(options.folder / "clip.mp4", options.seed, options.frames)
    except OSError as error:
        print(f"scenes: cannot write to {options.folder}: {error.strerror}; name another folder", file=sys.stderr)
        return 2
    return 0


def _image(path: Path, seed: int) -> None:
    scene = MovingScene(seed, _IMAGE_WH, _OBJECTS).at(0.0)
    _, data = cv2.imencode(path.suffix, cv2.cvtColor(scene.rgb, cv2.COLOR_RGB2BGR))
    path.write_bytes(data.tobytes())
    print(f"{path}: {', '.join(truth.label for truth in scene.truths)}")


def _video(path: Path, seed: int, frames: int) -> None:
    moving = MovingScene(seed, _IMAGE_WH, _OBJECTS)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), _RATE_HZ, _IMAGE_WH)
    if not writer.isOpened():
        raise OSError(0, "OpenCV cannot write MP4 there")
    for index in range(frames):
        writer.write(cv2.cvtColor(moving.at(index / _RATE_HZ).rgb, cv2.COLOR_RGB2BGR))
    writer.release()
    print(f"{path}: {', '.join(truth.label for truth in moving.at(0.0).truths)}")


if __name__ == "__main__":
    sys.exit(main())
