"""Whatever a camera offers is heard, and what cannot be heard is named with both sides, over DDS."""

from __future__ import annotations

import itertools
import json
import time

import numpy as np
import pytest
import rclpy
from rclpy.duration import Duration
from rclpy.parameter import Parameter
from rclpy.qos import (
    LivelinessPolicy,
    QoSCompatibility,
    QoSProfile,
    qos_check_compatible,
)
from robot import BEST_EFFORT, KEPT, RELIABLE, VOLATILE, header
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection2DArray

from vlm_perception.errors import SettingsError
from vlm_perception.ros.context import NodeContext
from vlm_perception.ros.diagnostics.qos_watch import QosWatch
from vlm_perception.ros.image_messages import image_message
from vlm_perception.ros.qos import fixed_policies, unmet

OVERRIDE = "qos_overrides./image.subscription."


def profile(reliability=RELIABLE, durability=VOLATILE, depth=1) -> QoSProfile:
    return QoSProfile(depth=depth, reliability=reliability, durability=durability)


def picture(header):
    return image_message(np.zeros((28, 42, 3), np.uint8), header)


def asked(node, topic="/image"):
    infos = node.get_subscriptions_info_by_topic(topic)
    return [(info.qos_profile.reliability, info.qos_profile.durability) for info in infos]


@pytest.mark.parametrize("reliability", [RELIABLE, BEST_EFFORT])
@pytest.mark.parametrize("durability", [VOLATILE, KEPT])
def test_every_kind_of_camera_is_heard_as_it_offers(robot, talk, scripted, reliability, durability):
    t = talk(scripted, prompt="red cup", camera_qos=profile(reliability, durability))
    node = t.node
    robot.until(lambda: asked(node) == [(reliability, durability)], "asked for what is offered")
    t.show_until(t.detections)
    assert not [m.msg for m in t.logs.messages if m.name == "vlm_perception" and "QoS" in m.msg]


def test_a_camera_that_is_replaced_by_one_with_another_offer_is_heard(robot, talk, scripted):
    """Each offer in turn; a subscription that stayed as it was would not match the next one."""
    offers = [(RELIABLE, KEPT), (BEST_EFFORT, VOLATILE), (RELIABLE, VOLATILE), (BEST_EFFORT, KEPT)]
    t = talk(scripted, prompt="red cup", camera_qos=profile(*offers[0]))
    for first, offer in enumerate(offers, start=1):
        robot.client.destroy_publisher(t.camera)
        robot.until(lambda: asked(t.node) == [(BEST_EFFORT, VOLATILE)], "asked for what hears everybody")
        t.camera = robot.client.create_publisher(Image, "/image", profile(*offer))
        t.show_until(t.detections, lambda m, at=first * 1000: m.header.stamp.sec >= at, first=first * 1000)
        robot.until(lambda wanted=offer: asked(t.node) == [wanted], "asked for what is offered")
    assert not [m.msg for m in t.logs.messages if m.name == "vlm_perception" and "QoS" in m.msg]
    assert "errors: qos_mismatch" not in t.diagnostic("message", "detecting")


def test_beside_a_volatile_camera_a_latched_one_is_heard_live(robot, talk, scripted):
    t = talk(scripted, prompt="red cup", camera_qos=profile(RELIABLE, KEPT))
    node = t.node
    robot.until(lambda: asked(node) == [(RELIABLE, KEPT)], "latched")
    other = robot.client.create_publisher(Image, "/image", profile(BEST_EFFORT, VOLATILE))
    robot.until(lambda: asked(node) == [(BEST_EFFORT, VOLATILE)], "what both offer")
    numbers = itertools.count(500)
    t.show_until(t.detections)
    robot.until(
        lambda: (
            other.publish(picture(header(next(numbers))))
            or any(m.header.stamp.sec >= 500 for m in t.detections.messages)
        )
    )


def test_a_latched_picture_from_before_the_node_is_answered_once(robot, scripted):
    """A file or map publisher says it once: it is over before the node is up, and before the model is loaded."""
    camera = robot.client.create_publisher(Image, "/image", profile(durability=KEPT))
    camera.publish(picture(header(7)))
    answers = robot.hear("/vlm_perception/answer", String)
    node = robot.node(scripted, prompt="red cup")
    assert json.loads(answers.wait_for().data)["stamp"]["sec"] == 7
    # A volatile publisher and its end make the node subscribe twice more; the copies are no new frames.
    other = robot.client.create_publisher(Image, "/image", profile())
    robot.until(lambda: asked(node) == [(RELIABLE, VOLATILE)], "what both offer")
    robot.client.destroy_publisher(other)
    robot.until(lambda: asked(node) == [(RELIABLE, KEPT)], "latched again")
    camera.publish(picture(header(8)))
    answers.wait_for(lambda m: json.loads(m.data)["stamp"]["sec"] == 8)
    assert [json.loads(m.data)["stamp"]["sec"] for m in answers.messages] == [7, 8]


def test_each_question_about_a_latched_picture_is_answered_once(robot, talk, scripted):
    t = talk(scripted, camera_qos=profile(durability=KEPT))
    node = t.node
    robot.until(lambda: asked(node) == [(RELIABLE, KEPT)], "latched")
    t.show(7)
    robot.until(lambda: node._shared.counters.total.report().frames == 1, "it waits for a prompt")
    # The first finds the picture waiting, the others have to hear it again.
    for text in ("red cup", "blue cup", "green cup"):
        t.ask(text)
        t.answers.wait_for(lambda m, asked=text: json.loads(m.data)["prompt"] == asked)
    assert json.loads(robot.call(Trigger, "detect_once").message)["stamp"]["sec"] == 7
    robot.until(lambda: time.monotonic() - node._cameras._wanted_s > 0.6, "two looks later")
    t.show(8)
    t.answer_to(8)
    told = t.told()
    expected = [("red cup", 7), ("blue cup", 7), ("green cup", 7), ("green cup", 7), ("green cup", 8)]
    assert [(each["prompt"], each["stamp"]["sec"]) for each in told] == expected


def test_a_picture_that_the_model_looks_at_need_not_come_again(robot, talk, scripted):
    t = talk(scripted, camera_qos=profile(durability=KEPT))
    node = t.node
    robot.until(lambda: asked(node) == [(RELIABLE, KEPT)], "latched")
    scripted.thinking.set()
    t.show(7)
    t.ask("red cup")
    scripted.wait_asked(1)
    # Long enough for the want of the new prompt to be looked at.
    robot.until(lambda: time.monotonic() - node._cameras._wanted_s > 0.6, "two looks later")
    scripted.thinking.clear()
    t.answer_to(7)
    t.show(8)
    t.answer_to(8)
    assert [r.frame.header.stamp_sec for r in scripted.requests] == [7, 8]


@pytest.mark.parametrize(
    ("policy", "value", "offer"),
    [
        ("reliability", "reliable", profile(BEST_EFFORT)),
        ("reliability", "best_effort", profile(RELIABLE)),
        ("durability", "transient_local", profile(RELIABLE)),
        ("durability", "volatile", profile(durability=KEPT)),
        ("depth", 7, profile()),
        ("history", "keep_all", profile()),
    ],
)
def test_what_the_user_fixed_stays(robot, scripted, policy, value, offer):
    node = robot.node(scripted, **{OVERRIDE + policy: value})
    robot.client.create_publisher(Image, "/image", offer)
    robot.until(lambda: node.count_publishers("/image") == 1, "the camera is seen")
    node._watch()
    (subscription,) = [each for each in node.subscriptions if each.topic_name == "/image"]
    kept = getattr(subscription.qos_profile, policy)
    assert (kept if policy == "depth" else kept.name.lower()) == value


@pytest.mark.parametrize(
    ("policy", "value", "said"),
    [
        ("reliability", "relaible", "'relaible': set it to one of reliable, best_effort"),
        ("durability", 1, r"durability.*set it to one of transient_local, volatile"),
        ("depth", -1, "-1: set it to a whole number"),
    ],
)
def test_an_override_that_means_nothing_is_refused_with_the_choices(robot, policy, value, said):
    # A node of its own: one that cannot be made would keep the log of the next one of its name.
    overrides = [Parameter(OVERRIDE + policy, value=value)]
    node = rclpy.create_node("eyes", context=robot.context, parameter_overrides=overrides)
    with pytest.raises(SettingsError, match=said):
        fixed_policies(node, "/image")
    node.destroy_node()


def mismatch_of(t, topic):
    """Wait for a diagnostic of the mismatch and return its text and the status."""
    key = f"QoS mismatch: {topic}"
    message = t.diagnostics.wait_for(lambda m: any(value.key == key for value in m.status[0].values))
    (text,) = [value.value for value in message.status[0].values if value.key == key]
    return text, message.status[0]


def over(t, topic):
    """Wait for a diagnostic without the mismatch, after one with it."""
    key = f"QoS mismatch: {topic}"
    count = len(t.diagnostics.messages)
    t.robot.until(
        lambda: any(key not in {v.key for v in m.status[0].values} for m in t.diagnostics.messages[count:]), "over"
    )


def test_a_camera_that_cannot_be_heard_is_named_until_it_can(robot, talk, scripted):
    """A fixed reliability is not offered: both sides, both values and the remedy are in the log and diagnostics."""
    t = talk(scripted, prompt="red cup", **{OVERRIDE + "reliability": "reliable"})
    deaf = robot.client.create_publisher(Image, "/image", profile(BEST_EFFORT))
    text, status = mismatch_of(t, "/image")
    for part in (
        "QoS mismatch on /image: /client offers reliability best_effort",
        "/vlm_perception asks for reliability reliable",
        "remove qos_overrides./image.subscription.reliability from the node's parameters, or let /client offer",
    ):
        assert part in text
    assert (status.level, status.message) == (b"\x01", text)
    assert {v.key: v.value for v in status.values}["errors: qos_mismatch"] == "1"
    t.logs.wait_for(lambda m: m.msg == text)
    robot.client.destroy_publisher(deaf)
    t.logs.wait_for(lambda m: "the QoS mismatch on /image between /client and /vlm_perception is over" in m.msg)
    over(t, "/image")
    t.show_until(t.detections)
    t.diagnostic("errors: qos_mismatch", "1")
    assert [m.msg for m in t.logs.messages if m.msg == text] == [text], "once for the pair"


def test_a_prompt_that_cannot_be_heard_is_named(robot, talk, scripted):
    t = talk(scripted)
    unheard = robot.client.create_publisher(String, "/vlm_perception/prompt", profile(BEST_EFFORT))
    text, _ = mismatch_of(t, "/vlm_perception/prompt")
    assert "/client offers reliability best_effort, /vlm_perception asks for reliability reliable" in text
    assert "let /client offer reliability reliable" in text
    assert "qos_overrides" not in text
    robot.client.destroy_publisher(unheard)
    over(t, "/vlm_perception/prompt")


def test_volatile_and_latched_prompts_side_by_side_are_no_mismatch(robot, talk, scripted):
    """The latched subscription does not match the volatile publisher, but the other one does."""
    t = talk(scripted)
    node = t.node
    robot.client.create_publisher(String, "/vlm_perception/prompt", profile(durability=KEPT))
    prompt = "/vlm_perception/prompt"
    robot.until(lambda: sorted(asked(node, prompt)) == sorted([(RELIABLE, VOLATILE), (RELIABLE, KEPT)]), "both")
    for _ in range(3):
        node._qos.look()
    assert node._qos.texts == {}
    t.ask("red cup")


def test_a_listener_that_asks_for_more_than_is_offered_is_named(robot, talk, scripted):
    """RViz or a recorder set to transient local hears nothing of a volatile topic."""
    t = talk(scripted, prompt="red cup")
    topic = "/vlm_perception/detections"
    deaf = robot.client.create_subscription(Detection2DArray, topic, print, profile(durability=KEPT))
    text, _ = mismatch_of(t, topic)
    assert "/vlm_perception offers durability volatile, /client asks for durability transient_local" in text
    assert "let /client ask for durability volatile" in text
    robot.client.destroy_subscription(deaf)
    over(t, topic)


def publishers_of_words(node) -> list[str]:
    return [info.node_name for info in node.get_publishers_info_by_topic("/words")]


def test_what_is_seen_once_may_be_over_and_is_not_said(robot):
    node = rclpy.create_node("eyes", context=robot.context)  # nobody spins it: the test looks
    context = NodeContext.of(node)
    watch = QosWatch(context)
    node.create_subscription(String, "/words", print, profile())
    for looks in (1, 3):
        publisher = robot.client.create_publisher(String, "/words", profile(BEST_EFFORT))
        # The name of the publishing node comes after the publisher; until then it is another mismatch.
        robot.until(lambda: publishers_of_words(node) == [robot.client.get_name()], "there")
        for _ in range(looks):
            watch.look()
        began = context.counters.total.report().errors.get("qos_mismatch", 0)
        assert (list(watch.texts), began) == (([], 0) if looks == 1 else (["/words"], 1))
        robot.client.destroy_publisher(publisher)
        robot.until(lambda: node.count_publishers("/words") == 0, "gone")
        watch.look()
        assert watch.texts == {}
    node.destroy_node()


SECOND, MINUTE = Duration(seconds=1), Duration(seconds=60)
PROFILES = [
    QoSProfile(depth=1, reliability=reliability, durability=durability, liveliness=liveliness, **times)
    for reliability in (RELIABLE, BEST_EFFORT)
    for durability in (VOLATILE, KEPT)
    for liveliness in (LivelinessPolicy.AUTOMATIC, LivelinessPolicy.MANUAL_BY_TOPIC)
    for times in (
        {"deadline": SECOND, "liveliness_lease_duration": MINUTE},
        {"deadline": MINUTE, "liveliness_lease_duration": SECOND},
    )
]


def test_what_fits_is_what_the_middleware_says_fits():
    for offered, wanted in itertools.product(PROFILES, PROFILES):
        verdict, reason = qos_check_compatible(offered, wanted)
        found = unmet(offered, wanted)
        assert bool(found) == (verdict == QoSCompatibility.ERROR), reason
