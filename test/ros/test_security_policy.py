"""The policy allows exactly what the real node uses, neither more nor less."""

from __future__ import annotations

from importlib.util import find_spec
from xml.etree import ElementTree

import pytest
from rclpy.action import get_action_server_names_and_types_by_node

from vlm_perception.ros.topics import SINCE_JAZZY, policy_xml, uses

GRAPH = {
    "publish": "get_publisher_names_and_types_by_node",
    "subscribe": "get_subscriber_names_and_types_by_node",
    "reply": "get_service_names_and_types_by_node",
    "request": "get_client_names_and_types_by_node",
    "execute": "",
}


def resolved(name: str, namespace: str, node: str) -> str:
    """Resolve as SROS 2 does when it makes permissions of a policy."""
    if name.startswith("/"):
        return name
    base = namespace.rstrip("/") + "/"
    return f"{base}{node}{name[1:]}" if name.startswith("~") else base + name


def allowed(policy: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {access: set() for access in GRAPH}
    for profile in ElementTree.fromstring(policy).iter("profile"):
        for group in profile:
            (access,) = group.attrib
            names = (str(element.text) for element in group)
            found[access] |= {resolved(name, profile.attrib["ns"], profile.attrib["node"]) for name in names}
    return found


def used(node) -> dict[str, dict[str, list[str]]]:
    name, namespace = node.get_name(), node.get_namespace()
    found = {
        access: {
            there: kinds
            for there, kinds in getattr(node, method)(name, namespace)
            # What an action is made of.
            if "/_action/" not in there
        }
        for access, method in GRAPH.items()
        if method
    }
    return found | {"execute": dict(get_action_server_names_and_types_by_node(node, name, namespace))}


@pytest.mark.parametrize(
    ("namespace", "name", "image", "compressed", "sim_time"),
    [
        ("/", "vlm_perception", "image", False, False),
        ("/robot1", "eyes", "/front/image_raw", False, False),
        ("/", "vlm_perception", "/front/image_raw", True, True),
    ],
)
def test_the_policy_is_the_node_s_graph(robot, scripted, namespace, name, image, compressed, sim_time):
    remap = (f"__ns:={namespace}", f"__node:={name}", f"image:={image}")
    transport = "compressed" if compressed else "raw"
    node = robot.node(scripted, remap=remap, image_transport=transport, use_sim_time=sim_time)
    robot.until(lambda: not sim_time or node.count_subscribers("/clock") > 0, "the clock is heard")
    listed = uses({image: "~"}, compressed=compressed, sim_time=sim_time)
    policy = allowed(policy_xml(listed, namespace=namespace, node=name))
    graph = used(node)
    if not find_spec("rclpy.type_description_service"):
        policy["reply"] -= {resolved(service, namespace, name) for service in SINCE_JAZZY}
        listed = tuple(use for use in listed if use.name not in SINCE_JAZZY)
    assert {access: set(names) for access, names in graph.items()} == policy
    for use in listed:
        assert graph[use.access][resolved(use.name, namespace, name)] == [use.kind]


def test_several_cameras_have_results_of_their_own(robot, scripted):
    cameras = {"/front/image_raw": "~/front", "/rear/image_raw": "~/rear"}
    depths = {"/rear/image_raw": "/rear/depth/compressedDepth"}
    node = robot.node(scripted, image_topics=list(cameras), depth_topics=["", *depths.values()])
    assert robot.set_parameters(target_frame="map").successful
    policy = allowed(policy_xml(uses(cameras, depths=depths, transforms=True)))
    graph = used(node)
    for access in ("publish", "subscribe"):
        assert set(graph[access]) == policy[access]
