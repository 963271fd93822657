"""Depth beside one camera: messages kept by their stamps, and pinned for the frames that the model is asked about.

A depth image belongs to a colour image by its stamp, not by when it comes; an answer comes seconds later, and a program
may ask about an image of seconds ago. So the newest are kept as they came, and when a frame is asked about, the
closest one is held for it until newer frames are asked about. Depth that comes while the model thinks counts as well.
Nothing is decoded before an answer is there.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.validate_topic_name import validate_topic_name
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from vlm_perception.errors import SettingsError
from vlm_perception.ros.executor import steady_timer
from vlm_perception.ros.image_messages import bytes_of, metres_of
from vlm_perception.ros.inputs.image_subscription import ImageSubscription
from vlm_perception.ros.qos import fixed_policies
from vlm_perception.ros.topics import TF_STATIC_TOPIC, TF_TOPIC, is_compressed_depth
from vlm_perception.settings import Settings
from vlm_perception.types import WH, DetectedObject, Frame, FrameHeader, Result, stamp_ns
from vlm_perception.world.depth_view import DepthSource, DepthView, depth_view, place
from vlm_perception.world.lift import NoSpot, Spots

# Always: a third of a second at 30 Hz, 37 MB of 720p in metres.
KEPT_MESSAGES = 10
# Frames with an answer under way: as many as `max_in_flight` allows.
KEPT_PINS = 16
_DEPTH = 10
_FOLLOW_PERIOD_S = 0.25
_T = TypeVar("_T")
_Kept = tuple[tuple[int, Image | CompressedImage] | None, tuple[int, CameraInfo] | None]


def resolve_depth(node: Node, settings: Settings, images: Sequence[str]) -> dict[str, str]:
    """Return image topic to depth topic, both resolved, of the cameras that have depth.

    Args:
        node: Resolves and remaps names.
        settings: Name the depth topics, in the order of the images.
        images: Resolved image topics.

    Raises:
        SettingsError: A name is not valid, or its `qos_overrides`, or those of `/tf`, cannot be used.
    """
    found: dict[str, str] = {}
    for image, topic in zip(images, settings.depth_topics, strict=False):
        if not topic:
            continue
        try:
            validate_topic_name(topic)
        except InvalidTopicNameException as error:
            remedy = "use one like /front/aligned_depth/image_raw"
            raise SettingsError(f"depth_topics has {topic!r}, no topic name: {error}; {remedy}") from error
        found[image] = node.resolve_topic_name(topic)
        fixed_policies(node, found[image])
    if found and settings.target_frame:
        for topic in (TF_TOPIC, TF_STATIC_TOPIC):
            fixed_policies(node, node.resolve_topic_name(topic))
    return found


class Pins(Generic[_T]):
    """Items by stamp, and for each pinned stamp the item that is closest to it. Thread-safe.

    Args:
        kept: How many items are kept at least, and
        pins: how many stamps are pinned; the oldest go first.

    Attributes:
        count: How many items came.
    """

    def __init__(self, kept: int = KEPT_MESSAGES, pins: int = KEPT_PINS) -> None:
        self._lock = threading.Lock()
        self._kept = kept
        self._items: deque[tuple[int, _T]] = deque()
        self._sizes_bytes: deque[int] = deque()
        self._pinned: OrderedDict[int, tuple[int, _T] | None] = OrderedDict()
        self._pins = pins
        self._bytes = self.count = 0

    def arrived(self, stamp_ns: int, item: _T, size_bytes: int = 1, limit_bytes: int = 0) -> None:
        """Keep an item, also for the stamps that it is closer to than what they have.

        Args:
            stamp_ns: Its stamp.
            item: Not to be changed afterwards.
            size_bytes: What it takes.
            limit_bytes: More than `kept` items are kept while all of them take no more than this.
        """
        with self._lock:
            self.count += 1
            self._items.append((stamp_ns, item))
            self._sizes_bytes.append(size_bytes)
            self._bytes += size_bytes
            while len(self._items) > self._kept and self._bytes > limit_bytes:
                self._items.popleft()
                self._bytes -= self._sizes_bytes.popleft()
            for pinned_ns, held in self._pinned.items():
                # Of two alike the newer: a clock that was set back gives a stamp twice.
                if held is None or abs(stamp_ns - pinned_ns) <= abs(held[0] - pinned_ns):
                    self._pinned[pinned_ns] = (stamp_ns, item)

    def pin(self, stamp_ns: int) -> None:
        """Hold the item that is closest to a stamp, or the one that comes."""
        with self._lock:
            # From the newest on, so that it wins among those alike.
            closest = min(reversed(self._items), key=lambda each: abs(each[0] - stamp_ns), default=None)
            if stamp_ns not in self._pinned:
                self._pinned[stamp_ns] = closest
            self._pinned.move_to_end(stamp_ns)
            while len(self._pinned) > self._pins:
                self._pinned.popitem(last=False)

    def of(self, stamp_ns: int) -> tuple[int, _T] | None:
        """Return stamp and item held for a pinned stamp; None when there is none."""
        with self._lock:
            return self._pinned.get(stamp_ns)

    def closest(self, stamp_ns: int) -> tuple[int, _T] | None:
        """Return stamp and item of those that are kept now that is closest to a stamp; None when there is none."""
        with self._lock:
            return min(reversed(self._items), key=lambda each: abs(each[0] - stamp_ns), default=None)


class DepthInput:
    """Hears a camera's depth, is told its calibration, and places the objects of its answers in space.

    Args:
        node: Owner of the subscription.
        depth_topic: Resolved topic of depth that is aligned to the camera's images.
        info_topic: Where its calibration comes from; named to people.
        rectified: Whether the camera's images are, so that the calibration's lens is not theirs.
        kept_bytes: How much depth is kept where that is more than `KEPT_MESSAGES`; asked on the executor.

    Raises:
        SettingsError: A `qos_overrides` parameter of the depth topic cannot be used.
    """

    def __init__(
        self, node: Node, depth_topic: str, info_topic: str, rectified: bool, kept_bytes: Callable[[], int]
    ) -> None:
        self._node, self._depth_topic, self._info_topic = node, depth_topic, info_topic
        self._rectified = rectified
        self._depths: Pins[Image | CompressedImage] = Pins()
        self._infos: Pins[CameraInfo] = Pins()
        self._kept_bytes = kept_bytes
        kind = CompressedImage if is_compressed_depth(depth_topic) else Image
        self._inbox = ImageSubscription(node, depth_topic, kind, self._hear)
        self._inbox.follow(_DEPTH)
        self._timer = steady_timer(node, _FOLLOW_PERIOD_S, lambda: self._inbox.follow(_DEPTH))

    def close(self) -> None:
        """Stop listening."""
        self._node.destroy_timer(self._timer)
        self._inbox.close()

    def _hear(self, message: Image | CompressedImage) -> None:
        self._depths.arrived(stamp_ns(message.header.stamp), message, bytes_of(message), self._kept_bytes())

    def hear_calibration(self, message: CameraInfo) -> None:
        """Keep a calibration of the camera."""
        self._infos.arrived(stamp_ns(message.header.stamp), message)

    def pin(self, header: FrameHeader) -> None:
        """Hold what belongs to a frame that the model is asked about; on any thread."""
        for pins in (self._depths, self._infos):
            pins.pin(header.stamp_ns)

    def place(self, result: Result, tolerance_s: float) -> Spots:
        """Place the objects of an answer about a pinned frame, in its optical frame; on any thread.

        Args:
            result: Of that frame.
            tolerance_s: How far the stamp of depth may be from the image's.
        """
        frame, stamp_ns = result.request.frame, result.request.frame.header.stamp_ns
        found = self._depths.of(stamp_ns), self._infos.of(stamp_ns)
        return self._place(result.objects, frame.header, frame.image_wh, tolerance_s, found)

    def place_now(
        self, objects: Sequence[DetectedObject], header: FrameHeader, image_wh: WH, tolerance_s: float
    ) -> Spots:
        """Place objects of a frame that has just come, by the depth that is there; otherwise as `place`."""
        stamp_ns = header.stamp_ns
        found = self._depths.closest(stamp_ns), self._infos.closest(stamp_ns)
        return self._place(objects, header, image_wh, tolerance_s, found)

    def depth_of(self, frame: Frame, tolerance_s: float) -> Callable[[], DepthView | NoSpot]:
        """Take hold of the depth of a pinned frame; on any thread.

        Returns:
            What reads it, or says why there is none; not for the executor's thread.
        """
        stamp_ns = frame.header.stamp_ns
        kept = self._depths.of(stamp_ns), self._infos.of(stamp_ns)
        return lambda: self._read(frame.header, frame.image_wh, tolerance_s, kept)

    def _place(
        self, objects: Sequence[DetectedObject], header: FrameHeader, image_wh: WH, tolerance_s: float, kept: _Kept
    ) -> Spots:
        return place(objects, image_wh, self._read(header, image_wh, tolerance_s, kept))

    def _read(self, header: FrameHeader, image_wh: WH, tolerance_s: float, kept: _Kept) -> DepthView | NoSpot:
        source = DepthSource(self._depth_topic, self._info_topic, tolerance_s, self._rectified)
        return depth_view(header, image_wh, *kept, source, metres_of)
