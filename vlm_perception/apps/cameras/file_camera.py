"""A camera that publishes an image, a folder of images or a video on `~/image`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from vlm_perception.errors import ImageError, SettingsError
from vlm_perception.frames.encodings import Pixels
from vlm_perception.frames.files import frames_of, is_video
from vlm_perception.frames.videos import video_rate_hz
from vlm_perception.ros.image_messages import image_message
from vlm_perception.ros.parameters import declare
from vlm_perception.ros.spin import run
from vlm_perception.settings import Parameter

PARAMETERS = (
    Parameter("path", "string", "", None, None, (), "", "Image, folder of images or video.", False),
    Parameter(
        "rate_hz", "double", 0.0, 0.0, 240.0, (), "Hz", "Images per second; 0: the video's own rate, else 10.", False
    ),
    Parameter("frame_id", "string", "file_camera", None, None, (), "", "Frame id of the images.", False),
)
_DEFAULT_RATE_HZ = 10.0
# One side sees the other first; what is published before the other has seen it is lost.
_FOUND_S = 0.5


class FileCamera:
    """Publishes pictures from the disk.

    Raises:
        SettingsError: A parameter's start value cannot be used.
        ImageError: There is nothing to read at `path`.
    """

    def __init__(self, **node_arguments: Any) -> None:
        self.node = Node("file_camera", **node_arguments)
        values = {parameter.name: declare(self.node, parameter) for parameter in PARAMETERS}
        about_loop = ParameterDescriptor(description="Begin again at the end.", read_only=True)
        loop = self.node.declare_parameter("loop", True, about_loop).value
        if not values["path"]:
            raise SettingsError("path is empty: set it to an image, a folder or a video (-p path:=/data/street.mp4)")
        path = Path(values["path"]).expanduser()
        self.finished = False
        # What is shown only once must not be over before somebody looks.
        self._waits_for_viewer = not loop
        self._viewed_since_s: float | None = None
        self._frame_id = values["frame_id"]
        self._frames = frames_of(path, bool(loop), self._on_skip)
        # Read now, so that a wrong path ends the program at once.
        self._next: Pixels | None = next(self._frames)
        rate_hz = values["rate_hz"] or (video_rate_hz(path) if is_video(path) else None) or _DEFAULT_RATE_HZ
        self._image = self.node.create_publisher(Image, "~/image", 1)
        self.node.create_timer(1.0 / rate_hz, self._publish)
        self.node.get_logger().info(f"publishing {path} on {self._image.topic_name} at {rate_hz:g} Hz")

    def close(self) -> bool:
        """See `Runnable`."""
        self._frames.close()
        self.node.destroy_node()
        return True

    def _on_skip(self, error: ImageError) -> None:
        self.node.get_logger().warning(f"skipped: {error}", throttle_duration_sec=5.0)

    def _is_viewed(self) -> bool:
        """Whether somebody subscribes and has had the time to find this camera, too, and to ask as it offers."""
        if not self._image.get_subscription_count():
            self._viewed_since_s = None
        elif self._viewed_since_s is None:
            self._viewed_since_s = time.monotonic()
        return self._viewed_since_s is not None and time.monotonic() - self._viewed_since_s >= _FOUND_S

    def _publish(self) -> None:
        if self._waits_for_viewer and not self._is_viewed():
            self.node.get_logger().info("waiting for a subscriber", throttle_duration_sec=10.0)
            return
        self._waits_for_viewer = False
        if self._next is None:
            # One period after the last image, so that it has left the machine.
            self.finished = True
            return
        header = Header(stamp=self.node.get_clock().now().to_msg(), frame_id=self._frame_id)
        self._image.publish(image_message(self._next, header))
        try:
            self._next = next(self._frames)
        except (StopIteration, ImageError) as end:
            reason = str(end) or "the last image is published"
            self.node.get_logger().info(f"finished: {reason}")
            self._next = None


def main(args: list[str] | None = None) -> int:
    """Run the camera until SIGINT, SIGTERM or the last image; returns the exit code."""
    return run("file_camera", FileCamera, args)


if __name__ == "__main__":
    sys.exit(main())
