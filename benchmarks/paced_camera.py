"""A camera for benchmarks, in a process of its own: drawn beforehand, so that filming costs next to nothing.

`python -m benchmarks.paced_camera` publishes 1280x720 images of a moving scene on `/image` at 30 Hz until
it is interrupted. The frames run forwards and backwards, so the scene never jumps. With `--depth` there are a depth
image on `/depth` and a calibration on `/camera_info` beside each.
"""

from __future__ import annotations

import argparse
import array
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import rclpy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from benchmarks.domains import claimed_domain
from vlm_perception.ros.image_messages import image_message
from vlm_perception.scenes import MovingScene

IMAGE_WH = (1280, 720)
RATE_HZ = 30.0
SCENE_SEED = 70_010
_DRAWN_S = 3.0


@contextmanager
def benchmark_domain() -> Iterator[None]:
    """A DDS domain of this process and its children alone."""
    with claimed_domain() as number:
        os.environ["ROS_DOMAIN_ID"] = str(number)
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        rclpy.init(args=[])
        try:
            yield
        finally:
            rclpy.try_shutdown()


@contextmanager
def child(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python ARGUMENTS` until the block ends, and end it cleanly."""
    process = subprocess.Popen([sys.executable, *arguments])
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def moving_frames(seed: int, n_objects: int, speed: float, noise: float = 2.0) -> list[np.ndarray]:
    """Draw the frames of one way; each with a sensor's noise (standard deviation in grey levels)."""
    scene, rng = MovingScene(seed, IMAGE_WH, n_objects, speed), np.random.default_rng(seed)
    frames = []
    for number in range(round(_DRAWN_S * RATE_HZ)):
        rgb = scene.at(number / RATE_HZ).rgb
        frames.append(np.clip(rgb + rng.normal(0.0, noise, rgb.shape), 0, 255).astype(np.uint8))
    return frames


def scene_times_s() -> list[float]:
    """Return the scene's time in each image of one round, forwards and backwards, seconds."""
    there = [number / RATE_HZ for number in range(round(_DRAWN_S * RATE_HZ))]
    return [*there, *there[-2:0:-1]]


def depth_message() -> Image:
    """Make a wall at 3 m with 1 % noise, 16UC1 millimetres."""
    noise = np.random.default_rng(0).normal(0.0, 30.0, IMAGE_WH[::-1])
    message = Image(width=IMAGE_WH[0], height=IMAGE_WH[1], encoding="16UC1", step=2 * IMAGE_WH[0])
    message.data = array.array("B", (3000 + noise).astype(np.uint16).tobytes())
    return message


def calibration_message() -> CameraInfo:
    """Make the calibration of a camera without distortion, 65 degrees wide."""
    k = [1000.0, 0.0, IMAGE_WH[0] / 2, 0.0, 1000.0, IMAGE_WH[1] / 2, 0.0, 0.0, 1.0]
    return CameraInfo(width=IMAGE_WH[0], height=IMAGE_WH[1], distortion_model="plumb_bob", k=k, d=[0.0] * 5)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SCENE_SEED)
    parser.add_argument("--objects", type=int, default=4)
    parser.add_argument("--speed", type=float, default=0.05, help="image sides per second")
    parser.add_argument("--depth", action="store_true")
    args = parser.parse_args()
    way = moving_frames(args.seed, args.objects, args.speed)
    messages = [image_message(rgb, Header(frame_id="camera")) for rgb in (*way, *way[-2:0:-1])]
    stop = False

    def end(*_: object) -> None:
        nonlocal stop
        stop = True

    signal.signal(signal.SIGINT, end)
    rclpy.init(args=[], signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    node = rclpy.create_node("paced_camera")
    publisher = node.create_publisher(Image, "/image", 1)
    beside: list[tuple[Any, Any]] = []
    if args.depth:
        beside += [(node.create_publisher(Image, "/depth", 1), depth_message())]
        beside += [(node.create_publisher(CameraInfo, "/camera_info", 1), calibration_message())]
    number, began_s = 0, time.monotonic()
    while not stop:
        message = messages[number % len(messages)]
        message.header.stamp = node.get_clock().now().to_msg()
        # No two images are the same, as with a real camera.
        message.data[:4] = array.array("B", number.to_bytes(4, "little"))
        publisher.publish(message)
        for other, its_message in beside:
            its_message.header = message.header
            other.publish(its_message)
        number += 1
        # The time table is kept, whatever one publication took.
        time.sleep(max(0.0, began_s + number / RATE_HZ - time.monotonic()))
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
