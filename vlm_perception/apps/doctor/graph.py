"""Judges a running ROS graph from what `ros_probe.py` gathered there.

How the node is, it says itself: the symptoms in its diagnostics, by the rules of `ros/diagnostics/rules.py`. Judged
here is what it cannot know or say: that it is not there, hangs or waits, and what else there is to look at.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from vlm_perception.apps.doctor.findings import Finding, Severity, error, ok, warning
from vlm_perception.ros.diagnostics.rules import RULES, StatusLevel

_LEVELS = {rule.name: rule.level for rule in RULES}
# A symptom's text may hold the sign that separates symptoms, so they are told apart by the names of the rules.
_SYMPTOM = re.compile(f"(?:^|; )({'|'.join(map(re.escape, _LEVELS))}): ")
_REMEDY = "docs/troubleshooting.md has what to do; the log of the node and `ros2 topic echo /diagnostics` say more"


@dataclass(frozen=True)
class NodeStatus:
    """The node's newest diagnostics.

    Attributes:
        level: One of `StatusLevel`, or 3, STALE.
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
        cameras: The message type that the node takes, by topic.
        image_topics: The types that are published, by topic, on every topic with images but the node's own.
        listened_s: How long was listened, seconds.
    """

    node: str
    same_name: int
    other_nodes: tuple[str, ...] = ()
    lifecycle: str | None = None
    status: NodeStatus | None = None
    cameras: Mapping[str, str] = field(default_factory=dict)
    image_topics: Mapping[str, Collection[str]] = field(default_factory=dict)
    listened_s: float = 0.0


def judge_graph(facts: GraphFacts) -> list[Finding]:
    """Return the findings about a graph; one alone when the node does not run."""
    if facts.same_name == 0:
        return [_no_node(facts)]
    findings = [check_name(facts), *check_lifecycle(facts), *check_diagnostics(facts)]
    findings += [check_camera(facts, topic) for topic in facts.cameras] or [_no_camera(facts)]
    return findings + (check_answers(facts.node, facts.status.values) if facts.status else [])


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


def check_diagnostics(facts: GraphFacts) -> list[Finding]:
    """Pass on what the node says about itself."""
    status = facts.status
    if status is None:
        remedy = "it may be busy, or diagnostics_period_s is long: run this again; look at its log"
        return [warning("No diagnostics of the node", f"nothing on /diagnostics in {facts.listened_s:.1f} s", remedy)]
    if status.level == StatusLevel.OK:
        return [ok("Diagnostics", status.message)]
    _, *parts = _SYMPTOM.split(status.values.get("symptoms", ""))
    symptoms = [
        Finding(Severity(_LEVELS[name]), f"The node says: {name}", text, _REMEDY)
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    ]
    worst = Severity(min(status.level, Severity.ERROR))
    return symptoms or [Finding(worst, "The node is not well", status.message, _REMEDY)]


def check_camera(facts: GraphFacts, topic: str) -> Finding:
    """Check that somebody publishes what the node takes from a topic."""
    wanted, carried = facts.cameras[topic], facts.image_topics.get(topic, ())
    if not carried:
        others = ", ".join(other for other in facts.image_topics if other != topic)
        seen = f"image topics there are: {others}" if others else "there is no other image topic either"
        remedy = "start with image_topic:=... one of these" if others else "start the camera; same ROS_DOMAIN_ID?"
        return error("No camera", f"nobody publishes {topic}; {seen}", remedy)
    if wanted not in carried:
        return error(
            "The camera sends another type",
            f"{topic} carries {', '.join(sorted(carried))}, the node takes {wanted}",
            "set image_transport to raw for Image, to compressed for CompressedImage, and image_topic to fit",
        )
    return ok("Camera", topic)


def check_answers(node: str, values: Mapping[str, str]) -> list[Finding]:
    """Check that the node was told what to look for and answers, once there are images."""
    prompt, answers = values.get("prompt", ""), values.get("answers", "0")
    if not prompt:
        command = f"ros2 topic pub --once {node}/prompt std_msgs/msg/String \"{{data: 'red cup'}}\""
        remedy = f"{command}, or prompt:=... at start"
        return [warning("No prompt", "the node waits to be told what to look for", remedy)]
    told = ok("Prompt", prompt)
    if answers != "0":
        rate, latency = values.get("image rate (Hz)", ""), values.get("latency p50 (ms)", "")
        return [told, ok("Answers", f"{answers} so far, one takes {latency} ms; {rate} images a second")]
    if values.get("images received", "0") == "0":
        return [told]
    causes = ", ".join(f"{key} {value}" for key, value in values.items() if key.startswith(("dropped", "errors")))
    return [
        told,
        warning(
            "No answer yet",
            f"images and a prompt are there; {causes or 'no drops are counted'}",
            "a large model on a CPU takes minutes: lower max_pixels or take a smaller model; else see the node's log",
        ),
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
