"""`~/enable`, `~/detect_once`, the policies and standing prompts, over DDS."""

from __future__ import annotations

import json

import pytest
from robot import header
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from vision_msgs.msg import Detection2DArray

BOX = '[{"bbox_2d": [1, 2, 20, 20], "label": "cup"}]'


def test_enable_false_aborts_and_nothing_is_published_until_it_is_true_again(robot, talk, scripted) -> None:
    t = talk(scripted)
    scripted.reply, _ = BOX, scripted.thinking.set()
    t.ask("cup")
    t.show(1)
    scripted.wait_asked(1)
    done = robot.call(SetBool, "enable", SetBool.Request(data=False))
    assert done.success
    assert "paused" in done.message
    # It looks at its stop while it thinks: cleared too early, it would just answer.
    robot.until(lambda: scripted.aborted == 1, "abort")
    scripted.thinking.clear()
    for number in range(2, 6):
        t.show(number)
    assert t.diagnostic("paused", "true")["message"] == "paused by ~/enable"
    assert (t.answers.messages, len(scripted.requests)) == ([], 1)
    assert "before" in robot.call(SetBool, "enable", SetBool.Request(data=False)).message
    robot.call(SetBool, "enable", SetBool.Request(data=True))
    assert json.loads(t.show_until(t.answers, first=10).data)["stamp"]["sec"] >= 10


def test_on_demand_answers_only_when_asked(robot, talk, scripted) -> None:
    t = talk(scripted, frame_policy="on_demand")
    scripted.reply = BOX
    t.ask("cup")
    counts = tuple(str(number) for number in range(1, 1000))
    t.show_until(t.diagnostics, lambda m: any(v.key == "dropped: not_asked" for v in m.status[0].values))
    t.diagnostic("dropped: not_asked", *counts)
    assert scripted.requests == []
    done = robot.call(Trigger, "detect_once")
    assert done.success, done.message
    fields = json.loads(done.message)
    assert [found["label"] for found in fields["objects"]] == ["cup"]
    assert len(scripted.requests) == 1
    assert t.answer_to(fields["stamp"]["sec"])["objects"] == fields["objects"]


@pytest.mark.parametrize("prompt", ["", "cup"])
def test_a_single_answer_that_cannot_be_given_says_why(robot, talk, scripted, prompt: str) -> None:
    robot.node(scripted, prompt=prompt, no_image_warning_s=0.5)
    done = robot.call(Trigger, "detect_once")
    assert not done.success
    assert ("no image" if prompt else "prompt") in done.message


def test_who_waits_for_one_answer_is_told_when_no_image_can_be_read(robot, talk, scripted) -> None:
    t = talk(scripted, prompt="cup", no_image_warning_s=1.0)
    future = robot.begin_call(Trigger, "detect_once")

    def film() -> bool:
        bad = Image(header=header(1), height=4, width=4, step=12, encoding="no_such_encoding", data=[0] * 48)
        t.camera.publish(bad)
        return future.done()

    robot.until(film, "an answer although the camera goes on sending")
    assert not future.result().success
    assert "no image that can be read for 1.0 s" in future.result().message
    assert scripted.requests == []


def test_the_executor_is_free_while_somebody_waits_for_an_answer(robot, talk, scripted) -> None:
    t = talk(scripted)
    t.ask("cup")
    scripted.thinking.set()
    future = robot.begin_call(Trigger, "detect_once")
    t.show(1)
    scripted.wait_asked(1)
    # Prompts and other services are heard meanwhile, and a new prompt ends the wait with a reason or a new answer.
    assert robot.call(SetBool, "enable", SetBool.Request(data=True)).success
    assert not future.done()
    scripted.thinking.clear()
    robot.until(future.done, "the answer")
    assert future.result().success


def test_standing_prompts_answer_under_their_own_ids(robot, talk, scripted) -> None:
    t = talk(scripted)
    scripted.reply = BOX
    text = json.dumps([{"id": "cups", "prompt": "cup"}, {"id": "people", "prompt": "people", "task": "count"}])
    t.ask(text)
    for first, name, prompt in ((1, "cups", "cup"), (1000, "people", "people")):
        said = t.show_until(t.answers, lambda m, n=name: json.loads(m.data)["prompt_id"] == n, first)
        assert json.loads(said.data)["prompt"] == prompt
    found: Detection2DArray = t.detections.wait_for(lambda m: m.detections and m.detections[0].id.startswith("people/"))
    assert found.detections[0].results[0].hypothesis.class_id == "cup"
    asked = [(r.frame.header.stamp_sec, r.prompt.id) for r in scripted.requests]
    assert len(asked) == len(set(asked)), "no frame is asked the same question twice"


def test_two_prompts_of_one_id_are_refused_and_the_old_ones_stay(robot, talk, scripted) -> None:
    t = talk(scripted, prompt="cup")
    t.prompt_publisher.publish(String(data='[{"id": "a", "prompt": "x"}, {"id": "a", "prompt": "y"}]'))
    assert "'a'" in t.logs.wait_for(lambda m: "names more than one prompt" in m.msg).msg
    assert t.diagnostic("errors: prompt", "1")["prompt"] == "cup"
