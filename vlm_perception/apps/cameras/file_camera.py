"""A camera that publishes an image, a folder of images, a video or a camera of a bag on `~/image`."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from vlm_perception.apps.cameras.bag_clock import BagClock
from vlm_perception.apps.cameras.recorded import Recording, Shot
from vlm_perception.apps.cameras.shared import PATIENCE_S, Audience, usage, wants_help
from vlm_perception.errors import ImageError, SettingsError
from vlm_perception.frames.bag_files import is_bag
from vlm_perception.frames.encodings import Pixels
from vlm_perception.frames.files import frames_of, is_video
from vlm_perception.frames.videos import video_rate_hz
from vlm_perception.ros.executor import steady_timer
from vlm_perception.ros.image_messages import image_message
from vlm_perception.ros.outputs.result_messages import header_message
from vlm_perception.ros.parameters import declare
from vlm_perception.ros.spin import run
from vlm_perception.ros.topics import TF_STATIC_TOPIC, camera_info_topic, is_compressed_depth
from vlm_perception.settings import Parameter

PARAMETERS = (
    Parameter("path", "string", "", None, None, (), "", "Image, folder of images, video or ROS 2 bag.", False),
    Parameter("topic", "string", "", None, None, (), "", "Camera of a bag that holds several.", False),
    Parameter("depth_topic", "string", "", None, None, (), "", "Depth in a bag, for ~/depth.", False),
    Parameter(
        "rate_hz", "double", 0.0, 0.0, 240.0, (), "Hz", "Images per second; 0: the file's own rate, else 10.", False
    ),
    Parameter("loop", "bool", True, None, None, (), "", "Begin again at the end; false waits for a listener.", False),
    Parameter("clock", "bool", False, None, None, (), "", "Publish a bag's time on /clock, for use_sim_time.", False),
    Parameter("frame_id", "string", "file_camera", None, None, (), "", "Frame id of images that have none.", False),
)
_ABOUT = (
    "Publishes an image, a folder of images, a video or a camera of a bag on ~/image (sensor_msgs/Image, rgb8).\n"
    "Images of a bag keep their stamps and frame ids; ~/camera_info, ~/depth, /tf and /tf_static go with them,\n"
    "and with clock /clock, for nodes with use_sim_time."
)
_OF_BAGS = ("topic", "depth_topic", "clock")
_DEFAULT_RATE_HZ, _MOST_RATE_HZ = 10.0, 240.0
_TYPES = {
    "sensor_msgs/msg/CameraInfo": CameraInfo,
    "sensor_msgs/msg/CompressedImage": CompressedImage,
    "sensor_msgs/msg/Image": Image,
    "tf2_msgs/msg/TFMessage": TFMessage,
}
# As many as a robot has broadcasters, because each sends its own once.
_LATCHED = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class FileCamera:
    """Publishes pictures from the disk.

    Raises:
        SettingsError: A parameter's start value cannot be used.
        ImageError: There is nothing to read at `path`.
    """

    def __init__(self, **node_arguments: Any) -> None:
        self.node = Node("file_camera", **node_arguments)
        values = declare(self.node, PARAMETERS)
        if not values["path"]:
            raise SettingsError("path is empty: set it to an image, a folder or a video (-p path:=/data/street.mp4)")
        path = Path(values["path"]).expanduser()
        self.finished = False
        self._recording: Recording | None = None
        self._beside: dict[str, Publisher] = {}
        self._frame_id = values["frame_id"]
        warn = self.node.get_logger().warning
        if is_bag(path):
            self._recording = self._opened(path, values["topic"], values["depth_topic"])
            self._shots = self._recording.shots(values["loop"], self._on_skip)
        elif given := [f"{name} {values[name]}" for name in _OF_BAGS if values[name]]:
            raise SettingsError(
                f"{path} is no bag, and {', '.join(given)} is of bags: set path to one, or leave it out"
            )
        else:
            self._shots = _of_files(frames_of(path, values["loop"], self._on_skip, warn))
        # Read now, so that a wrong path ends the program at once.
        self._next: Shot | None = next(self._shots)
        rate_hz = values["rate_hz"] or self._own_rate_hz(path) or _DEFAULT_RATE_HZ
        self._image = self.node.create_publisher(Image, "~/image", 1)
        self._clock = BagClock(self.node, 1.0 / rate_hz) if values["clock"] else None
        others = [*self._beside.values(), *([self._clock.publisher] if self._clock else ())]
        # What is shown only once must not be over before somebody looks.
        self._audience = Audience(self._image, others, patience_s=PATIENCE_S if values["loop"] else None)
        # Not of simulated time, which stands until this tells it.
        steady_timer(self.node, 1.0 / rate_hz, self._publish)
        self.node.get_logger().info(f"publishing {path} on {self._image.topic_name} at {rate_hz:g} Hz")

    def close(self) -> bool:
        """See `Runnable`."""
        self._shots.close()
        if self._recording is not None:
            self._recording.close()
        self.node.destroy_node()
        return True

    def _opened(self, path: Path, topic: str, depth_topic: str) -> Recording:
        """Open a bag, and make a publisher for each topic beside the images."""
        recording = Recording(path, topic, depth_topic, self.node.get_logger().warning)
        names = {camera_info_topic(recording.topic): "~/camera_info"}
        if recording.depth_topic is not None:
            compressed = is_compressed_depth(recording.depth_topic)
            names[recording.depth_topic] = "~/depth/compressedDepth" if compressed else "~/depth"
        for name, kind in recording.beside.items():
            if (message_type := _TYPES.get(kind)) is None:
                self.node.get_logger().warning(
                    f"{name} of {path} is a {kind}, and {', '.join(_TYPES)} are shown: it is left out"
                )
                continue
            qos = _LATCHED if name == TF_STATIC_TOPIC else QoSProfile(depth=10)
            self._beside[name] = self.node.create_publisher(message_type, names.get(name, name), qos)
        return recording

    def _own_rate_hz(self, path: Path) -> float | None:
        if self._recording is not None:
            # Two images of the same moment have no rate.
            return min(self._recording.rate_hz or _DEFAULT_RATE_HZ, _MOST_RATE_HZ)
        return video_rate_hz(path) if is_video(path) else None

    def _on_skip(self, error: ImageError) -> None:
        self.node.get_logger().warning(f"skipped: {error}", throttle_duration_sec=5.0)

    def _publish(self) -> None:
        if not self._audience.is_there():
            self.node.get_logger().info("waiting for a subscriber", throttle_duration_sec=10.0)
            return
        if self._next is None:
            # One period after the last image, so that it has left the machine.
            self.finished = True
            return
        # The next is read before this is shown: the clock has to know where it goes.
        shot, self._next = self._next, self._following()
        if self._clock is not None and shot.recorded_ns is not None:
            self._clock.show(shot.recorded_ns, (self._next and self._next.recorded_ns) or shot.recorded_ns)
        for message in shot.beside:
            if message.topic in self._beside:
                self._beside[message.topic].publish(message.data)
        if shot.header is not None:
            header = header_message(shot.header)
        else:
            header = Header(stamp=self.node.get_clock().now().to_msg(), frame_id=self._frame_id)
        self._image.publish(image_message(shot.rgb, header))

    def _following(self) -> Shot | None:
        try:
            return next(self._shots)
        except (StopIteration, ImageError) as end:
            reason = str(end) or "that was the last image"
            self.node.get_logger().info(f"finished: {reason}")
            return None


def _of_files(frames: Generator[Pixels, None, None]) -> Generator[Shot, None, None]:
    with closing(frames):
        for rgb in frames:
            yield Shot(rgb)


def main(args: list[str] | None = None) -> int:
    """Run the camera until SIGINT, SIGTERM or the last image; returns the exit code."""
    if wants_help(args):
        print(usage("file_camera", _ABOUT, PARAMETERS, "path:=/data/street.mp4"))
        return 0
    return run("file_camera", FileCamera, args)


if __name__ == "__main__":
    sys.exit(main())
