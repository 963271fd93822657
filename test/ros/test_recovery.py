"""What the node gets over, over real DDS: too little memory, too little time, and a model that hangs."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from scripted_node import PROGRAM
from small_memory import TINY, small_memory, wide_tiny
from std_srvs.srv import Trigger

from vlm_perception.engines.factory import open_engine
from vlm_perception.scenes import MovingScene

SEEN_PX = 252 * 168  # of a 640x480 image with at most 224 * 224 pixels


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """The tiny model, taking images of any size."""
    return wide_tiny(tmp_path_factory.mktemp("wide") / "model")


def moving():
    """Frames that all differ, so that no answer is known."""
    scene = MovingScene(7, (640, 480), n_objects=2)
    number = 0
    while True:
        number += 1
        yield number, scene.at(number * 0.1).rgb


def test_memory_that_runs_out_costs_pixels_and_no_frame(robot, talk, wide):
    with small_memory() as memory:
        memory.room_px = SEEN_PX - 1
        limits = {"max_pixels": 224 * 224, "min_pixels": 3136, "max_new_tokens": 2}
        t, frames = talk(open_engine(wide, device="cpu"), prompt="all objects", **limits), moving()

        def answers(count: int) -> bool:
            t.show(*next(frames))
            with robot.changed:
                robot.changed.wait_for(lambda: len(t.answers.messages) >= count, 0.2)
            return len(t.answers.messages) >= count

        robot.until(lambda: answers(1), "the first answer")
        width, height = t.told()[0]["model_wh"]
        assert width * height <= SEEN_PX // 2
        lowered = {
            "max_pixels in force": str(SEEN_PX // 2),
            "min_pixels in force": "3136",
            "errors: out_of_memory": "1",
        }
        values = t.later(lambda values: lowered.items() <= values.items())
        assert not [key for key in values if key.startswith("dropped: ") and "memory" in key]
        warned = f"out of memory recovered: looking at {SEEN_PX // 2} px instead of {SEEN_PX}"
        assert t.diagnostic("message", warned)["level"] == "1"
        said = t.logs.wait_for(lambda m: "out of memory" in m.msg).msg
        for part in ("/image", "max_pixels 50176", "asked again", "lower them"):
            assert part in said
        memory.room_px = float("inf")
        robot.until(lambda: answers(len(t.answers.messages) + 1) and memory.images_px[-1] == SEEN_PX, "all pixels")
        t.logs.wait_for(lambda m: "as many pixels as before" in m.msg)
        fine = t.later(lambda values: (values["level"], values["message"]) == ("0", "detecting"))
        assert (fine["max_pixels in force"], fine["errors: out_of_memory"]) == (str(224 * 224), "1")


def test_an_answer_that_takes_too_long_is_cut_published_counted_and_given_to_who_asked(robot, talk):
    """The real model, slow at every pass."""
    with small_memory() as memory:
        values = {"max_new_tokens": 32, "frame_policy": "on_demand", "timeout_s": 3600.0}
        t = talk(open_engine(TINY, device="cpu", drafting=False), prompt="all objects", **values)
        frames = moving()

        def once() -> dict:
            future = robot.begin_call(Trigger, "detect_once")
            robot.until(
                lambda: bool(t.show(*next(frames))) and (future.done() or threading.Event().wait(0.05)), "asked"
            )
            robot.until(future.done, "answered")
            assert future.result().success, future.result().message
            return dict(json.loads(future.result().message))

        whole = once()
        assert (whole["finish_reason"], whole["truncated"]) in [("length", True), ("stop", False)]
        pause = threading.Event()
        memory.before_pass = lambda: pause.wait(0.1) and None
        assert robot.set_parameters(timeout_s=0.5).successful
        cut = once()
        assert (cut["finish_reason"], cut["truncated"], cut["partial"]) == ("timeout", True, False)
        assert cut["passes"] < whole["passes"]
        published = t.answer_to(cut["stamp"]["sec"])
        assert (published["finish_reason"], published["truncated"]) == ("timeout", True)
        assert len(published["objects"]) == len(cut["objects"])
        t.diagnostic("errors: timeout", "1")
        said = t.logs.wait_for(lambda m: "timeout_s 0.5" in m.msg).msg
        assert "raise timeout_s" in said


def test_complete_objects_of_a_cut_answer_are_in_detections(robot, talk, scripted):
    item = '{"bbox_2d": [2, 4, 11, 20], "label": "cup"}'
    scripted.reply = f"[{item}, {item.replace('cup', 'bowl')}]"
    scripted.first = len(item) + 5
    scripted.thinking.set()
    t = talk(scripted, timeout_s=0.2, publish_partial=True)
    t.ask("all objects")
    message = t.show_until(t.answers, lambda m: not json.loads(m.data)["partial"])
    number = json.loads(message.data)["stamp"]["sec"]
    parts = [answer for answer in t.told() if answer["stamp"]["sec"] == number]
    assert [(answer["partial"], answer["truncated"]) for answer in parts] == [(True, False), (False, True)]
    assert [[found["label"] for found in answer["objects"]] for answer in parts] == [["cup"], ["cup"]]
    assert (parts[-1]["finish_reason"], len(parts[-1]["rejects"])) == ("timeout", 1)
    robot.until(lambda: len([m for m in t.detections.messages if m.header.stamp.sec == number]) == 2, "detections")


def test_a_model_that_hangs_is_told_and_everything_goes_on_when_it_comes_back(robot, talk, scripted):
    scripted.deaf = True
    scripted.thinking.set()
    t = talk(scripted, timeout_s=0.1)
    t.ask("all objects")
    robot.until(lambda: bool(t.show(1)) and bool(scripted.requests), "asked")
    told = t.diagnostic("level", "2")
    assert "the model has not come back for" in told["message"]
    assert "restart the node" in told["message"]
    assert float(told["model busy (s)"]) > 1.0
    t.logs.wait_for(lambda m: "the model has not come back for" in m.msg)
    t.diagnostic("errors: hang", "1")
    scripted.thinking.clear()
    scripted.deaf = False
    t.show_until(t.answers, lambda m: json.loads(m.data)["stamp"]["sec"] >= 2, first=2)
    t.logs.wait_for(lambda m: "the model has come back" in m.msg)
    fine = t.later(lambda values: values["level"] == "0")
    assert (fine["errors: hang"], fine["model busy (s)"]) == ("1", "")
    assert len([m for m in t.logs.messages if "has not come back for" in m.msg]) == 1, "throttled"


@pytest.mark.parametrize(
    ("how", "parts"),
    [
        ("hangs", ("has not come back for", "timeout_s is 0.1", "hang_exit_s 0.5", "exit code 75")),
        ("loses its device", ("cannot be asked any more", "illegal memory access", "exit code 75")),
    ],
)
def test_a_process_whose_model_is_lost_ends_for_respawn(robot, talk, how, parts):
    node = robot.start(PROGRAM, how)
    t = talk()
    robot.until(lambda: t.show(1) and node.poll() is not None, "the process has ended")
    _, errors = node.communicate()
    assert node.returncode == 75
    (said,) = [line for line in errors.splitlines() if "FATAL" in line]
    for part in parts:
        assert part in said
