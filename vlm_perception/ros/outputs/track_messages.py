"""The tracks of one frame -> what is published about them."""

from __future__ import annotations

from typing import Any

from vision_msgs.msg import Detection2DArray

from vlm_perception.replies.result_json import object_fields, one_line
from vlm_perception.ros.outputs.result_messages import detection_message, header_message
from vlm_perception.types import FrameHeader
from vlm_perception.world.tracks import Track, Tracks


def tracks_message(tracks: Tracks) -> Detection2DArray:
    """Make the array of all tracks, in pixels of the frame and under its header; empty when nothing is followed."""
    header = header_message(tracks.header)
    found = [detection_message(track.object, header, track.prompt.id) for track in tracks.tracks]
    return Detection2DArray(header=header, detections=found)


def tracks_json(tracks: Tracks) -> str:
    """Everything known about the tracks of one frame, as one line of JSON.

    Keys: `stamp` (sec, nanosec) and `frame_id` of the frame, `camera`, `image_wh` (pixels), and `tracks`: for each,
    in the order of `tracks_message`, what `object_fields` tells, and `prompt`, `prompt_id`, `seen` (stamp of the
    frame in which the model saw it last), `seen_age_s` (from that frame's arrival to this one's), `carried` and
    `certainty` (0 to 1).
    """
    return one_line(
        {
            "stamp": _stamp(tracks.header),
            "frame_id": tracks.header.frame_id,
            "camera": tracks.camera,
            "image_wh": list(tracks.image_wh),
            "tracks": [_fields(track) for track in tracks.tracks],
        }
    )


def _fields(track: Track) -> dict[str, Any]:
    return object_fields(track.object) | {
        "prompt": track.prompt.text,
        "prompt_id": track.prompt.id,
        "seen": _stamp(track.seen),
        "seen_age_s": track.seen_age_s,
        "carried": track.carried,
        "certainty": track.certainty,
    }


def _stamp(header: FrameHeader) -> dict[str, int]:
    return {"sec": header.stamp_sec, "nanosec": header.stamp_nanosec}
