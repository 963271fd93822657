"""The two sources, over DDS."""

from __future__ import annotations

import itertools
import json
import math

import pytest
from builtin_interfaces.msg import Time
from PIL import Image as Picture
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from recorded_bags import START_S, calibration, image, text, transforms, write_bag
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection2DArray, Detection3DArray

from vlm_perception.apps.cameras import file_camera, scene_camera
from vlm_perception.apps.cameras.file_camera import FileCamera
from vlm_perception.apps.cameras.scene_camera import SceneCamera
from vlm_perception.errors import ImageError, SettingsError
from vlm_perception.ros.image_messages import metres_of, rgb_of
from vlm_perception.ros.inputs.transforms import OwnTransforms
from vlm_perception.types import DetectedObject
from vlm_perception.world.camera_model import camera_of
from vlm_perception.world.lift import lift


@pytest.fixture
def start(robot):
    made = []

    def make(kind, **parameters):
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        made.append(kind(context=robot.context, parameter_overrides=overrides))
        robot.spin(made[-1].node)
        robot.match()
        return made[-1]

    yield make
    robot.stop_spinning()
    for camera in made:
        assert camera.close()


def test_scene_camera_tells_the_truth_about_every_image(robot, start):
    images = robot.hear("/scene_camera/image", Image)
    truths = robot.hear("/scene_camera/truth", Detection2DArray)
    texts = robot.hear("/scene_camera/truth_json", String)
    infos = robot.hear("/scene_camera/camera_info", CameraInfo)
    # Seed 1748 shows carts, which have wheels.
    start(SceneCamera, width=320, height=240, rate_hz=20.0, seed=1748, n_objects=4)
    # The very first one: nothing is filmed before all of them have found the camera.
    image = images.wait_for()
    assert (image.width, image.height, image.encoding, len(image.data)) == (320, 240, "rgb8", 320 * 240 * 3)
    info = infos.wait_for(lambda m: m.header == image.header)
    assert (info.width, info.height, info.k[2], info.k[5]) == (320, 240, 159.5, 119.5)
    # 60 degrees from the left to the right edge, and square pixels.
    assert math.degrees(2 * math.atan(160 / info.k[0])) == pytest.approx(60)
    assert (info.k[4], info.p[0], info.p[5], info.p[10]) == (info.k[0], info.k[0], info.k[0], 1.0)
    truth = truths.wait_for(lambda m: m.header == image.header)
    boxes = [d for d in truth.detections if d.bbox.size_x > 0]
    points = [d for d in truth.detections if d.bbox.size_x == 0]
    assert {d.results[0].hypothesis.class_id for d in points} == {"wheel"}
    stamp = {"sec": image.header.stamp.sec, "nanosec": image.header.stamp.nanosec}
    objects = json.loads(texts.wait_for(lambda m: json.loads(m.data)["stamp"] == stamp).data)["objects"]
    assert [o["label"] for o in objects] == [d.results[0].hypothesis.class_id for d in boxes]
    assert [p["label"] for o in objects for p in o["points"]] == ["wheel"] * len(points)
    # The middle of a square is its own colour, not the background's: image and truth are of one moment.
    (square,) = [d for d in boxes if d.results[0].hypothesis.class_id == "blue square"]
    centre = square.bbox.center.position
    red, green, blue = rgb_of(image)[int(centre.y), int(centre.x)].astype(int)
    assert blue > max(red, green)


def test_scene_camera_films_the_same_again_with_the_same_seed_and_changes_scenes(robot, start):
    texts = robot.hear("/scene_camera/truth_json", String)
    start(SceneCamera, width=112, height=112, rate_hz=50.0, seed=5, scene_change_s=0.2)

    def labels(message):
        return tuple(o["label"] for o in json.loads(message.data)["objects"])

    first = labels(texts.wait_for())
    texts.wait_for(lambda m: labels(m) != first)


def test_scene_camera_feeds_the_node(robot, start, scripted):
    start(SceneCamera, width=112, height=84, rate_hz=20.0)
    robot.node(scripted, prompt="objects", remap=("image:=/scene_camera/image",))
    detections = robot.hear("/vlm_perception/detections", Detection2DArray)
    infos = robot.hear("/vlm_perception/camera_info", CameraInfo)
    assert detections.wait_for().header.frame_id == "scene_camera"
    assert infos.wait_for().width == 112


def test_file_camera_publishes_a_folder_and_finishes(robot, start, tmp_path):
    for number in range(5):
        Picture.new("RGB", (16, 12), (number * 50, 0, 0)).save(tmp_path / f"{number}.png")
    images = robot.hear("/file_camera/image", Image)
    camera = start(FileCamera, path=str(tmp_path), rate_hz=20, loop=False, frame_id="disk")
    robot.until(lambda: camera.finished, "all images published")
    robot.until(lambda: len(images.messages) == 5, "all images arrived")
    assert images.messages[-1].header.frame_id == "disk"
    assert [int(rgb_of(message)[0, 0, 0]) for message in images.messages] == [0, 50, 100, 150, 200]
    stamps = [(m.header.stamp.sec, m.header.stamp.nanosec) for m in images.messages]
    assert stamps == sorted(set(stamps))


def test_file_camera_shows_a_single_pass_only_to_somebody(robot, start, tmp_path):
    Picture.new("RGB", (16, 12), (7, 0, 0)).save(tmp_path / "0.png")
    log = robot.hear_log()
    camera = start(FileCamera, path=str(tmp_path), rate_hz=20, loop=False)
    log.wait_for(lambda m: "waiting for a subscriber" in m.msg)
    images = robot.hear("/file_camera/image", Image)
    images.wait_for()
    robot.until(lambda: camera.finished, "the single pass ended")


def test_file_camera_repeats_a_single_image(robot, start, tmp_path):
    Picture.new("RGB", (16, 12)).save(tmp_path / "one.jpg")
    images = robot.hear("/file_camera/image", Image)
    start(FileCamera, path=str(tmp_path / "one.jpg"), rate_hz=50.0)
    robot.until(lambda: len(images.messages) >= 5, "five images")


@pytest.mark.parametrize("camera", [file_camera, scene_camera])
def test_help_names_every_parameter_and_an_example(camera, capsys):
    assert camera.main(["--ros-args", "--help"]) == 0
    said = capsys.readouterr().out
    assert [parameter.name for parameter in camera.PARAMETERS if f"  {parameter.name} " not in said] == []
    assert "example: ros2 run vlm_perception" in said


@pytest.mark.parametrize(
    ("kind", "parameters", "error", "said"),
    [
        (FileCamera, {}, SettingsError, "path is empty"),
        (FileCamera, {"path": "/no/such/file.png"}, ImageError, "/no/such/file.png"),
        (FileCamera, {"path": "/tmp", "rate_hz": 100000.0}, SettingsError, "rate_hz"),
        (FileCamera, {"path": "/tmp", "clock": True}, SettingsError, "/tmp is no bag, and clock True is of bags"),
        (FileCamera, {"path": "/tmp", "topic": "/a", "depth_topic": "/b"}, SettingsError, "topic /a, depth_topic /b"),
        (SceneCamera, {"rate_hz": 0}, SettingsError, "0.1 to 240"),
        (SceneCamera, {"width": 1}, SettingsError, "width"),
        (SceneCamera, {"width": "wide"}, SettingsError, "integer"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_remedy(start, kind, parameters, error, said):
    with pytest.raises(error, match=said):
        start(kind, **parameters)


def test_scene_camera_films_a_world_in_which_depth_tf_and_places_agree(robot, start):
    images = robot.hear("/scene_camera/image", Image)
    depths = robot.hear("/scene_camera/depth", Image)
    infos = robot.hear("/scene_camera/camera_info", CameraInfo)
    truths = robot.hear("/scene_camera/truth", Detection2DArray)
    places = robot.hear("/scene_camera/truth_3d", Detection3DArray)
    texts = robot.hear("/scene_camera/truth_json", String)
    buffer = OwnTransforms()
    fixed = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    moving, still = robot.hear("/tf", TFMessage, 100), robot.hear("/tf_static", TFMessage, fixed)
    start(SceneCamera, world=True, width=320, height=240, rate_hz=10.0, seed=3, base_speed=0.5, base_turn=45.0)
    # Some frames on, when the base has moved.
    images.wait_for(lambda m: len(images.messages) > 5)
    image = images.messages[5]
    depth = depths.wait_for(lambda m: m.header == image.header)
    camera = camera_of(infos.wait_for(lambda m: m.header == image.header))
    assert any(camera.d)
    metres = metres_of(depth)
    place = places.wait_for(lambda m: m.header.stamp == image.header.stamp)
    boxes = truths.wait_for(lambda m: m.header == image.header).detections
    for message, is_fixed in [(m, False) for m in moving.messages] + [(m, True) for m in still.messages]:
        for each in message.transforms:
            buffer.take(each, is_fixed)
    stamp_ns = image.header.stamp.sec * 10**9 + image.header.stamp.nanosec
    there = buffer.lookup(place.header.frame_id, image.header.frame_id, stamp_ns)
    objects = [
        DetectedObject(
            box.results[0].hypothesis.class_id,
            (
                box.bbox.center.position.x - box.bbox.size_x / 2,
                box.bbox.center.position.y - box.bbox.size_y / 2,
                box.bbox.center.position.x + box.bbox.size_x / 2,
                box.bbox.center.position.y + box.bbox.size_y / 2,
            ),
            None,
        )
        for box in boxes
    ]
    assert len(objects) >= 3
    for item, spot, true in zip(objects, lift(objects, (320, 240), metres, camera), place.detections, strict=True):
        assert item.label == true.results[0].hypothesis.class_id
        centre = true.bbox.center.position
        assert math.dist(spot.seen_from(there).position_m, (centre.x, centre.y, centre.z)) < 0.05
    stamp = {"sec": image.header.stamp.sec, "nanosec": image.header.stamp.nanosec}
    told = json.loads(texts.wait_for(lambda m: json.loads(m.data)["stamp"] == stamp).data)["objects"]
    assert [item["position_frame"] for item in told] == ["world"] * len(objects)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_file_camera_shows_a_bag_under_its_own_stamps_with_what_belongs_to_it(robot, start, tmp_path, storage):
    recorded = [("/tf_static", 0, transforms(0, "lens")), ("/tf_static", 0, transforms(0, "lidar"))]
    for index in range(6):
        depth = image(index, "16UC1", 2)
        broken = image(index, "no encoding") if index == 3 else image(index)
        for topic, message in (
            ("/front/camera_info", calibration(index)), ("/depth", depth), ("/tf", transforms(index, "wheel")),
            ("/rear/image", image(0)), ("/front/image", broken),
        ):  # fmt: skip
            recorded.append((topic, index * 10**8, message))
    path = write_bag(tmp_path / "drive", recorded, storage)
    images, infos = robot.hear("/file_camera/image", Image), robot.hear("/file_camera/camera_info", CameraInfo)
    depths, moved = robot.hear("/file_camera/depth", Image), robot.hear("/tf", TFMessage)
    fixed = robot.hear("/tf_static", TFMessage)
    node = start(FileCamera, path=str(path), topic="/front/image", depth_topic="depth", loop=False, rate_hz=20.0)
    robot.until(lambda: node.finished, "all images published")
    robot.until(lambda: len(images.messages) == 5 and len(infos.messages) == len(moved.messages) == 6, "all arrived")
    robot.until(lambda: len(depths.messages) == 6, "all depths arrived")
    seen = [index for index in range(6) if index != 3]
    assert [(m.header.stamp.sec, m.header.stamp.nanosec, m.header.frame_id) for m in images.messages] == [
        (START_S, index * 10**8 + 7, "lens") for index in seen
    ]
    assert [int(rgb_of(m).mean()) for m in images.messages] == [index * 10 for index in seen]
    assert [m.header.stamp.nanosec for m in infos.messages] == [index * 10**8 + 7 for index in range(6)]
    assert list(infos.messages[0].k) == list(calibration(0).k)
    assert [m.encoding for m in depths.messages] == ["16UC1"] * 6
    assert [m.transforms[0].transform.translation.x for m in moved.messages] == list(range(6))
    assert {m.transforms[0].child_frame_id for m in fixed.messages} == {"lens", "lidar"}


def test_file_camera_says_what_it_leaves_out_of_a_bag(robot, start, tmp_path):
    recorded = [("/front/camera_info", 0, text("f = 50 px")), ("/tf", 0, text("none")), ("/front/image", 0, image(0))]
    path = write_bag(tmp_path / "drive", recorded)
    images, lines = robot.hear("/file_camera/image", Image), robot.hear_log()
    start(FileCamera, path=str(path), rate_hz=20.0)
    robot.until(lambda: images.messages, "images are shown")
    robot.until(lambda: sum("is a std_msgs/msg/String" in line.msg for line in lines.messages) == 2, "both are named")


def test_with_clock_a_node_on_simulated_time_answers_all_of_a_bag_with_ages_of_the_recording(
    robot, start, tmp_path, scripted
):
    late_ns = 20_000_000
    recorded = [("/front/image", index * 10**8 + late_ns, image(index)) for index in range(5)]
    path = write_bag(tmp_path / "drive", recorded)
    clock = robot.hear("/clock", Clock, 500)
    topic = ("image:=/file_camera/image",)
    robot.node(scripted, prompt="cup", frame_policy="every", use_sim_time=True, remap=topic)
    answers = robot.hear("/vlm_perception/answer", String)
    # Under simulated time itself, as where a launch file sets that for all: its own pace must not wait for its clock.
    camera = start(FileCamera, path=str(path), clock=True, loop=False, rate_hz=5.0, use_sim_time=True)
    robot.until(lambda: camera.finished, "all images published")
    robot.until(lambda: len(answers.messages) == 5, "all are answered")
    told = [json.loads(message.data) for message in answers.messages]
    assert [(each["stamp"]["sec"], each["stamp"]["nanosec"]) for each in told] == [
        (START_S, index * 10**8 + 7) for index in range(5)
    ]
    assert all(late_ns * 1e-9 - 1e-6 <= each["timings"]["age_s"] < 0.5 for each in told)
    times_ns = [(m.clock.sec - START_S) * 10**9 + m.clock.nanosec for m in clock.messages]
    assert times_ns == sorted(times_ns)
    shown_ns = [index * 10**8 + late_ns for index in range(5)]
    assert set(shown_ns) <= set(times_ns)
    assert (times_ns[0], times_ns[-1]) == (shown_ns[0], shown_ns[-1])
    assert set(times_ns) - set(shown_ns), "it goes on between two images"


def test_clock_stands_while_a_loop_begins_again(robot, start, tmp_path):
    path = write_bag(tmp_path / "drive", [("/front/image", index * 10**9, image(index)) for index in range(2)])
    clock = robot.hear("/clock", Clock, 500)
    start(FileCamera, path=str(path), clock=True, rate_hz=20.0)
    first, last = (Clock(clock=Time(sec=START_S + sec)) for sec in range(2))
    robot.until(lambda: clock.messages.count(first) > 2, "it loops")
    after_last = [b for a, b in itertools.pairwise(clock.messages) if a == last]
    assert all(each in (first, last) for each in after_last)
    assert first in after_last


def test_file_camera_says_which_cameras_a_bag_has(start, tmp_path):
    recorded = [(topic, 0, image(0)) for topic in ("/camera/image_raw", "/rear/image")]
    path = write_bag(tmp_path / "drive", [*recorded, ("/front/camera_info", 0, calibration(0))])
    with pytest.raises(ImageError, match="its image topics are /camera/image_raw, /rear/image: name one as topic"):
        start(FileCamera, path=str(path))
    for depth_topic in ("/depth", "/front/camera_info", "/rear/image"):
        with pytest.raises(ImageError, match=f"has no depth topic {depth_topic}.*but /camera/image_raw: name one"):
            start(FileCamera, path=str(path), topic="/rear/image", depth_topic=depth_topic)
