"""A camera of a bag, with what was recorded beside it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from vlm_perception.errors import ImageError
from vlm_perception.frames.bags import BagMessage, open_bag
from vlm_perception.frames.encodings import Pixels
from vlm_perception.ros.topics import TF_STATIC_TOPIC, TF_TOPIC, camera_info_topic
from vlm_perception.types import FrameHeader


@dataclass(frozen=True, slots=True)
class Shot:
    """What is published at once.

    Attributes:
        rgb: (height, width, 3) uint8 RGB.
        header: The recorded image's own; None for one of a file, which is stamped when it is published.
        beside: What was recorded on the other topics since the image before, in order.
        recorded_ns: When the image was, nanoseconds; None for one of a file.
    """

    rgb: Pixels
    header: FrameHeader | None = None
    beside: tuple[BagMessage, ...] = ()
    recorded_ns: int | None = None


class Recording:
    """One camera of a bag.

    Args:
        path: The bag.
        topic: The camera's; empty where there is only one.
        depth_topic: Its depth's; empty for none.
        note: Told in words what of the bag cannot be read.

    Attributes:
        topic: The camera's.
        depth_topic: Its depth's; None without one.
        beside: Name -> type of the topics that were recorded beside it: calibration, depth and transforms.
        rate_hz: The mean rate of the images; None where that cannot be told.

    Raises:
        ImageError: Nothing can be read, or a topic is not one of its cameras.
    """

    def __init__(self, path: Path, topic: str, depth_topic: str, note: Callable[[str], object]) -> None:
        self._closing = ExitStack()
        self._bag = self._closing.enter_context(open_bag(path, note))
        try:
            self.topic = self._bag.image_topic(topic)
            self.depth_topic = self._bag.depth_topic(depth_topic, self.topic) if depth_topic else None
        except ImageError:
            self._closing.close()
            raise
        self._path = path
        self.rate_hz = self._bag.rate_hz(self.topic)
        belong = (camera_info_topic(self.topic), TF_TOPIC, TF_STATIC_TOPIC, self.depth_topic)
        self.beside = {name: self._bag.topics[name].kind for name in belong if name in self._bag.topics}

    def shots(self, loop: bool, on_skip: Callable[[ImageError], None]) -> Generator[Shot, None, None]:
        """Yield the images in order.

        Args:
            loop: Begin again at the end.
            on_skip: Told about every image that was skipped.

        Raises:
            ImageError: `no_images`: none can be read.
        """
        while True:
            shown = 0
            waiting: list[BagMessage] = []
            for message in self._bag.messages([self.topic, *self.beside]):
                if message.topic != self.topic:
                    waiting.append(message)
                    continue
                try:
                    frame = self._bag.decoded(message)
                except ImageError as error:
                    on_skip(error)
                    continue
                yield Shot(frame.rgb, frame.header, tuple(waiting), message.recorded_ns)
                waiting, shown = [], shown + 1
            if not shown:
                raise ImageError(f"none of the images on {self.topic} of {self._path} can be read", cause="no_images")
            if not loop:
                return

    def close(self) -> None:
        """Close the bag."""
        self._closing.close()
