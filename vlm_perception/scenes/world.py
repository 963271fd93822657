"""A small room with drawn things at known places, seen by a camera that moves: colour, depth, and the truth.

World frame (REP 103): x forward, y left, z up, metres. The things are flat cut-outs that stand upright before a wall.
What a camera sees is computed ray by ray, so its lens may be any.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vlm_perception.scenes.backgrounds import draw_background
from vlm_perception.scenes.draw import MIN_VISIBLE, cut_out
from vlm_perception.scenes.spec import COLOURS, KINDS, Background, ObjectSpec, random_scene

_Vector = NDArray[np.float64]
_FORWARD, _RIGHT, _UP = np.array([1.0, 0.0, 0.0]), np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0])
_LONG_PX = 256
_COARSE = 4
_FLOOR_WH_M = (40.0, 40.0)
_WALL_M, _WALL_WH_M = 4.5, (16.0, 7.0)
_HEIGHT_M = 0.7
_TURN_RAD, _SWING_M = math.radians(8.0), 0.25
# The whole of what can be seen from where the camera goes.
_BEARING_RAD = math.radians(18.0)
_EDGE_SHARE = 0.05
_HOLES = 4


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a frame is in the world: `rotation` (3, 3) turns its vectors into the world's, `position_m` is (3,)."""

    rotation: _Vector
    position_m: _Vector


# Of a camera that looks along x of its base.
OPTICAL = Pose(np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), np.array([0.1, 0.0, _HEIGHT_M]))


@dataclass(frozen=True, slots=True)
class Board:
    """One thing.

    Attributes:
        label: Colour and kind, such as "red cart".
        centre_m: Of the cut-out, in the world.
        size_m: Width and height.
        yaw_rad: Where its back looks, about z; 0 turns its face to the camera's side.
        rgb: (h, w, 3) uint8, its picture.
        shape: (h, w), which pixels of that are the thing.
    """

    label: str
    centre_m: _Vector
    size_m: tuple[float, float]
    yaw_rad: float
    rgb: NDArray[np.uint8]
    shape: NDArray[np.bool_]

    @property
    def across(self) -> _Vector:
        """Unit vector along its width in the world, to the right of who looks at its face."""
        return np.array([math.sin(self.yaw_rad), -math.cos(self.yaw_rad), 0.0])


@dataclass(frozen=True, slots=True)
class Seen:
    """A thing that is in view: where its visible pixels are, xyxy in pixels."""

    board: Board
    xyxy: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class View:
    """What a camera sees: (h, w, 3) uint8 RGB, (h, w) float32 metres along the optical axis, and what is in it."""

    rgb: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    seen: tuple[Seen, ...]


class World:
    """The same seed makes the same room.

    Args:
        seed: Chooses things, places and wall.
        n_objects: How many things, 1 to 12; no two of them have one label.
    """

    def __init__(self, seed: int, n_objects: int = 4) -> None:
        rng = np.random.default_rng(seed)
        labels = [(colour, kind) for colour in COLOURS for kind in KINDS]
        chosen = [labels[place] for place in rng.permutation(len(labels))[:n_objects]]
        # Nothing but its background is wanted, whose colours are pale.
        pale = random_scene(rng, (64, 48), 1).background
        self.boards = tuple(
            _board(rng, colour, kind, (place + 0.5) / n_objects) for place, (colour, kind) in enumerate(chosen)
        )
        background = Background("clouds", pale.rgb, pale.rgb2, pale.seed)
        self._wall = draw_background(background, (800, 350)).astype(np.uint8)
        self._floor = (draw_background(background, (64, 64)) * 0.75).astype(np.uint8)
        self._noise = rng.normal(0.0, 3.0, (64, 64, 3)).astype(np.float32)

    def view(self, rays: NDArray[np.float32], camera: Pose) -> View:
        """Look at it.

        Args:
            rays: (h, w, 3) of each pixel in the camera's optical frame, z = 1.
            camera: Of the optical frame.
        """
        height, width = rays.shape[:2]
        small_wh = (-(-width // _COARSE), -(-height // _COARSE))
        coarse = np.asarray(cv2.resize(rays, small_wh, interpolation=cv2.INTER_AREA), np.float32)
        rgb, depth_m = self._room(coarse, camera)
        rgb = np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
        depth_m = np.asarray(cv2.resize(depth_m, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
        owner = np.zeros((height, width), np.uint8)
        areas = {}
        for number, board in enumerate(self.boards, start=1):
            surface = _Surface(board.centre_m, board.across, -_UP, board.size_m, board.rgb, board.shape)
            part = surface.part_of(coarse, camera)
            areas[number] = 0
            if part is not None:
                taken, areas[number] = surface.paint(part, rays, camera, rgb, depth_m)
                owner[part][taken] = number
        noise = np.tile(self._noise, (-(-height // 64), -(-width // 64), 1))[:height, :width]
        lit = np.clip(rgb + noise, 0, 255).astype(np.uint8)
        seen = [
            Seen(board, box)
            for number, board in enumerate(self.boards, start=1)
            if (box := _visible_box(owner == number, areas[number])) is not None
        ]
        return View(lit, depth_m, tuple(seen))

    def _room(self, rays: NDArray[np.float32], camera: Pose) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Look at wall and floor, which are smooth: a few rays do."""
        rgb, depth_m = np.zeros(rays.shape, np.uint8), np.full(rays.shape[:2], np.inf, np.float32)
        whole = (slice(None), slice(None))
        middle = np.array([_WALL_M, 0.0, _WALL_WH_M[1] / 2 - 1.0])
        _Surface(middle, _RIGHT, -_UP, _WALL_WH_M, self._wall).paint(whole, rays, camera, rgb, depth_m)
        floor = _Surface(np.zeros(3), _RIGHT, -_FORWARD, _FLOOR_WH_M, self._floor)
        floor.paint(whole, rays, camera, rgb, depth_m)
        return rgb, depth_m


def base_at(time_s: float, speed_m_s: float, turn_deg_s: float) -> Pose:
    """Return where a base is that swings to and fro before the things.

    Args:
        time_s: Since the start.
        speed_m_s: Its top speed.
        turn_deg_s: Its top rate of turn.
    """
    yaw = _TURN_RAD * math.sin(math.radians(turn_deg_s) / _TURN_RAD * time_s)
    moved = _SWING_M * math.sin(speed_m_s / _SWING_M * time_s)
    turn = np.array([[math.cos(yaw), -math.sin(yaw), 0.0], [math.sin(yaw), math.cos(yaw), 0.0], [0.0, 0.0, 1.0]])
    return Pose(turn, np.array([0.3 * moved, moved, 0.0]))


def camera_on(base: Pose) -> Pose:
    """Return the optical frame of the camera on a base."""
    return Pose(base.rotation @ OPTICAL.rotation, base.position_m + base.rotation @ OPTICAL.position_m)


def quaternion_xyzw(turn: _Vector) -> tuple[float, float, float, float]:
    """Return the quaternion of a rotation matrix (3, 3), by the eigenvector of Bar-Itzhack's matrix."""
    (a, b, c), (d, e, f), (g, h, i) = turn
    rows = [
        [a - e - i, b + d, c + g, h - f],
        [0, e - a - i, f + h, c - g],
        [0, 0, i - a - e, d - b],
        [0, 0, 0, a + e + i],
    ]
    values, vectors = np.linalg.eigh(np.array(rows), UPLO="U")
    x, y, z, w = vectors[:, np.argmax(values)].tolist()
    return x, y, z, w


def measured(depth_m: NDArray[np.float32], rng: np.random.Generator, noise_share: float = 0.01) -> NDArray[np.float32]:
    """Return depth as a sensor gives it: noise by distance, holes, and at edges neither the one nor the other.

    Args:
        depth_m: (h, w) true metres.
        rng: Source of chance.
        noise_share: Standard deviation, of the depth.
    """
    height, width = depth_m.shape
    noise = rng.standard_normal((height, width), np.float32) * np.float32(noise_share)
    found = depth_m * (1 + noise)
    far, near = cv2.dilate(depth_m, np.ones((3, 3), np.uint8)), cv2.erode(depth_m, np.ones((3, 3), np.uint8))
    edge = far > near * (1 + _EDGE_SHARE)
    share, holes = rng.random((2, np.count_nonzero(edge)), np.float32)
    found[edge] = np.where(holes < 0.5, np.nan, near[edge] + (far[edge] - near[edge]) * share)
    for x, y, size in zip(*rng.random((3, _HOLES)), strict=True):
        centre, radius = (int(x * width), int(y * height)), max(2, int(0.03 * size * width))
        hole = np.zeros((height, width), np.uint8)
        cv2.circle(hole, centre, radius, 1, cv2.FILLED)
        found[hole == 1] = np.nan
    return np.asarray(found, np.float32)


@dataclass(frozen=True, slots=True)
class _Surface:
    """A flat picture in the world: its middle, unit vectors along its rows and down its columns, and its size."""

    centre_m: _Vector
    across: _Vector
    down: _Vector
    size_m: tuple[float, float]
    rgb: NDArray[np.uint8]
    shape: NDArray[np.bool_] | None = None

    def part_of(self, coarse: NDArray[np.float32], camera: Pose) -> tuple[slice, slice] | None:
        """Return rows and columns of the pixels that it may be in, by the coarse rays; None when it is out of view."""
        halves = [(x * self.size_m[0] / 2, y * self.size_m[1] / 2) for x in (-1, 1) for y in (-1, 1)]
        corners = [self.centre_m + x * self.across + y * self.down for x, y in halves]
        points = (np.array(corners) - camera.position_m) @ camera.rotation
        if points[:, 2].min() < 0.05:
            return None
        flat = points[:, :2] / points[:, 2:]
        low, high = flat.min(0), flat.max(0)
        inside = (coarse[..., 0] >= low[0]) & (coarse[..., 0] <= high[0])
        inside &= (coarse[..., 1] >= low[1]) & (coarse[..., 1] <= high[1])
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        if not rows.size:
            return None
        # One coarse ray more on every side, for what lies between two.
        top, left = max(0, rows[0] - 1) * _COARSE, max(0, columns[0] - 1) * _COARSE
        return (slice(top, (rows[-1] + 2) * _COARSE), slice(left, (columns[-1] + 2) * _COARSE))

    def paint(
        self,
        part: tuple[slice, slice],
        rays: NDArray[np.float32],
        camera: Pose,
        rgb: NDArray[np.uint8],
        depth_m: NDArray[np.float32],
    ) -> tuple[NDArray[np.bool_], int]:
        """Paint where nothing nearer is; returns those pixels of the part, and how many it had alone."""
        centre = (self.centre_m - camera.position_m) @ camera.rotation
        axes = np.stack([np.cross(self.across, self.down), self.across, self.down]) @ camera.rotation
        along = rays[part] @ axes.T.astype(np.float32)
        with np.errstate(all="ignore"):
            depth = np.float32(centre @ axes[0]) / along[..., 0]
            x = (depth * along[..., 1] - np.float32(centre @ axes[1])) / np.float32(self.size_m[0]) + np.float32(0.5)
            y = (depth * along[..., 2] - np.float32(centre @ axes[2])) / np.float32(self.size_m[1]) + np.float32(0.5)
            alone = (depth > 0) & (x >= 0) & (x < 1) & (y >= 0) & (y < 1)
        height, width = self.rgb.shape[:2]
        x, y = np.where(alone, x, 0) * width, np.where(alone, y, 0) * height
        if self.shape is not None:
            alone &= self.shape[np.minimum(y.astype(np.int64), height - 1), np.minimum(x.astype(np.int64), width - 1)]
        taken: NDArray[np.bool_] = alone & (depth < depth_m[part])
        border = cv2.BORDER_REPLICATE
        painted = cv2.remap(self.rgb, (x - 0.5).astype(np.float32), (y - 0.5).astype(np.float32), 1, borderMode=border)
        rgb[part][taken] = painted[taken]
        depth_m[part][taken] = depth[taken]
        return taken, int(np.count_nonzero(alone))


def _board(rng: np.random.Generator, colour: str, kind: str, place: float) -> Board:
    aspect = {"cart": 0.75, "face": 1.0}.get(kind, float(rng.uniform(0.85, 1.2)))
    hue, saturation, value = COLOURS[colour]
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue / 360, saturation, value))
    item = ObjectSpec(kind, colour, (red, green, blue), "plain", 0.5, 0.5, 1.0, aspect, 0.0, 0)
    rgb, shape = cut_out(item, _LONG_PX)
    long_m = float(rng.uniform(0.3, 0.45))
    size_m = (long_m, long_m * aspect) if aspect <= 1 else (long_m / aspect, long_m)
    bearing, away_m = _BEARING_RAD * (1 - 2 * place), float(rng.uniform(1.7, 2.8))
    centre = np.array([away_m * math.cos(bearing), away_m * math.sin(bearing), float(rng.uniform(0.4, 1.0))])
    return Board(f"{colour} {kind}", centre, size_m, bearing + float(rng.uniform(-0.3, 0.3)), rgb, shape)


def _visible_box(mask: NDArray[np.bool_], whole: int) -> tuple[float, float, float, float] | None:
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not columns.size or np.count_nonzero(mask) < MIN_VISIBLE * whole:
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
