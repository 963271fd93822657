"""What docs/topics.md says of each topic and service; tests hold the quality of service to the real node's graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vlm_perception.ros.topics import Use, uses

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
    "~/prompt": Note("one prompt, or a JSON list of standing ones; empty stops detection", _RELIABLE),
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
    "~/change_state": Note("configure, activate, deactivate, cleanup, shutdown, as below"),
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


def described(names: Iterable[str] = ()) -> list[tuple[Use, Note]]:
    """Pair every topic and service of a node with one camera with its note, in the order of the notes.

    Args:
        names: Only these; empty for all.

    Raises:
        KeyError: One that the node has is not described.
    """
    found = {use.name: use for use in uses()}
    if undescribed := found.keys() - NOTES.keys():
        raise KeyError(f"no note for {', '.join(sorted(undescribed))} in scripts/docs/topic_notes.py")
    wanted = set(names) or found.keys()
    return [(found[name], note) for name, note in NOTES.items() if name in wanted]
