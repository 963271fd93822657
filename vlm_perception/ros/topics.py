"""What the node says and hears on the network, once, and the SROS 2 policy that allows that and nothing else.

    python -m vlm_perception.ros.topics --namespace /robot --image /front/image_raw > policy.xml

A test compares the list with the real node's graph, and `security/policy.xml` with what this makes.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal
from xml.etree import ElementTree

Access = Literal["publish", "subscribe", "reply", "execute"]
NODE = "vlm_perception"
# The last parts of an image topic, which tell nothing about which camera it is.
_TELLING_NOTHING = frozenset(
    {"image", "image_raw", "image_color", "image_mono", "image_rect", "image_rect_color", "color", "rgb", "compressed"}
)
# Newer than Humble; a name that a node does not use allows nothing.
SINCE_JAZZY = ("~/get_type_description",)


@dataclass(frozen=True, slots=True)
class Use:
    """One topic, service or action of the node.

    Attributes:
        access: `reply` is a service and `execute` an action that the node offers; it calls none.
        name: As ROS resolves it: `/absolute`, `relative` to the namespace, or `~/private` to the node.
        kind: Message, service or action type.
    """

    access: Access
    name: str
    kind: str


_PARAMETER_SERVICES = {
    "describe_parameters": "DescribeParameters",
    "get_parameter_types": "GetParameterTypes",
    "get_parameters": "GetParameters",
    "list_parameters": "ListParameters",
    "set_parameters": "SetParameters",
    "set_parameters_atomically": "SetParametersAtomically",
}
_CALIBRATION = "sensor_msgs/msg/CameraInfo"
# What is published for each camera, under a name of its own.
_RESULTS = {
    "detections": "vision_msgs/msg/Detection2DArray",
    "answer": "std_msgs/msg/String",
    "markers": "visualization_msgs/msg/ImageMarker",
    "tracks": "vision_msgs/msg/Detection2DArray",
    "tracks_info": "std_msgs/msg/String",
    "annotated_image": "sensor_msgs/msg/Image",
    "annotated_image/compressed": "sensor_msgs/msg/CompressedImage",
    "camera_info": _CALIBRATION,
}
# And for each camera with depth.
_SPACE = {
    "detections_3d": "vision_msgs/msg/Detection3DArray",
    "markers_3d": "visualization_msgs/msg/MarkerArray",
    "tracks_3d": "vision_msgs/msg/Detection3DArray",
}
# Of the whole robot, so they stand in no namespace.
TF_TOPIC, TF_STATIC_TOPIC = "/tf", "/tf_static"
_TRANSFORMS = "tf2_msgs/msg/TFMessage"
_LIFECYCLE_SERVICES = {
    "change_state": "ChangeState",
    "get_state": "GetState",
    "get_available_states": "GetAvailableStates",
    "get_available_transitions": "GetAvailableTransitions",
    "get_transition_graph": "GetAvailableTransitions",
}
_ALWAYS = (
    Use("subscribe", "~/prompt", "std_msgs/msg/String"),
    Use("publish", "~/active_prompt", "std_msgs/msg/String"),
    Use("reply", "~/enable", "std_srvs/srv/SetBool"),
    Use("reply", "~/detect_once", "std_srvs/srv/Trigger"),
    Use("execute", "~/detect", "vlm_perception_msgs/action/Detect"),
    Use("reply", "~/detect_at", "vlm_perception_msgs/srv/DetectAt"),
    Use("reply", "~/where_is", "vlm_perception_msgs/srv/WhereIs"),
    Use("reply", "~/forget", "vlm_perception_msgs/srv/Forget"),
    Use("publish", "~/memory_markers", "visualization_msgs/msg/MarkerArray"),
    Use("publish", "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray"),
    Use("publish", "~/transition_event", "lifecycle_msgs/msg/TransitionEvent"),
    *(Use("reply", f"~/{name}", f"lifecycle_msgs/srv/{kind}") for name, kind in _LIFECYCLE_SERVICES.items()),
    # Every ROS node.
    Use("publish", "/rosout", "rcl_interfaces/msg/Log"),
    Use("publish", "/parameter_events", "rcl_interfaces/msg/ParameterEvent"),
    *(Use("reply", f"~/{name}", f"rcl_interfaces/srv/{kind}") for name, kind in _PARAMETER_SERVICES.items()),
    Use("reply", "~/get_type_description", "type_description_interfaces/srv/GetTypeDescription"),
)


def camera_info_topic(image_topic: str) -> str:
    """Name the calibration's topic as image_transport does: `camera_info` beside the image.

    Args:
        image_topic: Image topic, raw (`/front/image_raw`) or compressed (`/front/image_raw/compressed`); what is
            relative (`image`) stays so.
    """
    # What is left of `/compressed` is nothing: then it is the camera's own name.
    raw_topic = image_topic.removesuffix("/compressed") or image_topic
    namespace, slash, _ = raw_topic.rpartition("/")
    return f"{namespace}{slash}camera_info"


def is_rectified(image_topic: str) -> bool:
    """Tell whether a camera's images are rectified, by image_proc's own naming: `image_rect`, `image_rect_color`."""
    return image_topic.removesuffix("/compressed").rpartition("/")[2].startswith("image_rect")


def is_compressed_depth(depth_topic: str) -> bool:
    """Tell whether a depth topic has CompressedImage, by image_transport's own naming."""
    return depth_topic.endswith("/compressedDepth")


def camera_names(topics: Sequence[str]) -> dict[str, str]:
    """Name each camera by the shortest part of its topic that tells it from the others.

    Args:
        topics: Resolved image topics, each once.

    Returns:
        Topic to name, a valid part of a ROS name: `/front/image_raw` is `front`. Names differ.
    """
    names = {topic: _telling(topic)[-1] for topic in topics}
    for part_of in (_telling, _parts):
        count = Counter(names.values())
        names = {topic: "_".join(part_of(topic)) if count[name] > 1 else name for topic, name in names.items()}
    found: dict[str, str] = {}
    for topic, name in names.items():
        # `/a/b` and `/a_b` read the same.
        free = next(free for n in range(1, len(names) + 2) if (free := name if n == 1 else f"{name}_{n}") not in found)
        found[free] = topic
    return {topic: name for name, topic in found.items()}


def result_prefixes(topics: Sequence[str]) -> dict[str, str]:
    """Tell below which private name the results of each camera go: `~` for one, `~/NAME` for each of several.

    Args:
        topics: Resolved image topics, each once.
    """
    if len(topics) == 1:
        return {topics[0]: "~"}
    return {topic: f"~/{name}" for topic, name in camera_names(topics).items()}


def uses(
    cameras: Mapping[str, str] = MappingProxyType({"image": "~"}),
    *,
    depths: Mapping[str, str] = MappingProxyType({}),
    transforms: bool = False,
    compressed: bool = False,
    sim_time: bool = False,
) -> tuple[Use, ...]:
    """List everything that a node uses.

    Args:
        cameras: Image topic, as it is remapped, to where the results go: `~`, or `~/front` for one of several.
        depths: Image topic to depth topic of the cameras that have depth.
        transforms: Whether `target_frame` is set, which counts for cameras with depth.
        compressed: Whether `image_transport` is `compressed`.
        sim_time: Whether `use_sim_time` is set.
    """
    found = [*_ALWAYS, *((Use("subscribe", "/clock", "rosgraph_msgs/msg/Clock"),) if sim_time else ())]
    for image, results in cameras.items():
        topic = f"{image}/compressed" if compressed and not image.endswith("/compressed") else image
        found.append(Use("subscribe", topic, f"sensor_msgs/msg/{'CompressedImage' if compressed else 'Image'}"))
        found.append(Use("subscribe", camera_info_topic(image), _CALIBRATION))
        found += [Use("publish", f"{results}/{name}", kind) for name, kind in _RESULTS.items()]
        if depth := depths.get(image):
            kind = "CompressedImage" if is_compressed_depth(depth) else "Image"
            found.append(Use("subscribe", depth, f"sensor_msgs/msg/{kind}"))
            found += [Use("publish", f"{results}/{name}", kind) for name, kind in _SPACE.items()]
    if transforms and depths:
        found += [Use("subscribe", topic, _TRANSFORMS) for topic in (TF_TOPIC, TF_STATIC_TOPIC)]
    # Cameras in one namespace have one calibration topic.
    return tuple(dict.fromkeys(found))


def policy_xml(used: Sequence[Use], *, namespace: str = "/", node: str = NODE) -> str:
    """Write an SROS 2 policy (format 0.2.0) with one enclave, named like the node.

    Args:
        used: What is allowed; everything else is denied.
        namespace: Of the node, beginning with a slash.
        node: Name of the node.
    """
    policy = ElementTree.Element("policy", version="0.2.0")
    path = f"{namespace.rstrip('/')}/{node}"
    enclave = ElementTree.SubElement(ElementTree.SubElement(policy, "enclaves"), "enclave", path=path)
    profiles = ElementTree.SubElement(enclave, "profiles")
    profile = ElementTree.SubElement(profiles, "profile", ns=namespace, node=node)
    groups = (("subscribe", "topic"), ("publish", "topic"), ("reply", "service"), ("execute", "action"))
    for access, what in groups:
        names = sorted(use.name for use in used if use.access == access)
        group = ElementTree.SubElement(profile, f"{what}s", {access: "ALLOW"})
        for name in names:
            ElementTree.SubElement(group, what).text = name
    ElementTree.indent(policy)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(policy, encoding="unicode")}\n'


def _parts(topic: str) -> list[str]:
    return [part for part in topic.split("/") if part] or ["camera"]


def _telling(topic: str) -> list[str]:
    parts = _parts(topic)
    while len(parts) > 1 and parts[-1] in _TELLING_NOTHING:
        parts.pop()
    return parts


def main(args: list[str] | None = None) -> int:
    """Print the policy of one robot's node."""
    parser = argparse.ArgumentParser(prog="python -m vlm_perception.ros.topics", description="Prints an SROS 2 policy.")
    parser.add_argument("--namespace", default="/", help="namespace of the node (default: /)")
    parser.add_argument("--node", default=NODE, help=f"name of the node (default: {NODE})")
    parser.add_argument("--image", action="append", help="camera topic, as it is remapped; repeat for several (image)")
    parser.add_argument("--depth", action="append", help="depth topic of each --image, in their order; '' for none")
    parser.add_argument("--tf", action="store_true", help="target_frame is set, so the node hears /tf and /tf_static")
    parser.add_argument("--compressed", action="store_true", help="image_transport is compressed")
    parser.add_argument("--sim-time", action="store_true", help="use_sim_time is set, so the node hears /clock")
    options = parser.parse_args(args)
    if not options.namespace.startswith("/"):
        parser.error(f"--namespace is {options.namespace!r}: it must begin with a slash, such as /robot1")
    cameras = result_prefixes(options.image or ["image"])
    depths = dict(zip(cameras, options.depth or (), strict=False))
    used = uses(cameras, depths=depths, transforms=options.tf, compressed=options.compressed, sim_time=options.sim_time)
    sys.stdout.write(policy_xml(used, namespace=options.namespace, node=options.node))
    return 0


if __name__ == "__main__":
    sys.exit(main())
