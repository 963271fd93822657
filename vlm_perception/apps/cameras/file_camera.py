"""A camera that publishes an image, a folder of images or a video on `~/image`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from vlm_perception.apps.cameras.shared import PATIENCE_S, Audience, usage, wants_help
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
    Parameter("loop", "bool", True, None, None, (), "", "Begin again at the end; false waits for a listener.", False),
    Parameter("frame_id", "string", "file_camera", None, None, (), "", "Frame id of the images.", False),
)
_ABOUT = "Publishes an image, a folder of images or a video on ~/image (sensor_msgs/Image, rgb8)."
_DEFAULT_RATE_HZ = 10.0


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
        self._frame_id = values["frame_id"]
        self._frames = frames_of(path, values["loop"], self._on_skip, self.node.get_logger().warning)
        # Read now, so that a wrong path ends the program at once.
        self._next: Pixels | None = next(self._frames)
        rate_hz = values["rate_hz"] or (video_rate_hz(path) if is_video(path) else None) or _DEFAULT_RATE_HZ
        self._image = self.node.create_publisher(Image, "~/image", 1)
        # What is shown only once must not be over before somebody looks.
        self._audience = Audience(self._image, patience_s=PATIENCE_S if values["loop"] else None)
        self.node.create_timer(1.0 / rate_hz, self._publish)
        self.node.get_logger().info(f"publishing {path} on {self._image.topic_name} at {rate_hz:g} Hz")

    def close(self) -> bool:
        """See `Runnable`."""
        self._frames.close()
        self.node.destroy_node()
        return True

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
    if wants_help(args):
        print(usage("file_camera", _ABOUT, PARAMETERS, "path:=/data/street.mp4"))
        return 0
    return run("file_camera", FileCamera, args)


if __name__ == "__main__":
    sys.exit(main())
