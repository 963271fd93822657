"""The node's promises, each over DDS with a deterministic engine at the engine seam."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image as Picture
from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from vlm_perception.settings import parameters

LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
TWO_THINGS = """```json
[
\t{"bbox_2d": [2, 4, 12, 24], "label": "red cup", "sub_label": "chipped"},
\t{"point_2d": [30, 9], "label": "handle"}
]
```"""


def test_boxes_and_points_carry_the_cameras_own_header(robot, talk, scripted):
    scripted.reply = TWO_THINGS
    robot.node(scripted)
    t = talk()
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


def test_nothing_found_is_an_empty_array(robot, talk, scripted):
    robot.node(scripted)
    t = talk()
    t.ask("red cup")
    message = t.show_until(t.detections)
    assert list(message.detections) == []
    assert t.answer_to(message.header.stamp.sec)["objects"] == []


def test_a_reply_without_json_is_an_empty_array_and_its_text(robot, talk, scripted):
    scripted.reply = "I see a quiet street."
    robot.node(scripted)
    t = talk()
    t.ask("red cup")
    message = t.show_until(t.detections)
    assert list(message.detections) == []
    answer = t.answer_to(message.header.stamp.sec)
    assert answer["raw_text"] == answer["text"] == "I see a quiet street."


def test_no_frame_is_answered_twice_and_stamps_only_rise(robot, talk, scripted):
    robot.node(scripted)
    t = talk()
    t.ask("red cup")
    t.show_until(t.detections, lambda m: m.header.stamp.sec >= 20)
    stamps = [m.header.stamp.sec for m in t.detections.messages]
    assert stamps == sorted(set(stamps))
    asked = [request.frame.header.stamp_sec for request in scripted.requests]
    assert asked == sorted(set(asked))


def test_nothing_is_drawn_for_nobody(robot, talk, scripted, monkeypatch):
    drawn = []
    import vlm_perception.ros.outputs.publishers as publishers

    real = publishers.annotate
    monkeypatch.setattr(publishers, "annotate", lambda rgb, result: drawn.append(1) or real(rgb, result))
    scripted.reply = TWO_THINGS
    robot.node(scripted)
    t = talk()
    t.ask("red cup")
    t.show_until(t.detections, lambda m: m.header.stamp.sec >= 5)
    assert drawn == []
    pictures = robot.hear("/vlm_perception/annotated_image", Image)
    picture = t.show_until(pictures, first=1000)
    assert drawn
    assert (picture.encoding, picture.width, picture.height, picture.step) == ("rgb8", 42, 28, 126)
    assert picture.header.frame_id == "camera_optical"
    assert picture.header.stamp.sec in [r.frame.header.stamp_sec for r in scripted.requests]
    assert any(picture.data), "something is drawn on the black frame"


def test_annotated_pictures_come_compressed_too(robot, talk, scripted):
    robot.node(scripted)
    t = talk()
    pictures = robot.hear("/vlm_perception/annotated_image/compressed", CompressedImage)
    t.ask("red cup")
    picture = t.show_until(pictures)
    assert Picture.open(io.BytesIO(bytes(picture.data))).size == (42, 28)


def test_a_new_prompt_aborts_and_nothing_of_the_old_one_follows_it(robot, talk, scripted):
    robot.node(scripted)
    t = talk()
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
    told = [json.loads(m.data) for m in t.answers.messages]
    assert 50 not in [answer["stamp"]["sec"] for answer in told]
    assert [a["prompt"] for a in told if a["stamp"]["sec"] > 50] == ["blue cup"] * len(
        [a for a in told if a["stamp"]["sec"] > 50]
    )


def test_the_executor_is_free_while_the_model_works(robot, talk, scripted):
    scripted.thinking.set()
    robot.node(scripted, diagnostics_period_s=0.1)
    t = talk()
    t.ask("red cup")
    t.show(1)
    scripted.wait_asked(1)
    seen = len(t.diagnostics.messages)
    for number in range(2, 12):
        t.show(number)
    with robot.changed:
        assert robot.changed.wait_for(lambda: len(t.diagnostics.messages) >= seen + 3, 60.0)
    assert len(scripted.requests) == 1
    assert t.detections.messages == []


def test_an_empty_prompt_stops_detection_and_says_so(robot, talk, scripted):
    robot.node(scripted)
    t = talk()
    t.ask("red cup")
    t.show_until(t.detections)
    t.ask("  ")
    assert t.active.messages[-1].data == ""
    t.logs.wait_for(lambda m: "detection stopped" in m.msg)
    asked = len(scripted.requests)
    # Frames keep coming and are counted as unanswered, for want of a prompt.
    robot.until(lambda: bool(t.show(900)) and _dropped(t, "no_prompt") > 0, "frames without a prompt are counted")
    assert len(scripted.requests) == asked


def _dropped(t, cause: str) -> int:
    if not t.diagnostics.messages:
        return 0
    values = {v.key: v.value for v in t.diagnostics.messages[-1].status[0].values}
    return int(values.get(f"dropped: {cause}", "0"))


def test_a_prompt_that_cannot_be_used_leaves_the_old_one_active(robot, talk, scripted):
    robot.node(scripted)
    t = talk()
    t.ask("red cup")
    t.prompt_publisher.publish(String(data="x" * 5000))
    t.logs.wait_for(lambda m: "5000 characters" in m.msg and "red cup" in m.msg)
    assert t.diagnostic("errors: prompt", "1")["prompt"] == "red cup"
    t.show_until(t.answers, lambda m: json.loads(m.data)["prompt"] == "red cup")


def test_a_latched_prompt_from_before_the_node_is_heard(robot, talk, scripted):
    early = robot.client.create_publisher(String, "/vlm_perception/prompt", LATCHED)
    early.publish(String(data="latched cup"))
    robot.node(scripted)
    t = talk()
    t.active.wait_for(lambda m: m.data == "latched cup")
    t.show_until(t.answers, lambda m: json.loads(m.data)["prompt"] == "latched cup")


@pytest.mark.parametrize("durability", [DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL])
def test_each_prompt_is_handled_once_whatever_the_publisher_offers(robot, talk, scripted, durability):
    robot.node(scripted)
    qos = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
    t = talk(prompt_qos=qos)
    expected = 2 if durability == DurabilityPolicy.TRANSIENT_LOCAL else 1
    robot.until(lambda: t.prompt_publisher.get_subscription_count() == expected, "both subscriptions matched")
    for text in ("a", "b", "a", "c"):
        t.ask(text)
    t.ask("end")
    said = [m.data for m in t.active.messages if m.data]
    assert said == ["a", "b", "a", "c", "end"]


def test_someone_who_comes_later_learns_the_active_prompt(robot, talk, scripted):
    robot.node(scripted, prompt="red cup")
    late = robot.hear("/vlm_perception/active_prompt", String, LATCHED)
    assert late.wait_for().data == "red cup"


@pytest.mark.parametrize("qos", [1, BEST_EFFORT], ids=["reliable", "best_effort"])
def test_both_kinds_of_cameras_are_heard(robot, talk, scripted, qos):
    robot.node(scripted, prompt="red cup")
    t = talk(camera_qos=qos)
    t.show_until(t.detections)


def test_compressed_transport(robot, talk, scripted, compressed_message):
    robot.node(scripted, prompt="red cup", image_transport="compressed", remap=("image:=/cam/image_raw",))
    t = talk(camera_topic="/cam/image_raw/compressed", camera_type=CompressedImage)
    rgb = np.full((30, 40, 3), (200, 10, 60), np.uint8)
    stream = io.BytesIO()
    Picture.fromarray(rgb).save(stream, "PNG")
    robot.until(
        lambda: t.camera.publish(compressed_message(stream.getvalue(), 5, "png")) or bool(t.detections.messages)
    )
    np.testing.assert_array_equal(scripted.requests[0].frame.rgb, rgb)
    assert t.answer_to(5)["camera"] == "/cam/image_raw/compressed"


BAD_IMAGES = {
    "wrong_step": {"step": 41},
    "zero_size": {"width": 0},
    "truncated": {"data": bytes(10)},
    "unknown_encoding": {"encoding": "rgb9"},
}


@pytest.mark.parametrize("cause", BAD_IMAGES)
def test_a_bad_image_is_dropped_counted_and_named(robot, talk, scripted, cause):
    robot.node(scripted, diagnostics_period_s=0.1)
    t = talk()
    bad = Image(height=28, width=42, encoding="mono8", step=42, data=bytes(28 * 42))
    for name, value in BAD_IMAGES[cause].items():
        setattr(bad, name, value)
    robot.until(lambda: t.camera.publish(bad) or _dropped(t, cause) >= 3, "three bad images counted")
    warnings = [m.msg for m in t.logs.messages if "dropped" in m.msg]
    assert len(warnings) == 1, "throttled"
    for part in ("/image", cause, repr(bad.encoding), f"{bad.width}x{bad.height}", f"step {bad.step}"):
        assert part in warnings[0]
    t.ask("red cup")
    t.show_until(t.detections)


def test_a_picture_that_cannot_be_decoded_is_dropped_and_named(robot, talk, scripted, compressed_message):
    robot.node(scripted, prompt="red cup", image_transport="compressed", diagnostics_period_s=0.1)
    t = talk(camera_topic="/image/compressed", camera_type=CompressedImage)
    bad = compressed_message(b"\xff\xd8\xff" + bytes(40) + b"\xff\xd9", 1)
    robot.until(lambda: t.camera.publish(bad) or _dropped(t, "undecodable") > 0, "counted")
    t.logs.wait_for(lambda m: "/image/compressed" in m.msg and "undecodable" in m.msg and "45 bytes" in m.msg)
    assert scripted.requests == []


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


def test_an_engine_failure_is_counted_and_the_node_lives_on(robot, talk, scripted):
    def fail(request, should_stop, on_text):
        raise RuntimeError("a bug in the engine")

    good = scripted.answer
    scripted.answer = fail
    robot.node(scripted, prompt="red cup", diagnostics_period_s=0.1)
    t = talk()
    robot.until(lambda: bool(t.show(1)) and _dropped(t, "internal_error") > 0, "counted")
    t.logs.wait_for(lambda m: "a bug in the engine" in m.msg and "Traceback" in m.msg)
    scripted.answer = good
    t.show_until(t.detections)


def test_a_model_that_cannot_be_loaded_shows_and_the_node_lives_on(robot, talk, scripted):
    from vlm_perception.errors import ModelLoadError

    def fail() -> None:
        raise ModelLoadError("no checkpoint in /nowhere; give an existing folder")

    scripted.load = fail
    robot.node(scripted, reaches=None, diagnostics_period_s=0.1)
    t = talk(is_active=False)
    shown = t.diagnostic("engine state", "failed")
    assert "/nowhere" in shown["message"]
    t.ask("red cup")
    t.logs.wait_for(lambda m: "cannot be answered" in m.msg and "/nowhere" in m.msg)


def test_diagnostics_show_what_happens(robot, talk, scripted):
    scripted.reply = '[{"bbox_2d": [1, 2, "x", 4], "label": "broken"}]'
    robot.node(scripted, prompt="red cup", diagnostics_period_s=0.1)
    t = talk()
    t.show_until(t.detections)
    values = t.diagnostic("rejected objects", *map(str, range(1, 100)))
    assert (values["engine state"], values["prompt"], values["image topic"]) == ("ready", "red cup", "/image")
    assert values["rejected objects below score_threshold"] == "0"
    assert float(values["latency p50 (ms)"]) <= float(values["latency p95 (ms)"])


def call(robot, service_type, name, request):
    client = robot.client.create_client(service_type, name)
    assert client.wait_for_service(60.0)
    future = client.call_async(request)
    robot.until(future.done, name)
    return future.result()


def set_parameter(robot, name, value):
    request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    return call(robot, SetParameters, "/vlm_perception/set_parameters", request).results[0]


def test_parameters_change_while_running_and_bad_values_are_refused(robot, talk, scripted):
    robot.node(scripted)
    t = talk()
    assert set_parameter(robot, "max_rate_hz", 50).successful, "a whole number is a rate too"
    assert set_parameter(robot, "max_new_tokens", 33).successful
    too_many = set_parameter(robot, "max_new_tokens", 0)
    assert not too_many.successful
    assert "max_new_tokens" in too_many.reason
    assert not set_parameter(robot, "min_pixels", 10_000_000).successful, "above max_pixels"
    locked = set_parameter(robot, "model", "other")
    assert not locked.successful
    assert "only while the node is unconfigured" in locked.reason
    assert set_parameter(robot, "prompt", "point to the handle").successful
    t.active.wait_for(lambda m: m.data == "point to the handle")
    assert not set_parameter(robot, "prompt", "x" * 5000).successful
    message = t.show_until(t.answers)
    assert json.loads(message.data)["task"] == "point"
    assert scripted.requests[0].max_new_tokens == 33


def test_parameters_describe_themselves(robot, scripted):
    robot.node(scripted)
    request = DescribeParameters.Request(names=["max_pixels", "max_rate_hz", "device"])
    limits = {parameter.name: parameter for parameter in parameters()}
    pixels, rate, device = call(robot, DescribeParameters, "/vlm_perception/describe_parameters", request).descriptors
    assert pixels.type == ParameterType.PARAMETER_INTEGER
    assert (pixels.integer_range[0].from_value, pixels.read_only) == (limits["max_pixels"].minimum, False)
    assert rate.floating_point_range[0].to_value == 1000.0
    assert (device.read_only, "unconfigured" in device.additional_constraints) == (False, True)
    assert all(d.description for d in (pixels, rate, device))


def test_prompts_are_heard_on_a_ros_without_message_info(robot, talk, scripted, monkeypatch):
    """Humble's rclpy hands no message info to callbacks."""
    import vlm_perception.ros.inputs.prompt_subscription as prompts_in

    class OldSubscription:
        pass

    monkeypatch.setattr(prompts_in, "Subscription", OldSubscription)
    early = robot.client.create_publisher(String, "/vlm_perception/prompt", LATCHED)
    early.publish(String(data="latched cup"))
    robot.node(scripted)
    t = talk()
    t.active.wait_for(lambda m: m.data == "latched cup")
    robot.until(lambda: early.get_subscription_count() == 2, "both subscriptions are there")
    for text in ("a", "b"):
        t.ask(text)
    early.publish(String(data="c"))
    t.active.wait_for(lambda m: m.data == "c")
    assert [m.data for m in t.active.messages if m.data] == ["latched cup", "a", "b", "c"]


def test_a_latched_publisher_that_comes_late_is_heard_beside_others(robot, talk, scripted):
    robot.node(scripted)
    t = talk()
    t.ask("a")
    late = robot.client.create_publisher(String, "/vlm_perception/prompt", LATCHED)
    late.publish(String(data="late"))
    t.active.wait_for(lambda m: m.data == "late")
    t.ask("b")
    assert [m.data for m in t.active.messages if m.data] == ["a", "late", "b"]


def test_the_cameras_qos_can_be_overridden(robot, scripted):
    node = robot.node(scripted, **{"qos_overrides./image.subscription.reliability": "reliable"})
    (info,) = node.get_subscriptions_info_by_topic("/image")
    assert info.qos_profile.reliability == ReliabilityPolicy.RELIABLE


def test_the_camera_is_heard_as_reliably_as_it_offers(robot, scripted):
    """A lost piece of a large image is sent again only to a reliable subscription."""
    node = robot.node(scripted)

    def heard_as(wanted):
        infos = node.get_subscriptions_info_by_topic("/image")
        return [info.qos_profile.reliability for info in infos] == [wanted]

    assert heard_as(ReliabilityPolicy.BEST_EFFORT)
    robot.client.create_publisher(Image, "/image", 1)
    robot.until(lambda: heard_as(ReliabilityPolicy.RELIABLE), "a reliable subscription for a reliable camera")
    # A second camera driver that offers less would not be heard by a reliable subscription.
    robot.client.create_publisher(Image, "/image", BEST_EFFORT)
    robot.until(lambda: heard_as(ReliabilityPolicy.BEST_EFFORT), "a best-effort subscription for a mixed offer")


def test_names_follow_the_nodes_namespace(robot, scripted):
    robot.node(scripted, prompt="red cup", remap=("__ns:=/arm", "__node:=eyes"))
    assert robot.hear("/arm/eyes/active_prompt", String, LATCHED).wait_for().data == "red cup"
    robot.until(lambda: robot.client.count_subscribers("/arm/image") == 1, "the camera topic is in the namespace")
    robot.until(lambda: robot.client.count_subscribers("/arm/eyes/prompt") == 1, "so is the prompt")
