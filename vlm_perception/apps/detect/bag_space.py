"""Depth, calibration and transforms that a bag holds beside a camera's images, and where objects are by them."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

from vlm_perception.apps.detect.inputs import DepthBeside, Note
from vlm_perception.errors import ImageError
from vlm_perception.frames.bags import CALIBRATION, TRANSFORMS, Bag, BagMessage, metres_of
from vlm_perception.ros.topics import TF_STATIC_TOPIC, TF_TOPIC, camera_info_topic, is_rectified
from vlm_perception.types import Result, stamp_ns
from vlm_perception.world.depth_view import DepthSource, Stamped, depth_view, place
from vlm_perception.world.lift import Places, lost_spots, moved_spots
from vlm_perception.world.transforms import BadTransformError, Transform, TransformBuffer, TransformError

# What is recorded so long after an image counts for it: its depth, and the next place of a slow localisation.
AHEAD_NS = 500_000_000
_KEPT_NS = 2 * AHEAD_NS
_HISTORY_S = 60.0
# When it was recorded, its stamp, both nanoseconds, and what it holds.
_Kept = deque[tuple[int, int, Any]]


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
        ImageError: The bag has no such depth, or it is no image or the camera itself.
    """

    def __init__(self, path: Path, bag: Bag, camera: str, depth: DepthBeside, note: Note) -> None:
        name = bag.depth_topic(depth.depth_topic, camera)
        self._bag, self._note = bag, note
        self._source = DepthSource(name, camera_info_topic(camera), depth.depth_tolerance_s, is_rectified(camera))
        self._target = depth.target_frame
        beside = {self._source.info_topic: CALIBRATION}
        if self._target:
            beside |= dict.fromkeys((TF_TOPIC, TF_STATIC_TOPIC), TRANSFORMS)
        there = {topic: bag.topics[topic].kind for topic in beside if topic in bag.topics}
        for topic, kind in there.items():
            if kind != beside[topic]:
                note(f"{topic} of {path} is {kind}, no {beside[topic]}: it is not read")
        self.topics = (name, *(topic for topic, kind in there.items() if kind == beside[topic]))
        self._depths: _Kept = deque()
        self._infos: _Kept = deque()
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
        kept.append((message.recorded_ns, stamp_ns(content.header.stamp), content))
        # One is always kept: a calibration may have been sent only once.
        while len(kept) > 1 and message.recorded_ns - kept[0][0] > _KEPT_NS:
            kept.popleft()

    def place(self, result: Result) -> Places:
        """Place the objects of an answer about the newest image."""
        if self._placed is None or self._placed[0] is not result:
            self._placed = result, self._place(result)
        return self._placed[1]

    def _place(self, result: Result) -> Places:
        frame, header = result.request.frame, result.request.frame.header
        depth, info = (_closest(kept, header.stamp_ns) for kept in (self._depths, self._infos))
        view = depth_view(header, frame.image_wh, depth, info, self._source, metres_of)
        spots = place(result.objects, frame.image_wh, view)
        if not self._target or self._target == header.frame_id:
            return Places(header.frame_id, spots)
        try:
            there = self._transforms.lookup(self._target, header.frame_id, header.stamp_ns)
        except TransformError as error:
            return Places(self._target, lost_spots(spots, error), is_optical=False)
        return Places(self._target, moved_spots(spots, there), is_optical=False)

    def _take_transform(self, message: Any, topic: str) -> None:
        at_ns, transform = stamp_ns(message.header.stamp), Transform.of(message.transform)
        parent, child = message.header.frame_id, message.child_frame_id
        try:
            self._transforms.set_transform(parent, child, at_ns, transform, fixed=topic == TF_STATIC_TOPIC)
        except BadTransformError as error:
            self._tell_once(f"{topic} {child}", str(error))

    def _tell_once(self, about: str, text: str) -> None:
        if about not in self._told:
            self._told.add(about)
            self._note(text)


def _closest(kept: _Kept, at_ns: int) -> Stamped | None:
    closest = min(kept, key=lambda each: abs(each[1] - at_ns), default=None)
    return None if closest is None else closest[1:]
