"""A camera of a bag, with what was recorded beside it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from vlm_perception.errors import ImageError
from vlm_perception.frames.bags import BagMessage, open_bag
from vlm_perception.frames.encodings import Pixels
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
        beside: Returns the topics that belong to a camera's topic; those that were recorded are read.
        note: Told in words what of the bag cannot be read.

    Attributes:
        beside: Name -> type of the topics that were recorded beside it.
        rate_hz: The mean rate of the images; None where that cannot be told.

    Raises:
        ImageError: Nothing can be read, or the topic is not one of its cameras.
    """

    def __init__(
        self, path: Path, topic: str, beside: Callable[[str], list[str]], note: Callable[[str], object]
    ) -> None:
        self._closing = ExitStack()
        self._bag = self._closing.enter_context(open_bag(path, note))
        try:
            self._topic = self._bag.image_topic(topic)
        except ImageError:
            self._closing.close()
            raise
        self._path = path
        self.rate_hz = self._bag.rate_hz(self._topic)
        wanted = [name for name in beside(self._topic) if name in self._bag.topics and name != self._topic]
        self.beside = {name: self._bag.topics[name].kind for name in wanted}

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
            for message in self._bag.messages([self._topic, *self.beside]):
                if message.topic != self._topic:
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
                raise ImageError(f"none of the images on {self._topic} of {self._path} can be read", cause="no_images")
            if not loop:
                return

    def close(self) -> None:
        """Close the bag."""
        self._closing.close()
