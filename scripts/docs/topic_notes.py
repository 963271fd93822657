"""What docs/topics.md says of each topic and service; tests hold the quality of service to the real node's graph."""

from __future__ import annotations

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


NOTES = {
    "image": Note(
        "the camera: `image_topic:=`, or each of `image_topics`; sensor_msgs/CompressedImage with `image_transport`",
        _FOLLOWS,
    ),
    "camera_info": Note("calibration, beside each image topic", _FOLLOWS),
    "depth": Note(
        "depth aligned to the image: each of `depth_topics`; sensor_msgs/CompressedImage where it ends in "
        "/compressedDepth",
        _FOLLOWS,
    ),
    "/tf": Note("how frames stand to each other, with `target_frame`: [places](#places-in-space)", _RELIABLE),
    "/tf_static": Note("the same, of those that do not move", _LATCHED),
    "~/prompt": Note("one prompt, or a JSON list of standing ones; empty stops detection", _RELIABLE),
    "~/active_prompt": Note("what is asked now; empty when detection is stopped", _LATCHED),
    "~/detections": Note(
        "boxes and points, with the image's own header; empty when nothing is found, so that silence is a fault",
        _RELIABLE,
    ),
    "~/answer": Note("everything about one answer, as JSON: [fields](#answer)", _RELIABLE),
    "~/markers": Note("boxes and points for Foxglove; made only while somebody subscribes", _RELIABLE),
    "~/tracks": Note(
        "where every object that is followed is now: one message for each camera frame, under its header, while there "
        "is a prompt; made only while somebody subscribes",
        _RELIABLE,
    ),
    "~/tracks_info": Note("the same and more, as JSON: [fields](#tracks)", _RELIABLE),
    "~/annotated_image": Note(
        "the image with what was found, and a bar with the words below it; drawn only while somebody subscribes",
        _RELIABLE,
    ),
    "~/annotated_image/compressed": Note("the same as JPEG", _RELIABLE),
    "~/detections_3d": Note("boxes in space, with `depth_topics`: [places](#places-in-space)", _RELIABLE),
    "~/markers_3d": Note("the same for RViz and Foxglove; made only while somebody subscribes", _RELIABLE),
    "~/tracks_3d": Note(
        "what is in `~/tracks` in space, for each camera frame; made only while somebody subscribes", _RELIABLE
    ),
    "~/memory_markers": Note(
        "places that are remembered, the fainter the less sure; made only while somebody subscribes", _LATCHED
    ),
    "~/camera_info": Note("the camera's calibration, unchanged, once for each answered image", _RELIABLE),
    "/diagnostics": Note("rates, latency, age, drops and errors by cause, state: [values](#diagnostics)", _RELIABLE),
    "~/enable": Note("pauses and resumes; the running answer is aborted, the model stays loaded"),
    "~/detect_once": Note("one answer on the newest image, its JSON in `message`"),
    "~/detect": Note("a program's own question, answered to it alone, while objects are told: [goals](#goals)"),
    "~/detect_at": Note("the same about the image of a stamp: [goals](#goals)"),
    "~/where_is": Note("where things were seen, by words and without a model: [memory](#memory)"),
    "~/forget": Note("forgets things that are remembered"),
}

# Packages of what every managed ROS node has; docs/topics.md says so in a sentence.
_OF_ROS = ("lifecycle_msgs/", "rcl_interfaces/", "type_description_interfaces/")


def described() -> list[tuple[Use, Note]]:
    """Pair topics and services of a node with one camera with their notes, in the order of the notes.

    Raises:
        KeyError: One that the node has is in no note, or the other way round.
    """
    used = uses({"image": "~"}, depths={"image": "depth"}, transforms=True)
    found = {use.name: use for use in used if not use.kind.startswith(_OF_ROS)}
    if odd := found.keys() ^ NOTES.keys():
        raise KeyError(f"without a note in scripts/docs/topic_notes.py, or without a use: {', '.join(sorted(odd))}")
    return [(found[name], note) for name, note in NOTES.items()]
