"""Hears `/tf` and `/tf_static`, and brings places in the camera's frame into another one, at the stamp of its image.

The arithmetic is tf2's own where ROS brings it, and `TransformBuffer`, which follows the same rule, where there are
wheels alone. A transform is looked up when the answer is there, mostly long after its stamp. Where a model answers
faster than the transform comes, a place waits for it, but for no longer than a slower model would take; cameras,
services and `/tf` itself are heard meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.time import Time
from tf2_msgs.msg import TFMessage

from vlm_perception.ros.qos import fixed_policies, quiet_subscription
from vlm_perception.ros.topics import TF_STATIC_TOPIC, TF_TOPIC
from vlm_perception.types import FrameHeader, stamp_ns
from vlm_perception.world.lift import NoSpot, Spot, Spots, lost_spots, moved_spots
from vlm_perception.world.transforms import (
    BadTransformError,
    Cause,
    Transform,
    TransformBuffer,
    TransformError,
    Transforms,
)

# tf2 keeps 10 s; a large model on a CPU takes longer than that.
HISTORY_S = 60.0
# After an image's arrival: a localisation of 10 Hz has told its next place by then.
LATEST_S = 0.2
# While the model keeps the interpreter busy, what has come may not have been heard yet.
TURN_S = 0.05
# As tf2's own listener has it.
_DEPTH = 100
_BACK_NS = 1_000_000_000


class Announced(Transforms, Protocol):
    """Transforms that are told by messages."""

    def take(self, message: TransformStamped, fixed: bool) -> None:
        """Take one from `/tf`, or from `/tf_static` (`fixed`).

        Raises:
            BadTransformError: It cannot be used.
        """
        ...

    def clear(self) -> None:
        """Forget what moves."""
        ...


class OwnTransforms:
    """`TransformBuffer` behind messages."""

    def __init__(self, history_s: float = HISTORY_S) -> None:
        self._buffer = TransformBuffer(history_s)
        self.lookup, self.clear = self._buffer.lookup, self._buffer.clear

    def take(self, message: TransformStamped, fixed: bool) -> None:
        """See `Announced`."""
        at_ns, transform = stamp_ns(message.header.stamp), Transform.of(message.transform)
        self._buffer.set_transform(message.header.frame_id, message.child_frame_id, at_ns, transform, fixed=fixed)


class Tf2Transforms:
    """tf2's own buffer, which ROS has and no wheel.

    Raises:
        ImportError: This is no such ROS.
    """

    def __init__(self, history_s: float = HISTORY_S) -> None:
        import tf2_py

        self._tf2 = tf2_py
        self._buffer = tf2_py.BufferCore(Duration(nanoseconds=round(history_s * 1e9)))

    def take(self, message: TransformStamped, fixed: bool) -> None:
        """See `Announced`; what is wrong with one tf2 logs itself."""
        (self._buffer.set_transform_static if fixed else self._buffer.set_transform)(message, "vlm_perception")

    def lookup(self, target: str, source: str, stamp_ns: int) -> Transform:
        """See `Transforms`."""
        target, source = target.removeprefix("/"), source.removeprefix("/")
        what = f"no transform from {source} to {target} at {stamp_ns * 1e-9:.3f}"
        if stamp_ns == 0:
            # To tf2 this means the newest.
            raise TransformError("no_stamp", f"{what}: the image has no stamp; let the driver set it")
        try:
            found = self._buffer.lookup_transform_core(target, source, Time(nanoseconds=stamp_ns))
            return Transform.of(found.transform)
        except self._tf2.TransformException as error:
            raise TransformError(self._cause_of(error), f"{what}: {error}") from error

    def _cause_of(self, error: Exception) -> Cause:
        if isinstance(error, self._tf2.ExtrapolationException):
            return "too_old" if "into the past" in str(error) else "not_yet"
        # It calls a circle a failed look-up, too.
        unknown = isinstance(error, self._tf2.LookupException) and "loop" not in str(error)
        return "unknown_frame" if unknown else "unconnected"

    def clear(self) -> None:
        """See `Announced`."""
        self._buffer.clear()


def announced_transforms() -> Announced:
    """Make a buffer: tf2's where it is, else ours."""
    try:
        return Tf2Transforms()
    except ImportError:
        return OwnTransforms()


class TransformInput:
    """Knows how a target frame stands to those of cameras, and brings places into it.

    Args:
        node: Owner of the subscriptions.
        target: The frame that places are wanted in.
        on_bad: Told of each transform that cannot be used; on the executor.
        transforms: What knows them; None takes tf2 or ours.

    Attributes:
        target: See above.

    Raises:
        SettingsError: A `qos_overrides` parameter of `/tf` or `/tf_static` cannot be used.
    """

    def __init__(
        self, node: Node, target: str, on_bad: Callable[[str], None], transforms: Announced | None = None
    ) -> None:
        self.target = target
        self._node, self._on_bad = node, on_bad
        self._transforms = transforms or announced_transforms()
        self._news = threading.Condition()
        self._heard, self._now_ns = 0, 0
        self._subscriptions = [
            self._subscribe(TF_TOPIC, DurabilityPolicy.VOLATILE),
            self._subscribe(TF_STATIC_TOPIC, DurabilityPolicy.TRANSIENT_LOCAL),
        ]

    def close(self) -> None:
        """Stop listening; whoever waits gives up."""
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop())
        with self._news:
            self._news.notify_all()

    def bring(self, spots: Sequence[Spot | NoSpot], header: FrameHeader, received_s: float) -> Spots:
        """Bring places in a frame of a camera into the target frame; on any thread but the executor's.

        Args:
            spots: In the frame of the image's header.
            header: Of the image; see `transform_at`.
            received_s: That image's arrival, monotonic seconds.
        """
        if not any(isinstance(spot, Spot) for spot in spots):
            return tuple(spots)
        try:
            transform = self.transform_at(header, received_s)
        except TransformError as error:
            return lost_spots(spots, error)
        return moved_spots(spots, transform)

    def transform_at(self, header: FrameHeader, received_s: float) -> Transform:
        """Return what brings places in the frame of an image into the target frame; on any thread but the executor's.

        Args:
            header: Of the image; a transform for its stamp is waited for until `LATEST_S` after its arrival, and for
                one turn of a busy executor.
            received_s: That arrival, monotonic seconds.

        Raises:
            TransformError: There is none.
        """
        until_s = max(self.latest_s(received_s), time.monotonic() + TURN_S)
        while True:
            heard = self._heard
            if (transform := self._lookup(header, until_s)) is not None:
                return transform
            self._wait_for_news(heard, until_s - time.monotonic())

    def brought(self, spots: Sequence[Spot | NoSpot], header: FrameHeader, until_s: float) -> Spots | None:
        """Bring places as `bring` does, but do not wait: None while the transform may still come, until then."""
        if not any(isinstance(spot, Spot) for spot in spots):
            return tuple(spots)
        try:
            transform = self._lookup(header, until_s)
        except TransformError as error:
            return lost_spots(spots, error)
        return None if transform is None else moved_spots(spots, transform)

    def _lookup(self, header: FrameHeader, until_s: float) -> Transform | None:
        """Return the transform at the stamp of an image, or None while it may still come; raises TransformError."""
        try:
            return self._transforms.lookup(self.target, header.frame_id, header.stamp_ns)
        except TransformError as error:
            may_come = error.cause == "not_yet" and time.monotonic() < until_s
            if may_come and self._subscriptions:
                return None
            raise

    @staticmethod
    def latest_s(received_s: float) -> float:
        """Until when a transform for an image that came then may come, monotonic seconds."""
        return received_s + LATEST_S

    def _wait_for_news(self, heard: int, left_s: float) -> None:
        with self._news:
            self._news.wait_for(lambda: self._heard > heard or not self._subscriptions, left_s)

    def _subscribe(self, topic: str, durability: DurabilityPolicy) -> Subscription:
        fixed = topic == TF_STATIC_TOPIC
        resolved = self._node.resolve_topic_name(topic)
        asked = {"depth": _DEPTH, "reliability": ReliabilityPolicy.RELIABLE, "durability": durability}
        profile = QoSProfile(**(asked | fixed_policies(self._node, resolved)))

        def hear_all(message: TFMessage) -> None:
            self._hear(message, fixed)
            # While the model keeps the interpreter busy a turn of the executor takes milliseconds, and every message
            # takes one: a hundred a second would fall behind, and hold up the cameras.
            handle = subscription.handle
            with handle:
                for _ in range(_DEPTH):
                    if (taken := handle.take_message(TFMessage, False)) is None:
                        break
                    self._hear(taken[0], fixed)

        subscription = self._node.create_subscription(
            TFMessage, topic, hear_all, profile, event_callbacks=quiet_subscription()
        )
        return subscription

    def _hear(self, message: TFMessage, fixed: bool) -> None:
        now_ns = self._node.get_clock().now().nanoseconds
        # What moved belongs to another time, as when a bag begins again under `use_sim_time`.
        if now_ns < self._now_ns - _BACK_NS:
            self._transforms.clear()
        self._now_ns = now_ns
        for each in message.transforms:
            try:
                self._transforms.take(each, fixed)
            except BadTransformError as error:
                self._on_bad(str(error))
        with self._news:
            self._heard += 1
            self._news.notify_all()
