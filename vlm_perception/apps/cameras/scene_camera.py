"""A camera that films drawn scenes and knows the truth about them.

Publishes `~/image` (sensor_msgs/Image, rgb8) and, with the same header, `~/camera_info`
(sensor_msgs/CameraInfo, of a pinhole) and what is really in it: `~/truth`
(vision_msgs/Detection2DArray; boxes, and key points as boxes of size 0) and `~/truth_json`
(std_msgs/String; the same with attributes). With `world` it stands on a base that moves in a drawn room, and tells
depth, `/tf` and true places, too.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header, String
from vision_msgs.msg import Detection2DArray

from vlm_perception.apps.cameras.shared import PATIENCE_S, Audience, usage, wants_help
from vlm_perception.apps.cameras.world_film import TF_PERIOD_S, WORLD_FRAME, Motion, WorldFilm, bend
from vlm_perception.ros.image_messages import image_message
from vlm_perception.ros.outputs.result_messages import detection_message
from vlm_perception.ros.parameters import declare
from vlm_perception.ros.spin import run
from vlm_perception.scenes import MovingScene, Scene, Truth
from vlm_perception.scenes.world import World
from vlm_perception.settings import Parameter
from vlm_perception.types import WH, DetectedObject

FRAME_ID = "scene_camera"
DEFAULT_IN_WORLD = 4
# Of a usual webcam.
_FIELD_OF_VIEW_DEG = 60.0
# Frame, and x, y, z in it.
Place = tuple[str, tuple[float, ...]]
PARAMETERS = (
    Parameter("width", "integer", 640, 56, 7680, (), "px", "Image width.", False),
    Parameter("height", "integer", 480, 56, 4320, (), "px", "Image height.", False),
    Parameter("rate_hz", "double", 10.0, 0.1, 240.0, (), "Hz", "Images published per second.", False),
    Parameter("seed", "integer", 0, 0, 2**31 - 1, (), "", "Chooses the scenes; the same seed films the same.", False),
    Parameter("n_objects", "integer", 0, 0, 6, (), "", "Objects in a scene; 0 draws 1 to 6.", False),
    Parameter("speed", "double", 0.05, 0.0, 10.0, (), "", "Top speed of the objects, image sides per second.", False),
    Parameter("world", "bool", False, None, None, (), "", "Film a room from a moving base, with ~/depth, /tf.", False),
    Parameter("base_speed", "double", 0.3, 0.0, 2.0, (), "m/s", "Top speed of the base in a world.", False),
    Parameter("base_turn", "double", 20.0, 0.0, 180.0, (), "deg/s", "Top rate of turn of the base.", False),
    Parameter("scene_change_s", "double", 0.0, 0.0, 86400.0, (), "s", "Time between new scenes; 0 keeps one.", False),
)
_ABOUT = (
    "Films drawn, moving scenes. Publishes ~/image (sensor_msgs/Image, rgb8) and, with the same header,\n"
    "~/camera_info (sensor_msgs/CameraInfo, of a pinhole) and what is in it: ~/truth (vision_msgs/Detection2DArray)\n"
    "and ~/truth_json (std_msgs/String, with attributes). With world: a room with things on its wall's side, filmed\n"
    "through a lens from a base that moves, with ~/depth (sensor_msgs/Image, 16UC1), /tf (world, base, scene_camera)\n"
    "and ~/truth_3d (vision_msgs/Detection3DArray in world)."
)


class SceneCamera:
    """Publishes moving scenes with their truth.

    Raises:
        SettingsError: A parameter's start value cannot be used.
    """

    finished = False

    def __init__(self, **node_arguments: Any) -> None:
        self.node = Node("scene_camera", **node_arguments)
        values = declare(self.node, PARAMETERS)
        self._image_wh = (values["width"], values["height"])
        self._seed, self._n_objects = values["seed"], values["n_objects"] or None
        self._speed, self._scene_change_s = values["speed"], values["scene_change_s"]
        self._image = self.node.create_publisher(Image, "~/image", 1)
        self._camera_info = self.node.create_publisher(CameraInfo, "~/camera_info", 1)
        self._truth = self.node.create_publisher(Detection2DArray, "~/truth", 10)
        self._truth_json = self.node.create_publisher(String, "~/truth_json", 10)
        others: tuple[Publisher, ...] = (self._camera_info, self._truth, self._truth_json)
        self._film_3d: WorldFilm | None = None
        if values["world"]:
            room = World(self._seed, self._n_objects or DEFAULT_IN_WORLD)
            motion = Motion(values["base_speed"], values["base_turn"])
            info = pinhole(self._image_wh, Header())
            self._film_3d = WorldFilm(self.node, info, FRAME_ID, room, motion)
            others += self._film_3d.publishers
            self.node.create_timer(TF_PERIOD_S, self._move)
        self._audience = Audience(self._image, others, PATIENCE_S)
        self._started_s: float | None = None
        self._scene_number = 0
        self._scene = self._make_scene(0)
        self.node.create_timer(1.0 / values["rate_hz"], self._film)
        self.node.get_logger().info(
            f"filming {self._image_wh[0]}x{self._image_wh[1]} on {self._image.topic_name}, truth on ~/truth"
        )

    def close(self) -> bool:
        """See `Runnable`."""
        self.node.destroy_node()
        return True

    def _make_scene(self, number: int) -> MovingScene:
        return MovingScene(self._seed + number, self._image_wh, self._n_objects, self._speed)

    def _film(self) -> None:
        if self._started_s is None:
            # Whoever hears the first image hears its truth, too.
            if not self._audience.is_there():
                return
            self._started_s = time.monotonic()
        if self._film_3d is not None:
            self._film_world(self._film_3d)
            return
        elapsed_s = time.monotonic() - self._started_s
        number = int(elapsed_s / self._scene_change_s) if self._scene_change_s > 0 else 0
        if number != self._scene_number:
            self._scene_number, self._scene = number, self._make_scene(number)
        scene = self._scene.at(elapsed_s - number * self._scene_change_s)
        header = Header(stamp=self.node.get_clock().now().to_msg(), frame_id=FRAME_ID)
        self._publish(scene, pinhole(self._image_wh, header))

    def _film_world(self, film: WorldFilm) -> None:
        # What is filmed belongs to the moment of the stamp, however long drawing it takes.
        elapsed_s = self._elapsed_s()
        header = Header(stamp=self.node.get_clock().now().to_msg(), frame_id=FRAME_ID)
        film.move(elapsed_s, header.stamp)
        view = film.view(elapsed_s)
        film.publish(view, header)
        truths = tuple(Truth(seen.board.label, seen.xyxy, {"pattern": "plain"}) for seen in view.seen)
        places = [(WORLD_FRAME, tuple(map(float, seen.board.centre_m))) for seen in view.seen]
        self._publish(Scene(view.rgb, truths), bend(pinhole(self._image_wh, header)), places)

    def _move(self) -> None:
        if self._film_3d is not None:
            self._film_3d.move(self._elapsed_s(), self.node.get_clock().now().to_msg())

    def _elapsed_s(self) -> float:
        return 0.0 if self._started_s is None else time.monotonic() - self._started_s

    def _publish(self, scene: Scene, info: CameraInfo, places: Sequence[Place] = ()) -> None:
        header = info.header
        self._camera_info.publish(info)
        # Truth first: whoever matches answers with it has it by then.
        self._truth.publish(truth_message(scene, header))
        self._truth_json.publish(String(data=truth_json(scene, header, places)))
        self._image.publish(image_message(scene.rgb, header))


def pinhole(image_wh: WH, header: Header) -> CameraInfo:
    """Calibration of a camera without distortion that looks through the middle of its image, 60 degrees wide."""
    width, height = image_wh
    focal_px = width / 2 / math.tan(math.radians(_FIELD_OF_VIEW_DEG / 2))
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    info = CameraInfo(header=header, width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = [focal_px, 0.0, middle_x, 0.0, focal_px, middle_y, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [focal_px, 0.0, middle_x, 0.0, 0.0, focal_px, middle_y, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def truth_message(scene: Scene, header: Header) -> Detection2DArray:
    """Boxes of all objects and their key points, each with score 1."""
    found = [DetectedObject(truth.label, truth.xyxy, None, score=1.0) for truth in scene.truths]
    points = [DetectedObject(name, None, (x, y), score=1.0) for truth in scene.truths for name, x, y in truth.points]
    return Detection2DArray(header=header, detections=[detection_message(item, header) for item in found + points])


def truth_json(scene: Scene, header: Header, places: Sequence[Place] = ()) -> str:
    """The truth with attributes; every key point beside its owner, and in a world each object's frame and place."""
    objects = [
        {
            "label": truth.label,
            "bbox_xyxy": list(truth.xyxy),
            "attributes": truth.attributes,
            "points": [{"label": name, "point_xy": [x, y]} for name, x, y in truth.points],
        }
        for truth in scene.truths
    ]
    for item, (frame_id, position_m) in zip(objects, places, strict=False):
        item |= {"position_frame": frame_id, "position_m": list(position_m)}
    stamp = {"sec": header.stamp.sec, "nanosec": header.stamp.nanosec}
    return json.dumps({"stamp": stamp, "frame_id": header.frame_id, "objects": objects})


def main(args: list[str] | None = None) -> int:
    """Run the camera until SIGINT or SIGTERM; returns the exit code."""
    if wants_help(args):
        print(usage("scene_camera", _ABOUT, PARAMETERS, "seed:=5 -p n_objects:=3"))
        return 0
    return run("scene_camera", SceneCamera, args)


if __name__ == "__main__":
    sys.exit(main())
