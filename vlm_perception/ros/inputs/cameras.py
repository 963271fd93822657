"""The cameras that the node looks at: one subscription and one watch each, coming and going live; their images."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rclpy.exceptions import InvalidTopicNameException
from rclpy.validate_topic_name import validate_topic_name
from sensor_msgs.msg import CompressedImage, Image

from vlm_perception.errors import ImageError, SettingsError
from vlm_perception.ros.context import NodeContext
from vlm_perception.ros.image_messages import pending_frame
from vlm_perception.ros.inputs.image_subscription import ImageSubscription
from vlm_perception.ros.inputs.recent_images import RecentImage, RecentImages
from vlm_perception.ros.inputs.silence_watch import SilenceWatch
from vlm_perception.ros.qos import fixed_policies
from vlm_perception.ros.topics import camera_info_topic
from vlm_perception.settings import Settings
from vlm_perception.worker.worker import Worker

_NEWEST_DEPTH = 1
# As many as wait for the tracker: frames come in bursts while the node's thread is held up. More would be late.
_TRACKS_DEPTH = 10
# The node's thread may be held up for a moment; the long queue of the policy `every` is the worker's.
_EVERY_DEPTH = 100
# By then a frame that was waiting is asked about, so that it need not come again.
_PICKED_S = 0.2


@dataclass(slots=True)
class _Camera:
    inbox: ImageSubscription
    watch: SilenceWatch
    last_image_s: float
    served_s: float
    usable_s: float = 0.0


class Cameras:
    """Subscribes to image topics and hands every image to the worker.

    Args:
        context: Of the node.
        worker: Gets the images.
        on_bad_image: Told of an image that contradicts itself: its resolved topic, the cause and the error.

    Attributes:
        recent: The last images, for who asks by stamp.
    """

    def __init__(
        self, context: NodeContext, worker: Worker, on_bad_image: Callable[[str, str, ImageError], None]
    ) -> None:
        self._context, self._node = context, context.node
        self._worker, self._on_bad_image = worker, on_bad_image
        self.recent = RecentImages()
        self._every = False
        self._cameras: dict[str, _Camera] = {}
        self._wanted_s = 0.0

    @property
    def topics(self) -> tuple[str, ...]:
        """Resolved topics, in the order in which they were asked for."""
        return tuple(self._cameras)

    def resolve(self, settings: Settings) -> tuple[str, ...]:
        """Return the full names of the topics that the settings name, as they are to be subscribed to.

        Raises:
            SettingsError: A name is not valid, two are the same topic, or a topic's `qos_overrides` cannot be used.
        """
        resolved: list[str] = []
        for topic in settings.image_topics or ("image",):
            name = self.full_name(topic, settings)
            if name in resolved:
                raise SettingsError(f"image_topics names {name} more than once; name each camera once")
            for followed in (name, camera_info_topic(name)):
                fixed_policies(self._node, followed)
            resolved.append(name)
        return tuple(resolved)

    def full_name(self, topic: str, settings: Settings, given_in: str = "image_topics") -> str:
        """Return the full name of a camera's topic, of which `given_in` says for people where it stands.

        Raises:
            SettingsError: It is no topic name.
        """
        try:
            validate_topic_name(topic)
        except InvalidTopicNameException as error:
            remedy = "use one like /front/image_raw"
            raise SettingsError(f"{given_in} has {topic!r}, no topic name: {error}; {remedy}") from error
        name = self._node.resolve_topic_name(topic)
        # image_transport's own naming; a remapping that already has the suffix is left alone.
        if settings.image_transport == "compressed" and not name.endswith("/compressed"):
            name += "/compressed"
        return name

    def use(self, topics: Sequence[str], every: bool) -> None:
        """Look at these resolved topics from now on, and lose no frame if `every`; one that stays is not disturbed."""
        self._every = every
        for gone in [topic for topic in self._cameras if topic not in topics]:
            self._cameras.pop(gone).inbox.close()
        self._cameras = {topic: self._cameras.get(topic) or self._open(topic) for topic in topics}
        self.recent.keep(topics)
        self._follow()

    def look_after(self) -> None:
        """Follow what the publishers offer, hear again what is wanted, and warn about silent cameras."""
        self._follow()
        self._hear_wanted()
        for camera in self._cameras.values():
            silent_s = time.monotonic() - camera.last_image_s
            camera.watch.check(silent_s, self._context.settings.no_image_warning_s)

    def want_image(self) -> None:
        """Let those who latched their image say it again, unless an image or an answer comes first; on any thread.

        A picture that is published once would be over before the model is loaded, or before the next prompt.
        """
        self._wanted_s = time.monotonic()

    def _hear_wanted(self) -> None:
        wanted_s = self._wanted_s
        if time.monotonic() - wanted_s < _PICKED_S:
            return
        for topic, camera in self._cameras.items():
            asked_s = self._worker.last_asked_s(topic)
            if camera.served_s < wanted_s and asked_s < math.inf:
                camera.served_s = wanted_s
                if max(camera.last_image_s, asked_s) < wanted_s:
                    camera.inbox.hear_again()

    def hear(self, message: Image | CompressedImage, camera: str, received_s: float) -> None:
        """Count an image and hand it to the worker; its pixels are made only if it is answered.

        Args:
            message: Must not be changed afterwards.
            camera: Resolved topic.
            received_s: Its arrival, monotonic seconds.
        """
        for counters in self._context.counters.of(camera):
            counters.count_frame()
        try:
            self._worker.offer(pending_frame(message, camera, received_s))
            if camera in self._cameras:
                self._cameras[camera].usable_s = received_s
            self.recent.add(RecentImage(camera, message, received_s), self._context.settings.kept_images_bytes)
        except ImageError as error:
            self._on_bad_image(camera, error.cause, error)

    def usable_s(self, camera: str | None = None) -> float:
        """Return when an image that can be read last came from a camera, or from any, monotonic seconds; 0 if never."""
        looked_at = self._cameras if camera is None else self._cameras.keys() & {camera}
        return max((self._cameras[topic].usable_s for topic in looked_at), default=0.0)

    def silent_s(self) -> dict[str, float]:
        """Return the seconds since each camera's last image, or since it was asked for."""
        now_s = time.monotonic()
        return {topic: now_s - camera.last_image_s for topic, camera in self._cameras.items()}

    def _follow(self) -> None:
        for topic, camera in self._cameras.items():
            depth = _TRACKS_DEPTH if self._worker.wants_every_frame(topic) else _NEWEST_DEPTH
            camera.inbox.follow(_EVERY_DEPTH if self._every else depth, reliable_at_first=self._every)

    def _open(self, topic: str) -> _Camera:
        message_type = CompressedImage if self._context.settings.image_transport == "compressed" else Image

        def hear(message: Image | CompressedImage) -> None:
            camera = self._cameras.get(topic)
            if camera is not None:
                camera.last_image_s = time.monotonic()
                self.hear(message, topic, camera.last_image_s)

        inbox = ImageSubscription(self._node, topic, message_type, hear)
        now_s = time.monotonic()
        watch = SilenceWatch(self._context, topic, message_type)
        return _Camera(inbox, watch, last_image_s=now_s, served_s=now_s)
