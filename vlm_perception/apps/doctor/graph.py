"""Judges a running ROS graph from what `vlm_perception.apps.doctor.ros_probe` gathered there. No ROS here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vlm_perception.apps.doctor.findings import Finding, error, ok, warning
from vlm_perception.ros.diagnostics.rules import StatusLevel


@dataclass(frozen=True)
class Endpoint:
    """One side of a topic.

    Attributes:
        node: Full name of the node that owns it.
        topic_type: Message type, such as `sensor_msgs/msg/Image`.
        qos: Its quality of service, for people.
    """

    node: str
    topic_type: str
    qos: str

    def __str__(self) -> str:
        return f"{self.node} ({self.qos})"


@dataclass(frozen=True)
class Camera:
    """A topic that the node takes images from.

    Attributes:
        topic: Full name.
        subscription: The node's side.
        publishers: Everyone who publishes it, with any type.
        mismatches: Publishers whose offer does not suffice for the subscription, each with the reason.
        images: How many came while listening.
    """

    topic: str
    subscription: Endpoint
    publishers: tuple[Endpoint, ...] = ()
    mismatches: tuple[tuple[Endpoint, str], ...] = ()
    images: int = 0


@dataclass(frozen=True)
class Status:
    """The worst of the node's newest diagnostics.

    Attributes:
        level: One of the node's `StatusLevel`s, or 3, STALE.
        message: What it says.
        values: Its key-value pairs.
    """

    level: int
    message: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GraphFacts:
    """What was seen.

    Attributes:
        node: Full name of the node that was looked for.
        same_name: How many nodes carry it.
        other_nodes: Full names of the other nodes.
        lifecycle: State of a managed node, empty when it did not answer; None when it is not managed.
        status: From /diagnostics, or None when nothing came.
        cameras: What the node takes images from.
        image_topics: Every topic with images in the graph, but those of the node itself.
        active_prompt: What `~/active_prompt` says, or None when nothing came.
        answers: How many came while listening.
        listened_s: How long that was, seconds.
    """

    node: str
    same_name: int
    other_nodes: tuple[str, ...] = ()
    lifecycle: str | None = None
    status: Status | None = None
    cameras: tuple[Camera, ...] = ()
    image_topics: tuple[str, ...] = ()
    active_prompt: str | None = None
    answers: int = 0
    listened_s: float = 0.0


def judge_graph(facts: GraphFacts) -> list[Finding]:
    """Return the findings about a graph; one alone when the node does not run."""
    if facts.same_name == 0:
        return [_no_node(facts)]
    findings = [check_name(facts), *check_lifecycle(facts), check_diagnostics(facts)]
    findings += [check_camera(facts, camera) for camera in facts.cameras] or [_no_camera(facts)]
    return [*findings, check_prompt(facts), *check_answers(facts)]


def check_name(facts: GraphFacts) -> Finding:
    """Check that one node carries the name, no more."""
    if facts.same_name > 1:
        return error(
            "Several nodes have the same name",
            f"{facts.same_name} nodes are called {facts.node}: they share parameters and answers at random",
            "stop all but one, or start each under a name or namespace of its own (namespace:=...)",
        )
    return ok("Node", f"{facts.node} runs")


def check_lifecycle(facts: GraphFacts) -> list[Finding]:
    """Check that a managed node is active; nothing for a node that is not managed."""
    if facts.lifecycle is None:
        return []
    if not facts.lifecycle:
        remedy = "it may be busy or hang: look at its log, restart it"
        return [error("The node does not answer", f"{facts.node}/get_state gave no answer", remedy)]
    if facts.lifecycle != "active":
        step = "configure" if facts.lifecycle == "unconfigured" else "activate"
        remedy = f"ros2 lifecycle set {facts.node} {step}; why it is not active stands in its log"
        return [warning("The node is not active", f"its state is {facts.lifecycle}", remedy)]
    return [ok("Lifecycle", "active")]


def check_diagnostics(facts: GraphFacts) -> Finding:
    """Pass on what the node says about itself."""
    status = facts.status
    if status is None:
        remedy = "it may be busy, or diagnostics_period_s is long: run this again; look at its log"
        return warning("No diagnostics of the node", f"nothing on /diagnostics in {facts.listened_s:.1f} s", remedy)
    if status.level == StatusLevel.OK:
        return ok("Diagnostics", status.message)
    remedy = f"ros2 topic echo /diagnostics shows the counters, the log of {facts.node} the whole text"
    if status.level == StatusLevel.WARN:
        return warning("The node warns", status.message, remedy)
    return error("The node reports an error", status.message, remedy)


def check_camera(facts: GraphFacts, camera: Camera) -> Finding:
    """Check that images reach the node: somebody publishes, type and QoS fit, and images come."""
    wanted = camera.subscription.topic_type
    fitting = [publisher for publisher in camera.publishers if publisher.topic_type == wanted]
    if not camera.publishers:
        others = ", ".join(topic for topic in facts.image_topics if topic != camera.topic)
        seen = f"image topics there are: {others}" if others else "there is no other image topic either"
        remedy = "start with image_topic:=... one of these" if others else "start the camera; same ROS_DOMAIN_ID?"
        return error("No camera", f"nobody publishes {camera.topic}; {seen}", remedy)
    if not fitting:
        carried = ", ".join(sorted({publisher.topic_type for publisher in camera.publishers}))
        return error(
            "The camera sends another type",
            f"{camera.topic} carries {carried}, the node takes {wanted}",
            "set image_transport to raw for Image, to compressed for CompressedImage, and image_topic to fit",
        )
    if camera.mismatches:
        offers = "; ".join(f"{publisher} offers ({reason})" for publisher, reason in camera.mismatches)
        remedy = f"remove qos_overrides.{camera.topic}.subscription from the node's parameters"
        return error(
            "QoS mismatch",
            f"on {camera.topic}, {camera.subscription} asks for more than {offers}",
            f"{remedy}, or let the camera offer it",
        )
    rate = f"{camera.images} images in {facts.listened_s:.1f} s"
    if camera.images == 0:
        detail = f"{', '.join(map(str, fitting))}: {rate} on {camera.topic}"
        return warning("The camera is silent", detail, "look at the camera's log and cable")
    return ok("Camera", f"{camera.topic}: {rate}, {camera.images / facts.listened_s:.1f} Hz")


def check_prompt(facts: GraphFacts) -> Finding:
    """Check that the node was told what to look for."""
    if facts.active_prompt is None:
        detail = f"nothing on {facts.node}/active_prompt in {facts.listened_s:.1f} s"
        return warning("The active prompt is unknown", detail, "run this again; look at the node's log")
    if not facts.active_prompt.strip():
        command = f"ros2 topic pub --once {facts.node}/prompt std_msgs/msg/String \"{{data: 'red cup'}}\""
        return warning("No prompt", "the node waits to be told what to look for", f"{command}, or prompt:=... at start")
    return ok("Prompt", facts.active_prompt)


def check_answers(facts: GraphFacts) -> list[Finding]:
    """Check that answers come, once there are images and a prompt."""
    if facts.answers:
        return [ok("Answers", f"{facts.answers} in {facts.listened_s:.1f} s")]
    if not facts.active_prompt or not any(camera.images for camera in facts.cameras):
        return []
    values = facts.status.values if facts.status else {}
    so_far = values.get("answers", "0")
    if so_far != "0":
        latency = values.get("latency p50 (ms)", "")
        return [ok("Answers", f"{so_far} so far, one takes {latency} ms")]
    causes = ", ".join(f"{key} {value}" for key, value in values.items() if key.startswith(("dropped", "errors")))
    return [
        warning(
            "No answer yet",
            f"images and a prompt are there, no answer in {facts.listened_s:.1f} s; {causes or 'no drops are counted'}",
            "a large model on a CPU takes minutes: lower max_pixels or take a smaller model; else see the node's log",
        )
    ]


def _no_node(facts: GraphFacts) -> Finding:
    others = ", ".join(facts.other_nodes) or "none"
    return warning(
        "The node does not run",
        f"no node {facts.node}; nodes that were seen: {others}",
        "start it, or name it with --node; the same ROS_DOMAIN_ID, RMW_IMPLEMENTATION and "
        "ROS_AUTOMATIC_DISCOVERY_RANGE must be set here; --no-graph skips this",
    )


def _no_camera(facts: GraphFacts) -> Finding:
    detail = f"{facts.node} takes no image topic"
    return error("The node listens to no camera", detail, "set image_topic or image_topics; is it active?")
