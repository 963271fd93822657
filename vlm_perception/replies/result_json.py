"""One result as plain fields and as one line of JSON: what `~/answer` and `vlm-detect` have in common. No ROS."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vlm_perception.replies.scores import FORMULA
from vlm_perception.types import Clip, DetectedObject, Event, Result
from vlm_perception.world.lift import NoSpot, Places, Spot


def result_fields(result: Result, places: Places | None = None) -> dict[str, Any]:
    """Everything known about one answer that does not depend on where its image came from.

    Keys: `prompt`, `prompt_id` (of a standing prompt, else empty), `task`, `region_xyxy` (image pixels, null for all
    of the image), `raw_text` (the model's reply as it came), `text` (prose outside the objects, and every text that
    was read), `thinking` (what the model thought first), `count` (or null), `count_agrees` (or null), `objects` (see
    `object_fields` and, with depth, `_position_fields`), `score` (`formula`, `fitted_on` or null), `rejects` (reason,
    text), `remarks` (kind, text), `image_wh` and `model_wh` (pixels), `finish_reason`, `truncated`, `partial`,
    `passes` (of the decoder), `looks` (closer looks: see `Look`), `timings` (seconds; see `Timings`, and `zoom_s`,
    that of the looks). Of a clip also `events` (see `event_fields`) and `clip`: its `duration_s` and its number of
    `frames`.

    Args:
        result: The answer.
        places: Where its objects are in space; None without depth.
    """
    objects = [object_fields(item) for item in result.objects]
    if places is not None:
        for fields, spot in zip(objects, places.spots, strict=True):
            fields |= _position_fields(spot, places.frame_id)
    answer, frame, region = result.answer, result.request.frame, result.request.prompt.region
    of_clip: dict[str, Any] = {}
    if (clip := result.request.clip) is not None:
        of_clip["events"] = [event_fields(event, clip) for event in result.events]
        of_clip["clip"] = {"duration_s": clip.duration_s, "frames": len(clip.frames)}
    return {
        "prompt": result.request.prompt.text,
        "prompt_id": result.request.prompt.id,
        "task": result.request.prompt.task.value,
        "region_xyxy": None if region is None else list(region.in_image(frame.image_wh)),
        "raw_text": answer.text,
        "text": result.text,
        "thinking": result.thinking,
        "count": result.count,
        "count_agrees": result.count_agrees,
        "objects": objects,
        "score": {"formula": FORMULA, "fitted_on": fitted_on(result)},
        "remarks": [{"kind": remark.kind, "text": remark.text} for remark in result.remarks],
        "rejects": [{"reason": reject.reason, "text": reject.text} for reject in result.rejects],
        "image_wh": list(frame.image_wh),
        "model_wh": list(answer.model_wh),
        "finish_reason": answer.finish_reason,
        "truncated": result.truncated,
        "partial": result.partial,
        "passes": answer.passes,
        "looks": [asdict(look) for look in result.looks],
        "timings": {**asdict(answer.timings), "zoom_s": sum((look.took_s for look in result.looks), 0.0)},
        **of_clip,
    }


def event_fields(event: Event, clip: Clip) -> dict[str, Any]:
    """Something that happened in a clip.

    Keys: `start_s` and `end_s` (seconds after the clip's first frame), `text`, `start_stamp` and `end_stamp` (`sec`,
    `nanosec` of the camera's clock, or null where its images have no stamps), and `bbox_xyxy` where there is a box.
    """
    fields: dict[str, Any] = {
        "start_s": event.start_s,
        "end_s": event.end_s,
        "text": event.text,
        "start_stamp": _stamp_at(clip, event.start_s),
        "end_stamp": _stamp_at(clip, event.end_s),
    }
    return fields if event.xyxy is None else {**fields, "bbox_xyxy": list(event.xyxy)}


def _stamp_at(clip: Clip, time_s: float) -> dict[str, int] | None:
    first_ns, last_ns = (frame.header.stamp_ns for frame in (clip.frames[0], clip.frames[-1]))
    # Without stamps that go on, the times are those of arrival.
    if not last_ns or abs(last_ns - first_ns - clip.duration_s * 1e9) > 1e6:
        return None
    sec, nanosec = divmod(first_ns + round(time_s * 1e9), 10**9)
    return {"sec": sec, "nanosec": nanosec}


def fitted_on(result: Result) -> str | None:
    """Say what the calibration of the scores was fitted on; None for scores that only order objects.

    Whether the image is like that, which alone would make them chances of being right, nobody can tell from here.
    """
    if not result.calibrated or result.answer.calibration is None:
        return None
    return result.answer.calibration.fitted_on or "images that the checkpoint's card does not name"


def object_fields(item: DetectedObject) -> dict[str, Any]:
    """One object, in image pixels.

    Keys: `label`, `score` or null, `bbox_xyxy` or null, `point_xy` or null, `attributes`; where it is
    followed, `id`; where text was to be read, `kind` and `text`; and where the model gave them, `polygon` (list of
    x, y) and `keypoints` (x, y by name).
    """
    fields: dict[str, Any] = {
        "label": item.label,
        "score": item.score,
        "bbox_xyxy": None if item.xyxy is None else list(item.xyxy),
        "point_xy": None if item.point_xy is None else list(item.point_xy),
        "attributes": dict(item.attributes),
    }
    if item.id:
        fields["id"] = item.id
    if item.kind:
        fields |= {"kind": item.kind, "text": item.text}
    if item.polygon:
        fields["polygon"] = [list(corner) for corner in item.polygon]
    if item.keypoints:
        fields["keypoints"] = {name: list(xy) for name, xy in item.keypoints.items()}
    return fields


def _position_fields(spot: Spot | NoSpot, frame_id: str) -> dict[str, Any]:
    """Where an object is in space.

    Keys: `position_m`, `position_frame`, `size_m` and `distance_m`; or `no_position` with `cause` and `text`.
    """
    if isinstance(spot, NoSpot):
        return {"no_position": {"cause": spot.cause, "text": spot.text}}
    return {
        "position_m": list(spot.position_m),
        "position_frame": frame_id,
        "size_m": list(spot.size_m),
        "distance_m": spot.distance_m,
    }


def one_line(fields: Mapping[str, Any]) -> str:
    """Write fields as one line of JSON that has a UTF-8 form, in any script.

    Raises:
        ValueError: A number is NaN or infinite, which JSON cannot hold.
    """
    text = json.dumps(fields, ensure_ascii=False, allow_nan=False)
    # Half a surrogate pair, which a model's bytes or a file's name can decode to, has no UTF-8 form.
    return text.encode("utf-8", "replace").decode("utf-8")
