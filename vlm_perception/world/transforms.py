"""Where frames stand to each other at a time, by the rule of tf2, for machines without it.

Each frame hangs on one parent, fixed or moving. Between two known times of a moving one the translation goes straight
and the rotation by slerp; before the first and after the last nothing is known, and nothing is guessed. So a place
comes out the same here as in every other program of the robot. (pytransform3d's time-dependent transforms are screw
motions, which lie elsewhere between two samples.)

Source: tf2's `buffer_core.cpp`, `cache.cpp`, `static_cache.cpp` and `Quaternion::slerp` (ros2/geometry2).
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from vlm_perception.errors import VlmPerceptionError

XYZ = tuple[float, float, float]
XYZW = tuple[float, float, float, float]
Cause = Literal["unknown_frame", "unconnected", "too_old", "not_yet", "no_stamp"]
# As tf2 has it.
HISTORY_S = 10.0
_NAMED = 8


class TransformError(VlmPerceptionError):
    """Why there is no transform between two frames at a time.

    Attributes:
        cause: `not_yet` may pass, as it is about a time after the last one that is known.
    """

    def __init__(self, cause: Cause, text: str) -> None:
        super().__init__(text)
        self.cause = cause


class BadTransformError(VlmPerceptionError):
    """A transform that was announced and cannot be used."""


@dataclass(frozen=True, slots=True)
class Transform:
    """What makes coordinates of a source frame those of a target frame: turned first, then moved.

    Attributes:
        translation_m: Where the source's origin is in the target.
        quaternion_xyzw: How the source is turned in the target, a unit quaternion.
    """

    translation_m: XYZ
    quaternion_xyzw: XYZW

    @classmethod
    def of(cls, message: Any) -> Transform:
        """Return what a `geometry_msgs/Transform` says, of ROS or of a bag."""
        moved, turned = message.translation, message.rotation
        return cls((moved.x, moved.y, moved.z), (turned.x, turned.y, turned.z, turned.w))

    def after(self, first: Transform) -> Transform:
        """Return the transform that does `first` and then this one."""
        (x, y, z), (a, b, c) = _turned(self.quaternion_xyzw, first.translation_m), self.translation_m
        return Transform((x + a, y + b, z + c), _product(self.quaternion_xyzw, first.quaternion_xyzw))

    def inverse(self) -> Transform:
        """Return the way back."""
        x, y, z, w = self.quaternion_xyzw
        a, b, c = _turned((-x, -y, -z, w), self.translation_m)
        return Transform((-a, -b, -c), (-x, -y, -z, w))

    def moved(self, point_m: XYZ) -> XYZ:
        """Return a point's coordinates in the target frame, metres."""
        (x, y, z), (a, b, c) = _turned(self.quaternion_xyzw, point_m), self.translation_m
        return (x + a, y + b, z + c)

    def rotation(self) -> NDArray[np.float64]:
        """Return the (3, 3) matrix that turns vectors of the source frame into the target's."""
        columns = (_turned(self.quaternion_xyzw, axis) for axis in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
        return np.column_stack(list(columns))


IDENTITY = Transform((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))


class Transforms(Protocol):
    """Knows how frames stand to each other: ours, or tf2."""

    def lookup(self, target: str, source: str, stamp_ns: int) -> Transform:
        """Return what makes coordinates of `source` those of `target`, at a time.

        Raises:
            TransformError: There is none.
        """
        ...


@dataclass(slots=True)
class _Link:
    """How one frame stood to its parent, by time; one sample, at no time, where it is fixed."""

    fixed: bool
    stamps_ns: list[int] = field(default_factory=list)
    samples: list[tuple[str, Transform]] = field(default_factory=list)


class TransformBuffer:
    """What was announced in the last seconds. Thread-safe.

    Args:
        history_s: How long a moving transform is kept after it was announced, by the stamps of its own frame.
    """

    def __init__(self, history_s: float = HISTORY_S) -> None:
        self._history_ns = round(history_s * 1e9)
        self._lock = threading.Lock()
        self._links: dict[str, _Link] = {}
        self._names: set[str] = set()

    def set_transform(self, parent: str, child: str, stamp_ns: int, transform: Transform, *, fixed: bool) -> None:
        """Take what was announced: coordinates of `child` become those of `parent` by it.

        Args:
            parent: Frame id; a slash in front does not count, as in tf2.
            child: The same.
            stamp_ns: When it is so; of no meaning where it is `fixed`.
            transform: From child to parent.
            fixed: Whether it holds at all times (`/tf_static`); what was announced last tells.

        Raises:
            BadTransformError: It names no frame or the same one twice, is no number, no rotation, or is older than
                everything that is kept.
        """
        parent, child = parent.removeprefix("/"), child.removeprefix("/")
        transform = _checked(parent, child, transform)
        with self._lock:
            self._names |= {parent, child}
            link = self._links.get(child)
            if link is None or link.fixed != fixed:
                link = self._links[child] = _Link(fixed)
            if fixed:
                link.stamps_ns, link.samples = [0], [(parent, transform)]
                return
            newest_ns = link.stamps_ns[-1] if link.stamps_ns else stamp_ns
            # tf2 looks before it adds, so that the two samples before and after a pause are both kept.
            old = bisect_left(link.stamps_ns, newest_ns - self._history_ns)
            del link.stamps_ns[:old], link.samples[:old]
            if stamp_ns < newest_ns - self._history_ns:
                raise BadTransformError(
                    f"the transform from {child} to {parent} at {_seconds(stamp_ns)} is {_apart(stamp_ns, newest_ns)} "
                    f"older than the newest: a second node publishes it, or a bag began again without use_sim_time"
                )
            place = bisect_right(link.stamps_ns, stamp_ns)
            link.stamps_ns.insert(place, stamp_ns)
            link.samples.insert(place, (parent, transform))

    def clear(self) -> None:
        """Forget what moves, as when time is set back; what is fixed stays."""
        with self._lock:
            for link in self._links.values():
                if not link.fixed:
                    link.stamps_ns, link.samples = [], []

    def lookup(self, target: str, source: str, stamp_ns: int) -> Transform:
        """See `Transforms`."""
        target, source = target.removeprefix("/"), source.removeprefix("/")
        if target == source:
            return IDENTITY
        what = f"no transform from {source} to {target} at {_seconds(stamp_ns)}"
        if stamp_ns == 0:
            raise TransformError("no_stamp", f"{what}: the image has no stamp; let the driver set it")
        with self._lock:
            if unknown := next((name for name in (source, target) if name not in self._names), None):
                raise TransformError("unknown_frame", f"{what}: {self._unknown(unknown)}")
            up, missing = {source: IDENTITY}, None
            total = IDENTITY
            try:
                for frame, step in self._climb(source, stamp_ns):
                    up[frame] = total = step.after(total)
            except TransformError as error:
                # The way may branch off before.
                missing = error
            if target in up:
                return up[target]
            total, top = IDENTITY, target
            try:
                for frame, step in self._climb(target, stamp_ns):
                    total, top = step.after(total), frame
                    if frame in up:
                        return total.inverse().after(up[frame])
            except TransformError as error:
                raise TransformError(error.cause, f"{what}: {error}") from error
        if missing is not None:
            raise TransformError(missing.cause, f"{what}: {missing}") from missing
        raise TransformError(
            "unconnected",
            f"{what}: one hangs on {list(up)[-1]}, the other on {top}, and nothing on /tf or /tf_static joins the two",
        )

    def _climb(self, frame: str, stamp_ns: int) -> Iterator[tuple[str, Transform]]:
        """Go from a frame to its parents up to the root."""
        seen = {frame}
        while (link := self._links.get(frame)) is not None:
            parent, step = _at(link, frame, stamp_ns)
            if parent in seen:
                raise TransformError("unconnected", f"{frame} and {parent} hang on each other; publish one of them")
            seen.add(parent)
            yield parent, step
            frame = parent

    def _unknown(self, name: str) -> str:
        named = sorted(self._names)
        known = ", ".join(named[:_NAMED]) + (", ..." if len(named) > _NAMED else "") if named else "none"
        return f"nothing on /tf or /tf_static names {name!r} (known: {known}); correct it, or start what publishes it"


def _at(link: _Link, frame: str, stamp_ns: int) -> tuple[str, Transform]:
    stamps, samples = link.stamps_ns, link.samples
    if link.fixed:
        return samples[0]
    if not stamps:
        raise TransformError("not_yet", f"of {frame} nothing came since time was set back")
    after = bisect_right(stamps, stamp_ns)
    if after and stamps[after - 1] == stamp_ns:
        return samples[after - 1]
    parent = samples[-1][0]
    if len(stamps) == 1:
        raise TransformError("not_yet", f"{frame} in {parent} is known at {_seconds(stamps[0])} alone")
    if after == len(stamps):
        last, apart = _seconds(stamps[-1]), _apart(stamp_ns, stamps[-1])
        raise TransformError("not_yet", f"{frame} in {parent} ends at {last}, {apart} before: it comes late, or ended")
    if after == 0:
        first, apart = _seconds(stamps[0]), _apart(stamp_ns, stamps[0])
        raise TransformError("too_old", f"{frame} in {parent} begins at {first}, {apart} later")
    (parent, one), (other, two) = samples[after - 1], samples[after]
    if parent != other:
        return parent, one
    share = (stamp_ns - stamps[after - 1]) / (stamps[after] - stamps[after - 1])
    ax, ay, az = one.translation_m
    bx, by, bz = two.translation_m
    moved = (ax + (bx - ax) * share, ay + (by - ay) * share, az + (bz - az) * share)
    return parent, Transform(moved, _slerp(one.quaternion_xyzw, two.quaternion_xyzw, share))


def _checked(parent: str, child: str, transform: Transform) -> Transform:
    """Return it with a quaternion of length 1.

    Raises:
        BadTransformError: tf2 would not take it.
    """
    what = f"the transform from {child!r} to {parent!r}"
    if not parent or not child or parent == child:
        raise BadTransformError(f"{what} needs the names of two frames")
    numbers = (*transform.translation_m, *transform.quaternion_xyzw)
    length = math.hypot(*transform.quaternion_xyzw)
    if not all(math.isfinite(number) for number in numbers) or length == 0.0:
        raise BadTransformError(f"{what} is no movement: translation and quaternion (x, y, z, w) are {numbers}")
    x, y, z, w = transform.quaternion_xyzw
    return Transform(transform.translation_m, (x / length, y / length, z / length, w / length))


def _product(one: XYZW, two: XYZW) -> XYZW:
    ax, ay, az, aw = one
    bx, by, bz, bw = two
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by + ay * bw + az * bx - ax * bz,
        aw * bz + az * bw + ax * by - ay * bx,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def _turned(by: XYZW, vector: XYZ) -> XYZ:
    x, y, z, w = by
    a, b, c = vector
    # Twice the cross product of the axis with the vector.
    p, q, r = 2 * (y * c - z * b), 2 * (z * a - x * c), 2 * (x * b - y * a)
    return (a + w * p + y * r - z * q, b + w * q + z * p - x * r, c + w * r + x * q - y * p)


def _slerp(one: XYZW, two: XYZW, share: float) -> XYZW:
    """Turn from one to the other at a constant rate, the shorter way round: a quaternion's sign means nothing."""
    dot = sum(a * b for a, b in zip(one, two, strict=True))
    sign = -1.0 if dot < 0 else 1.0
    angle = math.acos(min(1.0, abs(dot)))
    if angle == 0.0:
        return one
    first, second = math.sin((1 - share) * angle) / math.sin(angle), sign * math.sin(share * angle) / math.sin(angle)
    x, y, z, w = (first * a + second * b for a, b in zip(one, two, strict=True))
    return (x, y, z, w)


def _seconds(stamp_ns: int) -> str:
    return f"{stamp_ns * 1e-9:.3f}"


def _apart(one_ns: int, other_ns: int) -> str:
    return f"{abs(one_ns - other_ns) * 1e-9:.3f} s"
