"""How well things are placed in space, and what it costs: `python -m benchmarks.space`.

A camera of 1280x720 with a lens films drawn things in a room, from a base that stands still or drives (0.5 m/s, 45
deg/s). Depth has 1 % of noise, holes and mixed edges; boxes are the true ones of the asked frame with 2 pixels of
noise, and come after a delay. `ours` takes depth and transform at the stamp of the asked frame, interpolated between
those of a base that tells them 50 times a second; `at_answer` takes both when the answer comes. Errors are against the
true middle of a thing in the world, and its true extents along the camera's axes; a place that was not given counts in
`no_place`, none in the errors. `lift_ms` is the median processor time for 12 boxes at once.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import print_table, write_json
from vlm_perception.scenes.world import Board, Pose, Seen, World, base_at, camera_on, measured, quaternion_xyzw
from vlm_perception.types import DetectedObject
from vlm_perception.world.camera_model import CameraModel
from vlm_perception.world.lift import Spot, lift
from vlm_perception.world.transforms import Transform, TransformBuffer

IMAGE_WH = (1280, 720)
FOCAL_PX = 1000.0
LENS = (-0.12, 0.03, 0.001, -0.001, 0.0)
BASES = {"still": (0.0, 0.0), "moving": (0.5, 45.0)}
DELAYS_S = (0.2, 0.5, 1.0, 2.0)
TF_PERIOD_S = 0.02
BOX_NOISE_PX = 2.0
LIFTED = 12


@dataclass(frozen=True, slots=True)
class Row:
    """Errors over all things of all rooms, metres."""

    base: str
    delay_s: float
    method: str
    things: int
    no_place: int
    position_error_m_median: float
    position_error_m_p95: float
    size_error_m_median: float
    lift_ms: float


def camera_model() -> CameraModel:
    """Return the camera: 65 degrees wide, with the lens of a usual webcam."""
    middle = ((IMAGE_WH[0] - 1) / 2, (IMAGE_WH[1] - 1) / 2)
    k = (FOCAL_PX, 0.0, middle[0], 0.0, FOCAL_PX, middle[1], 0.0, 0.0, 1.0)
    return CameraModel(IMAGE_WH, k, "plumb_bob", LENS)


def rays_of(camera: CameraModel) -> NDArray[np.float32]:
    """Return (h, w, 3) rays of all pixels."""
    width, height = camera.image_wh
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).reshape(-1, 2).astype(np.float64)
    return camera.rays_of(pixels).reshape(height, width, 3).astype(np.float32)


def transforms(speed_m_s: float, turn_deg_s: float, until_s: float) -> TransformBuffer:
    """Tell where the camera is, as a robot does: again and again, and at no image's own time."""
    buffer = TransformBuffer(history_s=until_s + 1)
    for number in range(math.ceil(until_s / TF_PERIOD_S) + 2):
        time_s = (number - 0.4) * TF_PERIOD_S
        pose = camera_on(base_at(time_s, speed_m_s, turn_deg_s))
        x, y, z = pose.position_m.tolist()
        transform = Transform((x, y, z), quaternion_xyzw(pose.rotation))
        buffer.set_transform("world", "camera", _stamp_ns(time_s), transform, fixed=False)
    return buffer


def true_size_m(board: Board, camera: Pose) -> NDArray[np.float64]:
    """Return a thing's extents along x and y of the camera."""
    rows, columns = np.nonzero(board.shape)
    height, width = board.shape.shape
    across = ((columns + 0.5) / width - 0.5)[:, None] * board.size_m[0] * board.across
    down = ((rows + 0.5) / height - 0.5)[:, None] * board.size_m[1] * np.array([0.0, 0.0, -1.0])
    return np.ptp((across + down) @ camera.rotation, axis=0)[:2]


def boxed(seen: Seen, rng: np.random.Generator) -> DetectedObject:
    """Find a thing as a model does: not quite where it is."""
    left, top, right, bottom = np.array(seen.xyxy) + rng.normal(0, BOX_NOISE_PX, 4)
    return DetectedObject(seen.board.label, (float(left), float(top), float(right), float(bottom)), None)


def rows(rooms: int, asks: int) -> Iterator[Row]:
    """Measure all bases, delays and methods."""
    camera = camera_model()
    rays = rays_of(camera)
    for base, (speed_m_s, turn_deg_s) in BASES.items():
        buffer = transforms(speed_m_s, turn_deg_s, 4.0 + max(DELAYS_S))
        errors: dict[tuple[float, str], list[tuple[float, float]]] = {}
        missing: dict[tuple[float, str], int] = {}
        took_s: list[float] = []
        for seed in range(rooms):
            world, rng = World(seed), np.random.default_rng(seed)
            for asked_s in np.linspace(0.2, 4.0, asks).tolist():
                pose = camera_on(base_at(asked_s, speed_m_s, turn_deg_s))
                view = world.view(rays, pose)
                objects = [boxed(seen, rng) for seen in view.seen]
                if not objects:
                    continue
                depth_m = measured(view.depth_m, rng)
                took_s.append(_seconds_of(objects, depth_m, camera))
                for delay_s in DELAYS_S:
                    late = world.view(rays, camera_on(base_at(asked_s + delay_s, speed_m_s, turn_deg_s)))
                    taken = {"ours": (depth_m, asked_s), "at_answer": (measured(late.depth_m, rng), asked_s + delay_s)}
                    for method, (depth, time_s) in taken.items():
                        found = errors.setdefault((delay_s, method), [])
                        there = buffer.lookup("world", "camera", _stamp_ns(time_s))
                        for seen, spot in zip(view.seen, lift(objects, IMAGE_WH, depth, camera), strict=True):
                            if not isinstance(spot, Spot):
                                missing[delay_s, method] = missing.get((delay_s, method), 0) + 1
                                continue
                            place = spot.seen_from(there).position_m
                            off = np.abs(np.array(spot.size_m[:2]) - true_size_m(seen.board, pose)).mean()
                            found.append((math.dist(place, seen.board.centre_m), float(off)))
        for (delay_s, method), found in errors.items():
            places, sizes = np.array(found).T
            yield Row(
                base,
                delay_s,
                method,
                len(found),
                missing.get((delay_s, method), 0),
                round(float(np.median(places)), 4),
                round(float(np.percentile(places, 95)), 4),
                round(float(np.median(sizes)), 4),
                round(statistics.median(took_s) * 1e3, 2),
            )


def _seconds_of(objects: list[DetectedObject], depth_m: NDArray[np.float32], camera: CameraModel) -> float:
    many = (objects * LIFTED)[:LIFTED]
    began_s = time.thread_time()
    lift(many, IMAGE_WH, depth_m, camera)
    return time.thread_time() - began_s


def _stamp_ns(time_s: float) -> int:
    # A stamp of 0 means none.
    return round((time_s + 100.0) * 1e9)


def main() -> None:
    """Print the table and write build/benchmarks/space.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rooms", type=int, default=8, help="rooms with 4 things each")
    parser.add_argument("--asks", type=int, default=6, help="frames that are asked about in each room")
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args()
    found = [asdict(row) for row in rows(options.rooms, options.asks)]
    print_table(found)
    write_json("space", {"image_wh": IMAGE_WH, "rows": found}, options.output)


if __name__ == "__main__":
    main()
