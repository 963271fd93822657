"""One result -> what is published about it."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from vlm_perception.replies.result_json import one_line, result_fields
from vlm_perception.types import DetectedObject, FrameHeader, Result
from vlm_perception.world.lift import Places


def header_message(header: FrameHeader) -> Header:
    """Return the camera's own header, unchanged."""
    return Header(stamp=Time(sec=header.stamp_sec, nanosec=header.stamp_nanosec), frame_id=header.frame_id)


def detections_message(result: Result) -> Detection2DArray:
    """Make the array of boxes and points; it is empty when nothing was found (so far).

    Boxes are in pixels of the source image; a point is a detection whose box has size 0. A score
    that the engine could not give is 0.
    """
    header, prompt_id = header_message(result.request.frame.header), result.request.prompt.id
    found = [detection_message(item, header, prompt_id) for item in result.objects]
    return Detection2DArray(header=header, detections=found)


def detection_message(item: DetectedObject, header: Header, prompt_id: str = "") -> Detection2D:
    """Make one detection; `results[0]` carries label and score, `id` its track, or without one the standing prompt."""
    if item.xyxy is not None:
        left, top, right, bottom = item.xyxy
    elif item.point_xy is not None:
        left, top = right, bottom = item.point_xy
    else:
        raise ValueError(f"object {item.label!r} has neither a box nor a point")
    message = Detection2D(header=header, id=item.id or prompt_id)
    message.bbox.center.position.x = (left + right) / 2
    message.bbox.center.position.y = (top + bottom) / 2
    message.bbox.size_x = float(right - left)
    message.bbox.size_y = float(bottom - top)
    hypothesis = ObjectHypothesisWithPose()
    # A NUL would cut the string off on the wire.
    hypothesis.hypothesis.class_id = item.label.replace("\0", "")
    hypothesis.hypothesis.score = 0.0 if item.score is None else float(item.score)
    message.results = [hypothesis]
    return message


def sendable(text: str) -> str:
    """Return a text as a message can carry it: without NUL, and without half a surrogate pair."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def answer_json(result: Result, latency_s: float, age_s: float | None, places: Places | None = None) -> str:
    """Everything known about one answer, as one line of JSON.

    Keys: those of `result_fields`, and `stamp` (sec, nanosec), `frame_id` and `camera` of the
    frame. `timings` are seconds: those of `Timings`, `latency_s` from the image's arrival to this
    answer, and `age_s` from its stamp, which needs synchronised clocks; null when the stamp cannot tell.

    Args:
        result: What was found, or what has been found so far.
        latency_s: From the image's arrival to now, seconds.
        age_s: From the image's stamp to now, seconds; None when it is unknown.
        places: Where the objects are in space; None without depth.
    """
    frame, fields = result.request.frame, result_fields(result, places)
    fields["stamp"] = {"sec": frame.header.stamp_sec, "nanosec": frame.header.stamp_nanosec}
    fields["frame_id"] = frame.header.frame_id
    fields["camera"] = frame.camera
    fields["timings"] |= {"latency_s": latency_s, "age_s": age_s}
    return one_line(fields)
