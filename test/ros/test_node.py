"""The node's promises, each over DDS with a deterministic engine at the engine seam."""

from __future__ import annotations

import json

import pytest
from rclpy.qos import QoSProfile
from robot import BEST_EFFORT, KEPT, LATCHED, RELIABLE, VOLATILE
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from visualization_msgs.msg import ImageMarker

from vlm_perception.ros.outputs import publishers, reporter

BEST_EFFORT_QOS = QoSProfile(depth=1, reliability=BEST_EFFORT)
TWO_THINGS = """```json
[
\t{"bbox_2d": [2, 4, 12, 24], "label": "red cup", "sub_label": "chipped"},
\t{"point_2d": [30, 9], "label": "handle"}
]
```"""


def test_boxes_and_points_carry_the_cameras_own_header(robot, talk, scripted):
    scripted.reply = TWO_THINGS
    t = talk(scripted)
    t.ask("red cup")
    message = t.show_until(t.detections, first=7)
    assert (message.header.frame_id, message.header.stamp.nanosec) == ("camera_optical", 123456789)
    assert message.header.stamp.sec >= 7
    box, point = message.detections
    assert box.header == point.header == message.header
    assert (box.bbox.center.position.x, box.bbox.center.position.y) == (7.0, 14.0)
    assert (box.bbox.size_x, box.bbox.size_y) == (10.0, 20.0)
    assert box.results[0].hypothesis.class_id == "red cup"
    assert (point.bbox.center.position.x, point.bbox.center.position.y) == (30.0, 9.0)
    assert (point.bbox.size_x, point.bbox.size_y) == (0.0, 0.0)
    assert point.results[0].hypothesis.class_id == "handle"
    answer = t.answer_to(message.header.stamp.sec)
    assert answer["stamp"] == {"sec": message.header.stamp.sec, "nanosec": 123456789}
    assert (answer["prompt"], answer["task"], answer["raw_text"]) == ("red cup", "detect", TWO_THINGS)
    assert answer["objects"][0]["attributes"] == {"sub_label": "chipped"}
    assert answer["objects"][1]["point_xy"] == [30.0, 9.0]
    assert (answer["camera"], answer["image_wh"], answer["frame_id"]) == ("/image", [42, 28], "camera_optical")


SPOTTED = '[{"bbox_2d": [2, 4, 12, 24], "text_content": "A7"}, {"bbox_2d": [20, 4, 30, 24], "text_content": "停"}]'
DOCUMENT = (
    '```html\n<html><body>\n<h2 data-bbox="2 4 12 24">Note</h2>\n<table data-bbox="20 4 30 24"><tr><td>Bolt</td>'
    "<td>12</td></tr><tr><td>Nut</td><td>7</td></tr></table>\n</body></html>\n```"
)
# prompt, reply, then class_id, kind and text of each
READ = [
    (
        "read: labels on the carts",
        SPOTTED,
        [("labels on the carts", "line", "A7"), ("labels on the carts", "line", "停")],
    ),
    ("read all the text", SPOTTED, [("text", "line", "A7"), ("text", "line", "停")]),
    ("read: document", DOCUMENT, [("heading", "heading", "Note"), ("table", "table", "Bolt | 12\nNut | 7")]),
]


@pytest.mark.parametrize(("prompt", "reply", "read"), READ)
def test_text_is_read_with_its_places(talk, scripted, prompt, reply, read):
    scripted.reply = reply
    t = talk(scripted)
    t.ask(prompt)
    message = t.show_until(t.detections)
    first, second = message.detections
    assert (first.bbox.center.position.x, first.bbox.size_y) == (7.0, 20.0)
    assert (second.bbox.center.position.x, second.bbox.size_x) == (25.0, 10.0)
    answer = t.answer_to(message.header.stamp.sec)
    assert answer["task"] == "read"
    assert [(found["label"], found["kind"], found["text"]) for found in answer["objects"]] == read
    assert [d.results[0].hypothesis.class_id for d in message.detections] == [label for label, _, _ in read]
    assert (answer["rejects"], answer["text"]) == ([], "\n".join(text for _, _, text in read))


@pytest.mark.parametrize("reply", ["[]", "I see a quiet street."])
def test_nothing_found_is_an_empty_array_beside_the_reply(talk, scripted, reply):
    scripted.reply = reply
    t = talk(scripted, prompt="red cup")
    message = t.show_until(t.detections)
    assert list(message.detections) == []
    answer = t.answer_to(message.header.stamp.sec)
    assert (answer["objects"], answer["raw_text"], answer["text"]) == ([], reply, reply if reply != "[]" else "")


def test_nothing_is_drawn_for_nobody(robot, talk, scripted, monkeypatch):
    made = []
    for module, name in ((reporter, "annotate"), (publishers, "marker_message")):
        make = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, n=name, real=make: made.append(n) or real(*given))
    scripted.reply = TWO_THINGS
    t = talk(scripted)
    t.ask("red cup")
    t.show_until(t.detections, lambda m: m.header.stamp.sec >= 5)
    assert made == []
    markers = robot.hear("/vlm_perception/markers", ImageMarker)
    pictures = robot.hear("/vlm_perception/annotated_image", Image)
    picture = t.show_until(pictures, first=1000)
    t.show_until(markers, first=2000)
    assert set(made) == {"annotate", "marker_message"}
    assert (picture.encoding, picture.width, picture.height, picture.step) == ("rgb8", 42, 28, 126)
    assert picture.header.frame_id == "camera_optical"
    assert picture.header.stamp.sec in [r.frame.header.stamp_sec for r in scripted.requests]
    assert any(picture.data), "something is drawn on the black frame"


def test_a_new_prompt_aborts_and_nothing_of_the_old_one_follows_it(robot, talk, scripted):
    t = talk(scripted)
    t.ask("red cup")
    scripted.thinking.set()
    count = len(scripted.requests)
    t.show(50)
    scripted.wait_asked(count + 1)
    # The executor is free although the engine is busy: the new prompt is echoed.
    t.ask("blue cup")
    robot.until(lambda: scripted.aborted == 1, "the old answer is aborted")
    scripted.thinking.clear()
    t.show_until(t.answers, lambda m: json.loads(m.data)["prompt"] == "blue cup", first=51)
    assert 50 not in [answer["stamp"]["sec"] for answer in t.told()]
    assert {answer["prompt"] for answer in t.told() if answer["stamp"]["sec"] > 50} == {"blue cup"}


def test_the_executor_is_free_while_the_model_works(robot, talk, scripted):
    scripted.thinking.set()
    t = talk(scripted)
    t.ask("red cup")
    t.show(1)
    scripted.wait_asked(1)
    seen = len(t.diagnostics.messages)
    for number in range(2, 12):
        t.show(number)
    robot.until(lambda: len(t.diagnostics.messages) >= seen + 3, "diagnostics")
    assert len(scripted.requests) == 1
    assert t.detections.messages == []


def test_an_empty_prompt_stops_detection_and_says_so(robot, talk, scripted):
    t = talk(scripted)
    t.ask("red cup")
    t.show_until(t.detections)
    t.ask("  ")
    assert t.active.messages[-1].data == ""
    t.logs.wait_for(lambda m: "detection stopped" in m.msg)
    asked = len(scripted.requests)
    # Frames keep coming and are counted as unanswered, for want of a prompt.
    robot.until(lambda: bool(t.show(900)) and t.dropped("no_prompt") > 0, "frames without a prompt are counted")
    assert len(scripted.requests) == asked


def test_a_latched_prompt_from_before_the_node_is_heard(robot, talk, scripted):
    early = robot.client.create_publisher(String, "/vlm_perception/prompt", LATCHED)
    early.publish(String(data="latched cup"))
    t = talk(scripted)
    t.active.wait_for(lambda m: m.data == "latched cup")
    t.show_until(t.answers, lambda m: json.loads(m.data)["prompt"] == "latched cup")


@pytest.mark.parametrize("durability", [VOLATILE, KEPT])
def test_each_prompt_is_handled_once_whatever_the_publisher_offers(robot, talk, scripted, durability):
    t = talk(scripted, prompt_qos=QoSProfile(depth=10, reliability=RELIABLE, durability=durability))
    for text in ("a", "b", "a", "c"):
        t.ask(text)
    t.ask("end")
    said = [m.data for m in t.active.messages if m.data]
    assert said == ["a", "b", "a", "c", "end"]


BAD_IMAGES = {
    "wrong_step": {"step": 41},
    "zero_size": {"width": 0},
    "truncated": {"data": bytes(10)},
    "unknown_encoding": {"encoding": "rgb9"},
}


@pytest.mark.parametrize("cause", BAD_IMAGES)
def test_a_bad_image_is_dropped_counted_and_named(robot, talk, scripted, cause):
    t = talk(scripted)
    bad = Image(height=28, width=42, encoding="mono8", step=42, data=bytes(28 * 42))
    for name, value in BAD_IMAGES[cause].items():
        setattr(bad, name, value)
    robot.until(lambda: t.camera.publish(bad) or t.dropped(cause) >= 3, "three bad images counted")
    said = t.logs.wait_for(lambda m: "dropped" in m.msg).msg
    for part in ("/image", cause, repr(bad.encoding), f"{bad.width}x{bad.height}", f"step {bad.step}"):
        assert part in said
    t.ask("red cup")
    t.show_until(t.detections)
    assert len([m for m in t.logs.messages if "dropped" in m.msg]) == 1, "throttled"


def test_a_silent_camera_is_named_beside_the_topics_there_are(robot, scripted):
    other = robot.client.create_publisher(Image, "/front/image_raw", 1)
    logs = robot.hear_log()
    robot.node(scripted, no_image_warning_s=0.5)
    said = logs.wait_for(lambda m: "no image on /image" in m.msg).msg
    assert "/front/image_raw (sensor_msgs/msg/Image)" in said
    assert "annotated" not in said
    robot.client.destroy_publisher(other)


def test_a_camera_of_the_other_transport_is_recognised(robot, scripted):
    publisher = robot.client.create_publisher(CompressedImage, "/image", 1)
    logs = robot.hear_log()
    robot.node(scripted, no_image_warning_s=0.5)
    assert "image_transport to compressed" in logs.wait_for(lambda m: "no image on /image" in m.msg).msg
    robot.client.destroy_publisher(publisher)


def test_diagnostics_show_what_happens(robot, talk, scripted):
    scripted.reply = '[{"bbox_2d": [1, 2, "x", 4], "label": "broken"}]'
    t = talk(scripted, prompt="red cup")
    t.show_until(t.detections)
    values = t.diagnostic("rejected objects", *map(str, range(1, 100)))
    assert (values["engine state"], values["prompt"], values["image topic"]) == ("ready", "red cup", "/image")
    assert values["rejected objects below score_threshold"] == "0"
    assert float(values["latency p50 (ms)"]) <= float(values["latency p95 (ms)"])


def test_prompts_are_heard_on_a_ros_without_message_info(robot, talk, scripted, monkeypatch):
    """Humble's rclpy hands no message info to callbacks."""
    import vlm_perception.ros.inputs.prompt_subscription as prompts_in

    class OldSubscription:
        pass

    monkeypatch.setattr(prompts_in, "Subscription", OldSubscription)
    early = robot.client.create_publisher(String, "/vlm_perception/prompt", LATCHED)
    early.publish(String(data="latched cup"))
    t = talk(scripted)
    t.active.wait_for(lambda m: m.data == "latched cup")
    robot.until(lambda: early.get_subscription_count() == 2, "both subscriptions are there")
    for text in ("a", "b"):
        t.ask(text)
    early.publish(String(data="c"))
    t.active.wait_for(lambda m: m.data == "c")
    assert [m.data for m in t.active.messages if m.data] == ["latched cup", "a", "b", "c"]


def test_a_latched_publisher_that_comes_late_is_heard_beside_others(robot, talk, scripted):
    t = talk(scripted)
    t.ask("a")
    late = robot.client.create_publisher(String, "/vlm_perception/prompt", LATCHED)
    late.publish(String(data="late"))
    t.active.wait_for(lambda m: m.data == "late")
    t.ask("b")
    assert [m.data for m in t.active.messages if m.data] == ["a", "late", "b"]


def test_names_follow_the_nodes_namespace(robot, scripted):
    robot.node(scripted, prompt="red cup", remap=("__ns:=/arm", "__node:=eyes"))
    assert robot.hear("/arm/eyes/active_prompt", String, LATCHED).wait_for().data == "red cup"
    robot.until(lambda: robot.client.count_subscribers("/arm/image") == 1, "the camera topic is in the namespace")
    robot.until(lambda: robot.client.count_subscribers("/arm/eyes/prompt") == 1, "so is the prompt")
