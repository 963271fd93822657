"""Depth, calibration and transforms that a bag holds beside a camera's images, and where objects are by them."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

from vlm_perception.apps.detect.inputs import DepthBeside, Note
from vlm_perception.errors import ImageError
from vlm_perception.frames.bags import Bag, BagMessage, metres_of
from vlm_perception.ros.topics import TF_STATIC_TOPIC, TF_TOPIC, camera_info_topic, is_rectified
from vlm_perception.types import FrameHeader, Result
from vlm_perception.world.depth_pairing import DepthSource, pair
from vlm_perception.world.lift import NoSpot, Places, Spot, check_aligned, lift
from vlm_perception.world.transforms import BadTransformError, Transform, TransformBuffer, TransformError

# What is recorded so long after an image counts for it: its depth, and the next place of a slow localisation.
AHEAD_NS = 500_000_000
_KEPT_NS = 2 * AHEAD_NS
_HISTORY_S = 60.0
_Stamped = deque[tuple[int, int, Any]]


class BagSpace:
    """What is known about space around the image that is asked about now.

    Args:
        path: The bag; named to people.
        bag: Open.
        camera: Topic of the images.
        depth: What belongs to them.
        note: Told in words, once, that a message or transform cannot be used.

    Attributes:
        topics: What is to be heard.

    Raises:
        ImageError: The bag has no such depth.
    """

    def __init__(self, path: Path, bag: Bag, camera: str, depth: DepthBeside, note: Note) -> None:
        name = depth.depth_topic if depth.depth_topic.startswith("/") else f"/{depth.depth_topic}"
        if name not in bag.topics:
            there = ", ".join(sorted(bag.topics))
            raise ImageError(f"{path} has no depth topic {name}, but {there}: name one of them", cause="no_depth")
        self._bag, self._note = bag, note
        self._source = DepthSource(name, camera_info_topic(camera), depth.depth_tolerance_s, is_rectified(camera))
        self._target = depth.target_frame
        moving = (TF_TOPIC, TF_STATIC_TOPIC) if self._target else ()
        self.topics = tuple(each for each in (name, self._source.info_topic, *moving) if each in bag.topics)
        self._depths: _Stamped = deque()
        self._infos: _Stamped = deque()
        self._transforms = TransformBuffer(_HISTORY_S)
        self._told: set[str] = set()
        self._placed: tuple[Result, Places] | None = None

    def hear(self, message: BagMessage) -> None:
        """Take a message on one of the topics."""
        try:
            content = self._bag.content(message)
        except ImageError as error:
            self._tell_once(message.topic, str(error))
            return
        if message.topic in (TF_TOPIC, TF_STATIC_TOPIC):
            for each in content.transforms:
                self._take_transform(each, message.topic)
            return
        kept = self._depths if message.topic == self._source.depth_topic else self._infos
        kept.append((message.recorded_ns, _nanoseconds(content.header.stamp), content))
        # One is always kept: a calibration may have been sent only once.
        while len(kept) > 1 and message.recorded_ns - kept[0][0] > _KEPT_NS:
            kept.popleft()

    def place(self, result: Result) -> Places:
        """Place the objects of an answer about the newest image."""
        if self._placed is None or self._placed[0] is not result:
            self._placed = result, self._place(result)
        return self._placed[1]

    def _place(self, result: Result) -> Places:
        header = result.request.frame.header
        spots = self._spots(result, header)
        if not self._target or self._target == header.frame_id:
            return Places(header.frame_id, spots)
        try:
            there = self._transforms.lookup(self._target, header.frame_id, _stamp_ns(header))
        except TransformError as error:
            none = NoSpot("no_transform", str(error))
            return Places(self._target, tuple(none if isinstance(spot, Spot) else spot for spot in spots), False)
        moved = (spot.seen_from(there) if isinstance(spot, Spot) else spot for spot in spots)
        return Places(self._target, tuple(moved), is_optical=False)

    def _spots(self, result: Result, header: FrameHeader) -> tuple[Spot | NoSpot, ...]:
        """Place them in the camera's own frame."""
        stamp_ns, image_wh, n_objects = _stamp_ns(header), result.request.frame.image_wh, len(result.objects)
        found = pair(stamp_ns, _closest(self._depths, stamp_ns), _closest(self._infos, stamp_ns), self._source)
        if isinstance(found, NoSpot):
            return (found,) * n_objects
        message, camera = found
        try:
            depth_m = metres_of(message)
        except ImageError as error:
            return (NoSpot(error.cause, f"{self._source.depth_topic}: {error}"),) * n_objects
        depth_wh = (depth_m.shape[1], depth_m.shape[0])
        refused = check_aligned(image_wh, header.frame_id, depth_wh, message.header.frame_id)
        if refused is not None:
            return (NoSpot(refused.cause, f"{self._source.depth_topic}: {refused.text}"),) * n_objects
        return lift(result.objects, image_wh, depth_m, camera)

    def _take_transform(self, message: Any, topic: str) -> None:
        stamp_ns = _nanoseconds(message.header.stamp)
        moved, turned = message.transform.translation, message.transform.rotation
        transform = Transform((moved.x, moved.y, moved.z), (turned.x, turned.y, turned.z, turned.w))
        parent, child = message.header.frame_id, message.child_frame_id
        try:
            self._transforms.set_transform(parent, child, stamp_ns, transform, fixed=topic == TF_STATIC_TOPIC)
        except BadTransformError as error:
            self._tell_once(f"{topic} {child}", str(error))

    def _tell_once(self, about: str, text: str) -> None:
        if about not in self._told:
            self._told.add(about)
            self._note(text)


def _closest(kept: _Stamped, stamp_ns: int) -> tuple[int, Any] | None:
    closest = min(kept, key=lambda each: abs(each[1] - stamp_ns), default=None)
    return None if closest is None else closest[1:]


def _nanoseconds(stamp: Any) -> int:
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def _stamp_ns(header: FrameHeader) -> int:
    return header.stamp_sec * 10**9 + header.stamp_nanosec
