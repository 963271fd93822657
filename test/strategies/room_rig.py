"""A drawn room with things at known places, a camera with depth in it, and a node whose model names what is there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from depth_rig import PROFILE, raw
from geometry_msgs.msg import Quaternion, TransformStamped, Vector3
from robot import Robot, header
from scripted_engine import ScriptedEngine
from sensor_msgs.msg import CameraInfo, Image
from talk import Talk
from tf2_msgs.msg import TFMessage

from vlm_perception.prompts.builder import build_prompt
from vlm_perception.ros.image_messages import image_message
from vlm_perception.scenes.world import Board, Pose, World, base_at, camera_on, measured, quaternion_xyzw
from vlm_perception.types import Answer, Frame, FrameHeader, Request, Result, Timings
from vlm_perception.world.camera_model import CameraModel

WH = (320, 240)
K = (250.0, 0.0, 159.5, 0.0, 250.0, 119.5, 0.0, 0.0, 1.0)
CAMERA_FRAME = "camera_optical"
_NANOSEC = 123456789
STRAIGHT = camera_on(base_at(0.0, 0.0, 0.0))


class Room:
    """Four things before a wall. The node hears depth, calibration and `/tf` of each image before it gets that.

    Args:
        robot: Where the node runs.
        engine: Its model, which sees the truth.
        memory_file: Of the node.
        node: Its further parameters.
    """

    def __init__(self, robot: Robot, engine: ScriptedEngine, memory_file: Path, **node: Any) -> None:
        self.robot, self.engine = robot, engine
        self.world, self._noise = World(3), np.random.default_rng(0)
        pixels = np.stack(np.meshgrid(np.arange(WH[0]), np.arange(WH[1])), -1).reshape(-1, 2).astype(np.float64)
        self._rays = CameraModel(WH, K).rays_of(pixels).reshape(WH[1], WH[0], 3).astype(np.float32)
        self._depth = robot.camera("/depth", Image, PROFILE)
        self._info = robot.camera("/camera_info", CameraInfo, PROFILE)
        self._tf = robot.client.create_publisher(TFMessage, "/tf", 100)
        settings = {"depth_topics": ["/depth"], "target_frame": "map", "memory_file": str(memory_file)}
        self.talk = Talk(robot, engine, camera_qos=PROFILE, **(settings | node))
        robot.settle("/depth", "/camera_info")
        robot.match()
        self.talk.ask("; ".join(self.labels))

    @property
    def labels(self) -> list[str]:
        return [board.label for board in World(3).boards]

    @property
    def node(self) -> Any:
        return self.talk.node

    def board(self, label: str) -> Board:
        return next(board for board in self.world.boards if board.label == label)

    def move(self, label: str, by_m: tuple[float, float, float]) -> None:
        """Carry a thing elsewhere."""
        self.world.boards = tuple(
            replace(each, centre_m=each.centre_m + by_m) if each.label == label else each for each in self.world.boards
        )

    def take_away(self, label: str) -> None:
        self.world.boards = tuple(each for each in self.world.boards if each.label != label)

    def look(
        self,
        number: int,
        camera: Pose = STRAIGHT,
        unseen: Sequence[str] = (),
        with_depth: bool = True,
        with_transform: bool = True,
    ) -> None:
        """Show the node one image, and wait for its answer: what is asked of the memory then is asked after that.

        Args:
            number: The image's stamp, seconds; 0 is an image without one.
            camera: Where it is in the map.
            unseen: Things that the model overlooks.
            with_depth: Whether depth comes with it.
            with_transform: Whether the camera's place is told.
        """
        before = self._answers()
        self.publish(number, camera, unseen, with_depth, with_transform)
        self.robot.until(lambda: self._answers() > before, "the answer is told, and handed to the memory")

    def publish(
        self,
        number: int,
        camera: Pose = STRAIGHT,
        unseen: Sequence[str] = (),
        with_depth: bool = True,
        with_transform: bool = True,
    ) -> None:
        """Show the node one image, and do not wait."""
        stamped = header(number, nanosec=0 if not number else _NANOSEC, frame_id=CAMERA_FRAME)
        view = self.world.view(self._rays, camera)
        self.engine.reply = json.dumps(
            [
                {"label": seen.board.label, "bbox_2d": [round(edge) for edge in seen.xyxy]}
                for seen in view.seen
                if seen.board.label not in unseen
            ]
        )
        depth = self.node._outputs.of("/image")._depth
        before = self._heard(depth)
        if with_depth:
            metres = np.nan_to_num(measured(view.depth_m, self._noise)).astype(np.float32)
            self._depth.publish(raw(number, metres, "32FC1", nanosec=stamped.stamp.nanosec))
        info = CameraInfo(header=stamped, width=WH[0], height=WH[1], distortion_model="plumb_bob", k=list(K))
        info.d = [0.0] * 5
        self._info.publish(info)
        if with_transform:
            self._tf.publish(TFMessage(transforms=[_transform(number, camera)]))
        hears_tf = with_transform and self.node._outputs._transforms is not None
        expected = (before[0] + with_depth, before[1] + 1, before[2] + hears_tf)
        self.robot.until(lambda: self._heard(depth) == expected, "all that belongs to the image is heard")
        self.talk.camera.publish(image_message(view.rgb, stamped))

    def answered(self, number: int) -> Result:
        """Return an answer of nothing about an image that was shown, for what is told of answers."""
        frame = Frame(np.zeros((WH[1], WH[0], 3), np.uint8), FrameHeader(number, _NANOSEC, CAMERA_FRAME), "/image", 0.0)
        answer = Answer("[]", WH, "absolute", "stop", (), Timings(0.0, 0.0, 0.0))
        return Result(Request(frame, build_prompt("; ".join(self.labels))), answer, (), (), "")

    def _answers(self) -> int:
        # They are counted once they are in the memory's line.
        return int(self.node._shared.counters.total.report().answers)

    def _heard(self, depth: Any) -> tuple[int, int, int]:
        transforms = self.node._outputs._transforms
        return depth._depths.count, depth._infos.count, 0 if transforms is None else transforms._heard


def _transform(number: int, camera: Pose) -> TransformStamped:
    message = TransformStamped(header=header(number, frame_id="map"), child_frame_id=CAMERA_FRAME)
    message.transform.translation = Vector3(**dict(zip("xyz", camera.position_m.tolist(), strict=True)))
    message.transform.rotation = Quaternion(**dict(zip("xyzw", quaternion_xyzw(camera.rotation), strict=True)))
    return message
