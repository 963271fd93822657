"""The packages in `interfaces/`: those of ROS are wire compatible with upstream, and ours explains itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import pytest
import rclpy
from checkout import ROOT
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from benchmarks.domains import claimed_domain

TIMEOUT_S = 60.0

# RIHS01 hashes of upstream vision_msgs 4.1.1 and tf2_msgs. Equal hash: equal fields, types and order, so equal bytes
# on the wire.
UPSTREAM_HASHES = {
    "vision_msgs/Point2D": "eab0e83f44ab4de92ceaf76dd7d0e7638f2bdd1d16ffbe16c7a136c48e407247",
    "vision_msgs/Pose2D": "b0b5d1d7b4c20dd4fcde3ed1d4b289a919290572007d67a97043814db25d3648",
    "vision_msgs/BoundingBox2D": "008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f",
    "vision_msgs/ObjectHypothesis": "51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90",
    "vision_msgs/ObjectHypothesisWithPose": "41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc",
    "vision_msgs/Detection2D": "0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea",
    "vision_msgs/Detection2DArray": "214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "vision_msgs/VisionClass": "1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a",
    "vision_msgs/LabelInfo": "3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    "vision_msgs/VisionInfo": "95d3116a17484ad91c9a2686e1d54890bbfc3ff6c6a2de137738c4950d45d284",
    "vision_msgs/BoundingBox3D": "bbb73a65c163d7f9bb29009c7bde9f7faa576bd2d23299c4511d19230dab4698",
    "vision_msgs/Detection3D": "ddd703be132ab0b69d33121f1bb034132bfbb3b0ac5f9fb1516005ba1c8a265b",
    "vision_msgs/Detection3DArray": "793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
    "tf2_msgs/TFMessage": "e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
}


def until(condition: Callable[[], object]) -> None:
    ends_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < ends_s, "timed out"


@pytest.fixture
def node() -> Iterator[Node]:
    """A node in a context and domain of its own."""
    context = Context()
    with claimed_domain() as number:
        rclpy.init(context=context, domain_id=number)
        made = rclpy.create_node("interfaces_test", context=context)
        yield made
        made.destroy_node()
        context.shutdown()


@pytest.mark.skipif(
    not hasattr(TopicEndpointInfo, "topic_type_hash"), reason="this ROS 2 (Humble) does not announce type hashes"
)
def test_announced_type_hashes_equal_those_of_upstream(node: Node) -> None:
    for name, expected in UPSTREAM_HASHES.items():
        package, message = name.split("/")
        topic = f"/hash_of_{message.lower()}"
        node.create_publisher(getattr(import_module(f"{package}.msg"), message), topic, 1)
        until(lambda wanted=topic: node.get_publishers_info_by_topic(wanted))
        (endpoint,) = node.get_publishers_info_by_topic(topic)
        assert str(endpoint.topic_type_hash) == f"RIHS01_{expected}"


def test_array_survives_the_wire(node: Node) -> None:
    sent = Detection2DArray()
    sent.header.frame_id = "camera"
    sent.header.stamp.sec, sent.header.stamp.nanosec = 12, 34
    detection = Detection2D(header=sent.header, id="7")
    detection.bbox.center.position.x, detection.bbox.center.position.y = 320.5, 240.25
    detection.bbox.size_x, detection.bbox.size_y = 100.0, 50.5
    guess = ObjectHypothesisWithPose()
    guess.hypothesis.class_id, guess.hypothesis.score = "红色圆形", 0.875
    detection.results.append(guess)
    sent.detections.append(detection)

    received: list[Detection2DArray] = []
    subscription = node.create_subscription(Detection2DArray, "/array", received.append, 1)
    publisher = node.create_publisher(Detection2DArray, "/array", 1)
    until(lambda: publisher.get_subscription_count() and subscription.get_publisher_count())
    publisher.publish(sent)
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    until(lambda: executor.spin_once(timeout_sec=0.1) or received)
    executor.shutdown()
    assert received == [sent]


OURS = ROOT / "interfaces" / "vlm_perception_msgs"
DEFINITIONS = sorted(path for kind in ("msg", "srv", "action") for path in OURS.glob(f"{kind}/*.{kind}"))


def parts_of(path: Path) -> list[list[tuple[str, str]]]:
    """The (name, comment above) of each field, constants left out, in each part between `---`."""
    parts: list[list[tuple[str, str]]] = [[]]
    said = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line == "---":
            parts.append([])
        elif line.startswith("#"):
            said += line[1:]
        elif line and "=" not in line:
            parts[-1].append((line.split()[1], said))
        if not line.startswith("#"):
            said = ""
    return parts


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.name)
def test_every_field_of_ours_is_explained_and_built(path: Path) -> None:
    kind = getattr(import_module(f"vlm_perception_msgs.{path.suffix[1:]}"), path.stem)
    sides = {".msg": [kind]}.get(path.suffix) or [
        getattr(kind, name) for name in ("Goal", "Request", "Result", "Response", "Feedback") if hasattr(kind, name)
    ]
    assert [[name for name, _ in part] for part in parts_of(path)] == [
        list(side.get_fields_and_field_types()) for side in sides
    ], "built from an older definition? run scripts/build_interfaces.py"
    # What says whether and why not is one thing; elsewhere each field says what it is, and times have units.
    unsaid = {name for part in parts_of(path) for name, comment in part if not comment} - {"success", "answer"}
    assert not unsaid
    plain = {name for side in sides for name, of in side.get_fields_and_field_types().items() if of == "double"}
    assert not plain, f"{plain}: use a type that has a unit"


def test_ours_declares_what_it_is_made_of_and_has_the_version_of_the_product() -> None:
    package, product = (ElementTree.parse(folder / "package.xml").getroot() for folder in (OURS, ROOT))
    assert package.findtext("version") == product.findtext("version")
    used = {word.split("/")[0] for path in DEFINITIONS for word in path.read_text().split() if "_msgs/" in word}
    used |= {"builtin_interfaces", "action_msgs"}
    declared = {element.text for element in package.findall("depend")}
    cmake = (OURS / "CMakeLists.txt").read_text(encoding="utf-8")
    assert declared == used
    for name in used:
        assert f"find_package({name} REQUIRED)" in cmake
