"""docs/topics.md says the quality of service that the real node offers and asks for."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

from scripts.docs.topic_notes import described

RELIABILITY = {ReliabilityPolicy.RELIABLE: "reliable", ReliabilityPolicy.BEST_EFFORT: "best effort"}
DURABILITY = {DurabilityPolicy.VOLATILE: "volatile", DurabilityPolicy.TRANSIENT_LOCAL: "transient local"}


def test_qos_is_as_described(robot, scripted):
    node = robot.node(scripted, depth_topics=["depth"], target_frame="map")
    ask = {"publish": node.get_publishers_info_by_topic, "subscribe": node.get_subscriptions_info_by_topic}
    for use, note in described():
        if use.access in ask and note.qos != "as offered":
            infos = ask[use.access](node.resolve_topic_name(use.name))
            found = {(info.qos_profile.reliability, info.qos_profile.durability) for info in infos}
            written = {f"{RELIABILITY[reliability]}, {DURABILITY[durability]}" for reliability, durability in found}
            assert written == {note.qos}, use.name
