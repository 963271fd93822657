"""Tracks over DDS: ids that stay, a message for every frame, and nothing of a prompt or a camera that is gone."""

from __future__ import annotations

import json
import threading
from typing import Any

import cv2
import numpy as np
import pytest
from robot import Robot, header
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import SetBool
from talk import Talk
from vision_msgs.msg import Detection2DArray

from vlm_perception.ros.image_messages import image_message
from vlm_perception.world.tracker import Tracker

HEIGHT, WIDTH = 120, 160
THREADS = {"vlm_perception_tracks"}


def picture(left: int = 40) -> np.ndarray:
    """A textured square on a textured ground."""
    noise = np.random.default_rng(0).integers(0, 255, (15, 20, 3), np.uint8)
    rgb = cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    rgb[30:70, left : left + 40] = cv2.resize(noise[:10, :10, ::-1], (40, 40), interpolation=cv2.INTER_NEAREST)
    return rgb


def reply(label: str = "cup", left: int = 40) -> str:
    return json.dumps([{"bbox_2d": [left, 30, left + 40, 70], "label": label}])


def ids_of(message: Detection2DArray) -> list[str]:
    return [found.id for found in message.detections]


def track_threads() -> set[str]:
    return THREADS & {thread.name for thread in threading.enumerate()}


def settle(talk: Talk, depth: int) -> None:
    """Wait until so many images may wait for the node; what is sent while it subscribes anew is lost."""

    def depths() -> list[int]:
        return [each.qos_profile.depth for each in talk.node.subscriptions if each.topic_name == "/image"]

    talk.robot.until(lambda: depths() == [depth], f"a depth of {depth}")
    talk.robot.match()


class Film:
    """Shows frames of rising stamps; each under its own header."""

    def __init__(self, talk: Talk, depth: int = 10) -> None:
        self.talk, self.number = talk, 0
        self.tracks = talk.robot.hear("/vlm_perception/tracks", Detection2DArray)
        settle(talk, depth)

    def show(self, number: int | None = None, left: int = 40) -> int:
        self.number = self.number + 1 if number is None else number
        self.talk.show(self.number, picture(left))
        return self.number

    def track(self, number: int) -> Detection2DArray:
        return self.tracks.wait_for(lambda m: m.header.stamp.sec == number)

    def until(self, matches: Any) -> Detection2DArray:
        """Show frames one by one, each after the tracks of the last, until they match."""
        for _ in range(400):
            message = self.track(self.show())
            if matches(message):
                return message
        raise AssertionError(self.tracks.messages[-3:])


@pytest.fixture
def film(robot: Robot, scripted: Any, talk: Any) -> Film:
    scripted.reply = reply()
    return Film(talk(scripted, prompt="cup", camera_qos=10))


def test_every_frame_has_its_tracks_once_under_its_own_header_and_ids_stay(film: Film) -> None:
    first = film.until(ids_of)
    answered = len(film.talk.detections.messages)
    film.until(lambda m: len(film.talk.detections.messages) >= answered + 5)
    stamps = [(m.header.stamp.sec, m.header.stamp.nanosec, m.header.frame_id) for m in film.tracks.messages]
    assert stamps == [(number, 123456789, "camera_optical") for number in range(1, film.number + 1)]
    since = first.header.stamp.sec
    assert {tuple(ids_of(m)) for m in film.tracks.messages[since - 1 :]} == {tuple(ids_of(first))}
    assert {tuple(ids_of(m)) for m in film.talk.detections.messages} == {tuple(ids_of(first))}
    assert {found["id"] for said in film.talk.told() for found in said["objects"]} == set(ids_of(first))
    assert film.talk.later(lambda v: v["tracks"] == "1" and int(v["track frames"]) >= film.number)["tracking"]


def test_each_frame_of_a_burst_has_its_tracks(film: Film) -> None:
    before = len(film.tracks.messages)
    # All of them are there before the node takes the first: its executor stands still.
    film.talk.node._tracking._changed.acquire()
    burst = [film.show() for _ in range(9)]
    film.talk.robot.until(lambda: film.talk.camera.wait_for_all_acked(), "all are there")
    film.talk.node._tracking._changed.release()
    for number in burst:
        film.track(number)
    assert [m.header.stamp.sec for m in film.tracks.messages[before:]] == burst


def test_so_many_images_wait_only_while_somebody_wants_tracks_and_the_users_word_stands(
    film: Film, scripted: Any, talk: Any
) -> None:
    robot = film.talk.robot
    assert robot.set_parameters(tracking="ids").successful
    settle(film.talk, 1)
    assert robot.set_parameters(tracking="camera_rate").successful
    settle(film.talk, 10)
    robot.client.destroy_subscription(film.tracks.subscription)
    settle(film.talk, 1)


def test_a_depth_that_the_user_fixed_stays(robot: Robot, scripted: Any, talk: Any) -> None:
    fixed = {"qos_overrides./image.subscription.depth": 3}
    assert Film(talk(scripted, prompt="cup", camera_qos=10, **fixed), depth=3).until(lambda _: True)


def test_info_tells_of_each_track_when_it_was_seen_and_how_sure_its_place_is(film: Film) -> None:
    info = film.talk.robot.hear("/vlm_perception/tracks_info", String)
    number = film.until(ids_of).header.stamp.sec
    said = json.loads(info.wait_for(lambda m: json.loads(m.data)["stamp"]["sec"] == number).data)
    (track,) = said["tracks"]
    assert (said["camera"], said["frame_id"], said["image_wh"]) == ("/image", "camera_optical", [WIDTH, HEIGHT])
    assert (track["label"], track["prompt"], track["id"]) == ("cup", "cup", ids_of(film.track(number))[0])
    assert track["seen"]["sec"] <= number
    assert track["carried"] == (track["seen_age_s"] > 0)
    assert 0.0 <= track["certainty"] <= 1.0


def test_a_prompt_that_went_leaks_no_id(film: Film, scripted: Any) -> None:
    old = ids_of(film.until(ids_of))
    scripted.reply = reply("hat")
    film.talk.ask("hat")
    after = film.number
    film.until(lambda m: [d.results[0].hypothesis.class_id for d in m.detections] == ["hat"])
    told = [i for m in film.tracks.messages if m.header.stamp.sec > after for i in ids_of(m)]
    assert told
    assert not set(told) & set(old)


def test_standing_prompts_have_their_own_ids(film: Film) -> None:
    film.talk.ask('[{"id": "cups", "prompt": "cup"}, {"id": "mugs", "prompt": "mug"}]')
    message = film.until(lambda m: len(m.detections) == 2)
    assert sorted(i.split("/")[0] for i in ids_of(message)) == ["cups", "mugs"]
    assert len(set(ids_of(message))) == 2


def test_a_pause_is_silent_and_the_id_is_the_same_after_it(film: Film) -> None:
    before = ids_of(film.until(ids_of))
    assert film.talk.robot.call(SetBool, "enable", SetBool.Request(data=False)).success
    told = len(film.tracks.messages)
    film.talk.later(lambda v: v["paused"] == "true" and int(v.get("dropped: paused", "0")) >= 3, meanwhile=film.show)
    assert len(film.tracks.messages) == told
    assert film.talk.robot.call(SetBool, "enable", SetBool.Request(data=True)).success
    assert ids_of(film.until(ids_of)) == before


def test_stamps_that_jump_back_cost_no_frame(film: Film) -> None:
    film.show(1_000_000)
    film.track(1_000_000)
    film.number = 0
    film.until(ids_of)
    assert [m.header.stamp.sec for m in film.tracks.messages] == [1_000_000, *range(1, film.number + 1)]


def test_a_camera_that_begins_anew_goes_on(film: Film) -> None:
    film.until(ids_of)
    robot = film.talk.robot
    robot.client.destroy_publisher(film.talk.camera)
    robot.until(lambda: robot.nodes[0].count_publishers("/image") == 0, "the camera is gone")
    film.talk.camera = robot.camera("/image", Image, 10)
    # Eight hours on.
    film.number = 28_800
    assert film.until(ids_of)


def test_a_camera_of_another_size_goes_on(film: Film) -> None:
    film.until(ids_of)
    film.talk.show(10_000, np.zeros((HEIGHT * 2, WIDTH, 3), np.uint8))
    film.track(10_000)
    film.number = 20_000
    assert film.until(ids_of)


def test_a_tracker_that_fails_is_told_and_the_node_lives_on(film: Film, monkeypatch: pytest.MonkeyPatch) -> None:
    film.until(ids_of)

    def fail(*_: object) -> None:
        raise RuntimeError("no such place")

    with monkeypatch.context() as patch:
        patch.setattr(Tracker, "advance", fail)
        film.show()
        film.talk.later(lambda v: int(v.get("errors: tracking", "0")) >= 1)
    film.talk.logs.wait_for(lambda m: "no such place" in m.msg)
    assert film.until(ids_of)


@pytest.mark.parametrize(("mode", "has_id"), [("off", False), ("ids", True), ("camera_rate", True)])
def test_no_thread_and_no_frame_more_than_the_mode_asks_for(
    robot: Robot, scripted: Any, talk: Any, mode: str, has_id: bool
) -> None:
    scripted.reply = '[{"bbox_2d": [5, 5, 20, 20], "label": "cup"}]'
    said = talk(scripted, prompt="cup", camera_qos=10, tracking=mode)
    message = said.show_until(said.detections)
    assert [bool(i) for i in ids_of(message)] == [has_id]
    assert track_threads() == (THREADS if mode == "camera_rate" else set())
    values = said.later(lambda v: v["tracking"] == mode)
    # Nobody subscribes to tracks.
    assert {values.get(key, "0") for key in ("track frames", "track catch-ups without their frame")} == {"0"}
    assert robot.set_parameters(tracking="off").successful
    robot.until(lambda: not track_threads(), "the threads end")
    count = len(said.detections.messages)
    said.show(50_000)
    assert ids_of(said.detections.wait_for(after=count)) == [""]


def test_the_annotated_image_follows_the_tracks_for_whoever_looks(robot: Robot, scripted: Any, talk: Any) -> None:
    scripted.reply = reply()
    film = Film(talk(scripted, prompt="cup", camera_qos=10, annotate="tracks"))
    said = film.talk
    film.until(ids_of)
    robot.client.destroy_subscription(film.tracks.subscription)
    settle(said, 1)
    carried = said.node._tracking.report().carried
    said.show(1000, picture())
    said.answer_to(1000)
    assert said.node._tracking.report().carried == carried, "nobody looks"
    pictures = robot.hear("/vlm_perception/annotated_image", Image)
    settle(said, 10)
    # While the model thinks, only tracks are there to be drawn.
    scripted.thinking.set()
    for number in range(1001, 1006):
        said.show(number, picture())
        message = pictures.wait_for(lambda m, n=number: m.header.stamp.sec == n)
        assert (message.width, message.header) == (WIDTH, header(number))
    drawn = np.frombuffer(message.data, np.uint8).reshape(message.height, WIDTH, 3)
    assert (drawn[31:69, 40] != picture()[31:69, 40]).any(axis=1).all(), "the box's left side"
    assert robot.set_parameters(annotate="answers").successful
    settle(said, 1)
    scripted.thinking.clear()
    before = len(pictures.messages)
    said.show(2000, picture())
    said.answer_to(2000)
    pictures.wait_for(lambda m: m.header.stamp.sec == 2000)
    assert {m.header.stamp.sec for m in pictures.messages[before:]} <= {told["stamp"]["sec"] for told in said.told()}


def test_of_two_cameras_only_the_one_that_is_looked_at_is_carried(robot: Robot, scripted: Any) -> None:
    scripted.reply = reply()
    node = robot.node(scripted, prompt="cup", image_topics=["/left/image_raw", "/right/image_raw"])
    left = robot.hear("/vlm_perception/left/tracks", Detection2DArray)
    cameras = {name: robot.camera(f"/{name}/image_raw", Image, 10) for name in ("left", "right")}
    numbers = iter(range(1, 100_000))

    def step() -> bool:
        number = next(numbers)
        for name, camera in cameras.items():
            camera.publish(image_message(picture(), header(number, frame_id=name)))
        with robot.changed:
            robot.changed.wait(0.05)
            return any(any(ids_of(m)) for m in left.messages)

    robot.until(step, "tracks of the left one")
    assert node._tracking.report().carried <= next(numbers) - 1
    assert {m.header.frame_id for m in left.messages} == {"left"}


def test_each_camera_has_tracks_of_its_own(robot: Robot, scripted: Any) -> None:
    scripted.reply = reply()
    robot.node(scripted, prompt="cup", image_topics=["/left/image_raw", "/right/image_raw"])
    heard = {name: robot.hear(f"/vlm_perception/{name}/tracks", Detection2DArray) for name in ("left", "right")}
    cameras = {name: robot.camera(f"/{name}/image_raw", Image, 10) for name in heard}
    numbers = iter(range(1, 100_000))

    def step() -> bool:
        number = next(numbers)
        for name, camera in cameras.items():
            camera.publish(image_message(picture(), header(number, frame_id=name)))
        with robot.changed:
            robot.changed.wait(0.05)
            return all(any(ids_of(m) for m in each.messages) for each in heard.values())

    robot.until(step, "tracks of both")
    told = {name: {i for m in each.messages for i in ids_of(m)} for name, each in heard.items()}
    assert not told["left"] & told["right"]
    assert all({m.header.frame_id for m in each.messages} == {name} for name, each in heard.items())


def test_a_frame_that_the_model_has_is_kept_until_its_answer_comes_however_late(film: Film, scripted: Any) -> None:
    film.until(ids_of)
    # More frames than are kept without gaps come meanwhile, and things move.
    scripted.thinking.set()
    asked = len(scripted.requests)
    film.track(film.show(left=41))
    scripted.wait_asked(asked + 1)
    before = film.talk.later(lambda v: v["tracking"] == "camera_rate")
    for number in range(60):
        film.track(film.show(left=41 + number // 2))
    scripted.reply = reply(left=41)
    scripted.thinking.clear()
    done = int(before["track catch-ups"])
    after = film.talk.later(lambda v: int(v["track catch-ups"]) > done)
    assert after["track catch-ups without their frame"] == before["track catch-ups without their frame"]


def test_after_a_cut_nothing_of_the_old_scene_is_followed(film: Film, scripted: Any) -> None:
    old = set(ids_of(film.until(ids_of)))
    scripted.thinking.set()
    asked = len(scripted.requests)
    # The model still has a frame of the old scene when the new one begins.
    film.track(film.show())
    scripted.wait_asked(asked + 1)
    film.number += 1
    other = np.random.default_rng(7).integers(0, 255, (HEIGHT // 12, WIDTH // 12, 3), np.uint8)
    scene = cv2.resize(other, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
    film.talk.show(film.number, scene)
    assert not ids_of(film.track(film.number))
    told = len(film.talk.detections.messages)
    scripted.thinking.clear()
    film.talk.detections.wait_for(after=told)
    scripted.reply = "[]"
    for _ in range(5):
        film.number += 1
        film.talk.show(film.number, scene)
        assert not old & set(ids_of(film.track(film.number)))
