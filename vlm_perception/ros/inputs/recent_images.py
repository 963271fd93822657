"""The last images of all cameras, as they came, so that a program can ask about one by its stamp."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image

from vlm_perception.errors import NoAnswerError
from vlm_perception.ros.image_messages import bytes_of
from vlm_perception.scheduling.goals import STAMP_TOLERANCE_S
from vlm_perception.types import stamp_ns


@dataclass(frozen=True, slots=True)
class RecentImage:
    """One image that is kept.

    Attributes:
        camera: Resolved topic.
        message: As it came; not to be changed.
        received_s: Its arrival, monotonic seconds.
    """

    camera: str
    message: Image | CompressedImage
    received_s: float

    @property
    def stamp_ns(self) -> int:
        """Of its header."""
        return stamp_ns(self.message.header.stamp)

    @property
    def size_bytes(self) -> int:
        """What it takes in memory."""
        return bytes_of(self.message)


class RecentImages:
    """Keeps images of all cameras together, the newest, as many as fit. Used on the executor."""

    def __init__(self) -> None:
        self._images: deque[RecentImage] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._images)

    def add(self, image: RecentImage, limit_bytes: int) -> None:
        """Keep an image, and let go of the oldest until all are within the limit."""
        self._images.append(image)
        self._bytes += image.size_bytes
        while self._bytes > limit_bytes:
            self._bytes -= self._images.popleft().size_bytes

    def keep(self, cameras: Sequence[str]) -> None:
        """Let go of the images of all other cameras."""
        self._images = deque(image for image in self._images if image.camera in cameras)
        self._bytes = sum(image.size_bytes for image in self._images)

    def newest(self, camera: str | None = None) -> RecentImage | None:
        """Return the image of one camera or of any that came last; None where none is kept."""
        return next((image for image in reversed(self._images) if camera in (None, image.camera)), None)

    def nearest(self, stamp: Time, camera: str | None = None) -> RecentImage:
        """Return the image nearest to a stamp, of one camera or of any.

        Raises:
            NoAnswerError: None is kept that is within `STAMP_TOLERANCE_S` of it.
        """
        wanted_ns = stamp_ns(stamp)
        images = [image for image in self._images if camera in (None, image.camera)]
        found = min(images, key=lambda image: abs(image.stamp_ns - wanted_ns), default=None)
        if found is not None and abs(found.stamp_ns - wanted_ns) <= STAMP_TOLERANCE_S * 1e9:
            return found
        of = f" of {camera}" if camera else ""
        kept = "none is kept"
        if found is not None:
            first_s, last_s = (edge(image.stamp_ns for image in images) * 1e-9 for edge in (min, max))
            kept = (
                f"{len(images)} are kept, of {first_s:.3f} to {last_s:.3f}, the nearest of {found.stamp_ns * 1e-9:.3f}"
            )
        raise NoAnswerError(
            f"no image{of} is within {STAMP_TOLERANCE_S:g} s of stamp {wanted_ns * 1e-9:.3f}: {kept}; give the stamp "
            f"of an image, ask sooner, or raise kept_images_mb"
        )
