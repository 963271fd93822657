"""One result -> what is published about it."""

from __future__ import annotations

import json
from typing import Any

from builtin_interfaces.msg import Time
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from vlm_perception.types import DetectedObject, FrameHeader, Result


def header_message(header: FrameHeader) -> Header:
    """Return the camera's own header, unchanged."""
    return Header(stamp=Time(sec=header.stamp_sec, nanosec=header.stamp_nanosec), frame_id=header.frame_id)


def detections_message(result: Result) -> Detection2DArray:
    """Make the array of boxes and points; it is empty when nothing was found.

    Boxes are in pixels of the source image; a point is a detection whose box has size 0. A score
    that the engine could not give is 0.
    """
    header = header_message(result.request.frame.header)
    return Detection2DArray(header=header, detections=[detection_message(item, header) for item in result.objects])


def detection_message(item: DetectedObject, header: Header) -> Detection2D:
    """Make one detection; `results[0]` carries label and score."""
    if item.xyxy is not None:
        left, top, right, bottom = item.xyxy
    elif item.point_xy is not None:
        left, top = right, bottom = item.point_xy
    else:
        raise ValueError(f"object {item.label!r} has neither a box nor a point")
    message = Detection2D(header=header)
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


def answer_json(result: Result, latency_s: float, age_s: float) -> str:
    """Everything known about one answer, as one line of JSON.

    Keys: `prompt`, `task`, `raw_text` (the model's reply as it came), `text` (prose outside the
    objects), `count` (or null), `objects` (label, score or null, `bbox_xyxy` or null, `point_xy`
    or null, attributes), `rejects` (reason, text), `stamp` (sec, nanosec), `frame_id`, `camera`,
    `image_wh`, `model_wh`, `finish_reason`, `timings` (seconds; `latency_s` is from the image's
    arrival to this answer, `age_s` from its stamp, which needs synchronised clocks).

    Args:
        result: What was found.
        latency_s: From the image's arrival to now, seconds.
        age_s: From the image's stamp to now, seconds.
    """
    frame, answer = result.request.frame, result.answer
    fields: dict[str, Any] = {
        "prompt": result.request.prompt.text,
        "task": result.request.prompt.task.value,
        "raw_text": answer.text,
        "text": result.text,
        "count": result.count,
        "objects": [_object_fields(item) for item in result.objects],
        "rejects": [{"reason": reject.reason, "text": reject.text} for reject in result.rejects],
        "stamp": {"sec": frame.header.stamp_sec, "nanosec": frame.header.stamp_nanosec},
        "frame_id": frame.header.frame_id,
        "camera": frame.camera,
        "image_wh": list(frame.image_wh),
        "model_wh": list(answer.model_wh),
        "finish_reason": answer.finish_reason,
        "timings": {
            "preprocess_s": answer.timings.preprocess_s,
            "generate_s": answer.timings.generate_s,
            "decode_s": answer.timings.decode_s,
            "latency_s": latency_s,
            "age_s": age_s,
        },
    }
    text = json.dumps(fields, ensure_ascii=False, allow_nan=False)
    # Half a surrogate pair, which a model's bytes can decode to, has no UTF-8 form.
    return text.encode("utf-8", "replace").decode("utf-8")


def _object_fields(item: DetectedObject) -> dict[str, Any]:
    return {
        "label": item.label,
        "score": item.score,
        "bbox_xyxy": None if item.xyxy is None else list(item.xyxy),
        "point_xy": None if item.point_xy is None else list(item.point_xy),
        "attributes": dict(item.attributes),
    }
