"""Tables of topics and services for the README and docs/topics.md, written from the list in `ros/topics.py`.

`python -m scripts.docs.topics` in a checkout writes them anew; tests hold the pages to it, and the list to the
graph of the real node, quality of service included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scripts.docs.pages import ROOT, rewrite
from vlm_perception.ros.topics import Use, uses

MADE_BY = "python -m scripts.docs.topics"
_SHORT = {"subscribe": "sub", "publish": "pub", "reply": "srv"}
_RELIABLE, _LATCHED, _FOLLOWS = "reliable, volatile", "reliable, transient local", "as offered"


@dataclass(frozen=True, slots=True)
class Note:
    """What is said about one topic or service.

    Attributes:
        text: One cell of the table.
        qos: Reliability and durability; empty for services.
    """

    text: str
    qos: str = ""


OWN = {
    "image": Note(
        "the camera: `image_topic:=`, or each of `image_topics`; sensor_msgs/CompressedImage with `image_transport`",
        _FOLLOWS,
    ),
    "camera_info": Note("calibration, beside each image topic", _FOLLOWS),
    "~/prompt": Note("one question, or a JSON list of standing ones; empty stops detection", _RELIABLE),
    "~/active_prompt": Note("what is asked now; empty when detection is stopped", _LATCHED),
    "~/detections": Note(
        "boxes and points, with the image's own header; empty when nothing is found, so that silence is a fault",
        _RELIABLE,
    ),
    "~/answer": Note("everything about one answer, as JSON: [fields](#answer)", _RELIABLE),
    "~/markers": Note("boxes and points for Foxglove; made only while somebody subscribes", _RELIABLE),
    "~/annotated_image": Note("the image with what was found; drawn only while somebody subscribes", _RELIABLE),
    "~/annotated_image/compressed": Note("the same as JPEG", _RELIABLE),
    "~/camera_info": Note("the camera's calibration, unchanged, once for each answered image", _RELIABLE),
    "/diagnostics": Note("rates, latency, age, drops and errors by cause, state: [values](#diagnostics)", _RELIABLE),
    "~/enable": Note("pauses and resumes; the running answer is aborted, the model stays loaded"),
    "~/detect_once": Note("one answer on the newest image, its JSON in `message`"),
}
LIFECYCLE = {
    "~/change_state": Note("configure, activate, deactivate, cleanup, shutdown: [lifecycle.md](lifecycle.md)"),
    "~/get_state": Note("the state now"),
    "~/get_available_states": Note("all states"),
    "~/get_available_transitions": Note("what may be asked for now"),
    "~/get_transition_graph": Note("all transitions"),
    "~/transition_event": Note("each change of state, when it happens", _RELIABLE),
}
OF_ROS = {
    "/rosout": Note("the log", _LATCHED),
    "/parameter_events": Note("changes of parameters", _RELIABLE),
    "~/describe_parameters": Note("type, limits and meaning of parameters"),
    "~/get_parameter_types": Note("types of parameters"),
    "~/get_parameters": Note("values of parameters"),
    "~/list_parameters": Note("names of parameters"),
    "~/set_parameters": Note("changes parameters, each by itself: [parameters.md](parameters.md)"),
    "~/set_parameters_atomically": Note("changes parameters, all or none"),
    "~/get_type_description": Note("definition of a message type, since Jazzy"),
}
NOTES = {**OWN, **LIFECYCLE, **OF_ROS}


def described(names: Sequence[str] = ()) -> list[tuple[Use, Note]]:
    """Pair every topic and service of a node with one camera with its note, in the order of the notes.

    Args:
        names: Only these; empty for all.

    Raises:
        KeyError: One that the node has is not described.
    """
    found = {use.name: use for use in uses()}
    undescribed = found.keys() - NOTES.keys()
    if undescribed:
        raise KeyError(f"no note for {', '.join(sorted(undescribed))} in scripts/docs/topics.py")
    return [(found[name], note) for name, note in NOTES.items() if name in (names or found)]


def table(names: Sequence[str] = (), page: str = "") -> str:
    """Return a table of topics and services.

    Args:
        names: Only these; empty for all.
        page: Page that links to sections lead to; empty for the page that the table is in.
    """
    rows = ["| | name | type | QoS | what |", "| --- | --- | --- | --- | --- |"]
    for use, note in described(names):
        kind = use.kind.replace("/msg/", "/").replace("/srv/", "/")
        text = note.text.replace("](#", f"]({page}#") if page else note.text
        rows.append(f"| {_SHORT[use.access]} | `{use.name}` | {kind} | {note.qos} | {text} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Write every page that holds topics."""
    rewrite(ROOT / "README.md", "topics", MADE_BY, table(tuple(OWN), "docs/topics.md"))
    for name, notes in (("topics", OWN), ("lifecycle", LIFECYCLE), ("ros", OF_ROS)):
        rewrite(ROOT / "docs" / "topics.md", name, MADE_BY, table(tuple(notes)))


if __name__ == "__main__":
    main()
