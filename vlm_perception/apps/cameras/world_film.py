"""What a camera on a moving base publishes of a drawn room beside its images: depth, `/tf`, and where things are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, PoseWithCovariance, Quaternion, Transform, TransformStamped, Vector3
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import BoundingBox3D, Detection3D, Detection3DArray, ObjectHypothesis, ObjectHypothesisWithPose

from vlm_perception.scenes import world
from vlm_perception.types import WH
from vlm_perception.world.camera_model import CameraModel

WORLD_FRAME, BASE_FRAME = "world", "base"
TF_PERIOD_S = 0.02
# Of a usual webcam.
_LENS = (-0.12, 0.03, 0.001, -0.001, 0.0)
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@dataclass(frozen=True, slots=True)
class Motion:
    """Top speeds of the base."""

    speed_m_s: float
    turn_deg_s: float

    def base_at(self, time_s: float) -> world.Pose:
        """Return where it is, seconds after the start; before it stands where it starts."""
        return world.base_at(max(0.0, time_s), self.speed_m_s, self.turn_deg_s)


class WorldFilm:
    """Films a room.

    Args:
        node: Owner of the publishers.
        info: Pinhole calibration of the images.
        camera_frame: Their frame.
        room: What is filmed.
        motion: Of the base.
    """

    def __init__(self, node: Node, info: CameraInfo, camera_frame: str, room: world.World, motion: Motion) -> None:
        self._room, self._motion = room, motion
        self._camera_frame = camera_frame
        self._rays = _rays_of((info.width, info.height), tuple(map(float, info.k)))
        self._rng = np.random.default_rng(0)
        self._depth = node.create_publisher(Image, "~/depth", 5)
        self._truth_3d = node.create_publisher(Detection3DArray, "~/truth_3d", 10)
        self._tf = node.create_publisher(TFMessage, "/tf", 100)
        self._tf_static = node.create_publisher(TFMessage, "/tf_static", _LATCHED)
        moment = node.get_clock().now().to_msg()
        lens = _transform(BASE_FRAME, camera_frame, moment, world.OPTICAL)
        self._tf_static.publish(TFMessage(transforms=[lens]))

    @property
    def publishers(self) -> tuple[Publisher, ...]:
        """Those that whoever listens to the images may listen to, too."""
        return self._depth, self._truth_3d

    def move(self, elapsed_s: float, stamp: Time) -> None:
        """Tell where the base is now."""
        base = _transform(WORLD_FRAME, BASE_FRAME, stamp, self._motion.base_at(elapsed_s))
        self._tf.publish(TFMessage(transforms=[base]))

    def view(self, elapsed_s: float) -> world.View:
        """Film."""
        return self._room.view(self._rays, world.camera_on(self._motion.base_at(elapsed_s)))

    def publish(self, view: world.View, header: Header) -> None:
        """Publish depth of an image and where its things are in the world."""
        metres = world.measured(view.depth_m, self._rng)
        millimetres = np.where(np.isfinite(metres), np.clip(metres * 1000, 0, 65535), 0).astype("<u2")
        height, width = millimetres.shape
        message = Image(header=header, height=height, width=width, encoding="16UC1", step=2 * width)
        message.data.frombytes(millimetres.tobytes())
        there = Header(stamp=header.stamp, frame_id=WORLD_FRAME)
        self._truth_3d.publish(
            Detection3DArray(header=there, detections=[_detection(seen.board, there) for seen in view.seen])
        )
        self._depth.publish(message)


def bend(info: CameraInfo) -> CameraInfo:
    """Give a pinhole's calibration the lens of this camera."""
    info.distortion_model, info.d = "plumb_bob", list(_LENS)
    return info


def _rays_of(image_wh: WH, k: tuple[float, ...]) -> NDArray[np.float32]:
    width, height = image_wh
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).reshape(-1, 2).astype(np.float64)
    camera = CameraModel(image_wh, k, "plumb_bob", _LENS)
    return np.asarray(camera.rays_of(pixels).reshape(height, width, 3), np.float32)


def _detection(board: world.Board, header: Header) -> Detection3D:
    """Make a true one: its box is flat, as wide as y and as high as z of the box's own frame."""
    x, y, z = board.centre_m.tolist()
    turn = Quaternion(z=math.sin(board.yaw_rad / 2), w=math.cos(board.yaw_rad / 2))
    pose = Pose(position=Point(x=x, y=y, z=z), orientation=turn)
    guess = ObjectHypothesisWithPose(
        hypothesis=ObjectHypothesis(class_id=board.label, score=1.0), pose=PoseWithCovariance(pose=pose)
    )
    size = Vector3(x=0.0, y=float(board.size_m[0]), z=float(board.size_m[1]))
    return Detection3D(header=header, results=[guess], bbox=BoundingBox3D(center=pose, size=size))


def _transform(parent: str, child: str, stamp: Time, pose: world.Pose) -> TransformStamped:
    x, y, z = pose.position_m.tolist()
    qx, qy, qz, qw = world.quaternion_xyzw(pose.rotation)
    moved, turned = Vector3(x=x, y=y, z=z), Quaternion(x=qx, y=qy, z=qz, w=qw)
    header = Header(stamp=stamp, frame_id=parent)
    return TransformStamped(
        header=header, child_frame_id=child, transform=Transform(translation=moved, rotation=turned)
    )
