"""A colour camera with depth, a node, and what it says of places in space."""

from __future__ import annotations

import json

import cv2
import numpy as np
from rclpy.qos import QoSProfile
from robot import RELIABLE, header
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

WH = (96, 64)
FOCAL_PX = 80.0
REPLY = json.dumps([{"label": "red cart", "bbox_2d": [40, 22, 56, 42]}])
# Middle of the box, seen along the axis.
PLACE_M = (0.0, 0.0, 2.0)
PROFILE = QoSProfile(depth=20, reliability=RELIABLE)


def depth_m(near_m: float = 2.0, wh: tuple[int, int] = WH) -> np.ndarray:
    """A thing in front of a wall; half of what the camera sees of the wall has no depth."""
    made = np.full((wh[1], wh[0]), 4.0, np.float32)
    made[::2] = 0.0
    x, y = wh[0] / WH[0], wh[1] / WH[1]
    made[round(22 * y) : round(42 * y), round(40 * x) : round(56 * x)] = near_m
    return made


def raw(number: int, metres: np.ndarray, encoding: str = "16UC1", frame_id: str = "camera_optical", **stamp) -> Image:
    pixels = (metres * 1000).astype(np.uint16) if encoding == "16UC1" else metres
    height, width = pixels.shape
    message = Image(header=header(number, frame_id=frame_id, **stamp), height=height, width=width, encoding=encoding)
    message.step, message.data = width * pixels.itemsize, pixels.tobytes()
    return message


def packed(number: int, metres: np.ndarray) -> CompressedImage:
    _, png = cv2.imencode(".png", (metres * 1000).astype(np.uint16))
    data = bytes(12) + png.tobytes()
    return CompressedImage(header=header(number), format="16UC1; compressedDepth png", data=data)


def calibration(number: int, focal_px: float = FOCAL_PX) -> CameraInfo:
    k = [focal_px, 0.0, 47.5, 0.0, focal_px, 31.5, 0.0, 0.0, 1.0]
    info = CameraInfo(header=header(number), width=WH[0], height=WH[1], distortion_model="plumb_bob", k=k)
    info.d = [0.0] * 5
    return info


class Rig:
    """A colour camera with depth, a node, and what it says of space."""

    def __init__(self, robot, talk, engine, topic: str = "/depth", **node) -> None:
        engine.reply = REPLY
        kind = CompressedImage if topic.endswith("/compressedDepth") else Image
        self.depth = robot.camera(topic, kind, PROFILE)
        self.info = robot.camera("/camera_info", CameraInfo, PROFILE)
        self.talk = talk(engine, camera_qos=PROFILE, depth_topics=[topic], **node)
        self.places = robot.hear("/vlm_perception/detections_3d", Detection3DArray)
        self.markers = robot.hear("/vlm_perception/markers_3d", MarkerArray)
        robot.settle(topic, "/camera_info")
        robot.until(lambda: self.node_hears(robot), "depth is heard")
        self.talk.ask("red cart")

    def node_hears(self, robot) -> bool:
        return self.depth.get_subscription_count() == 1 and self.info.get_subscription_count() == 1

    def film(self, number: int) -> None:
        self.talk.show(number, np.zeros((WH[1], WH[0], 3), np.uint8))

    def answer(self, number: int) -> dict:
        (found,) = self.talk.answer_to(number)["objects"]
        return found


def thinking(scripted, rig: Rig, number: int, meanwhile) -> dict:
    """The object of an answer to a frame, while which something happened; what was sent is heard by then."""
    scripted.thinking.set()
    asked = len(scripted.requests)
    rig.film(number)
    scripted.wait_asked(asked + 1)
    meanwhile()
    scripted.thinking.clear()
    return rig.answer(number)
