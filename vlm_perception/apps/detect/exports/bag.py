"""A bag of results beside a bag of images: what the node would have published, under the stamps of the images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vlm_perception.apps.detect.bag_tracks import BagTracks
from vlm_perception.apps.detect.exports.bag_messages import detections, detections_3d
from vlm_perception.apps.detect.exports.jsonl import place_fields
from vlm_perception.apps.detect.inputs import Picture
from vlm_perception.drawing.annotate import annotate
from vlm_perception.frames.bag_writing import BagWriter, header_of, make
from vlm_perception.frames.compressed import rgb_to_jpeg
from vlm_perception.replies.result_json import one_line, result_fields
from vlm_perception.types import Frame, Result
from vlm_perception.world.tracks import Tracks

DETECTIONS = "/vlm_perception/detections"
DETECTIONS_3D = "/vlm_perception/detections_3d"
TRACKS = "/vlm_perception/tracks"
ANNOTATED = "/vlm_perception/annotated_image/compressed"
ANSWER = "/vlm_perception/answer"
_QUALITY = 90


class ResultBag:
    """Writes detections, tracks, annotated images and answers, each filed when its image was recorded.

    Args:
        path: The folder of the new bag.
        tracks: Gives objects ids that stay; None leaves them without.
        every_frame: Whether tracks are written, for the frames between those that are asked about, too.

    Raises:
        OutputError: Something is there already, or nothing can be written there.
    """

    def __init__(self, path: Path, tracks: BagTracks | None = None, every_frame: bool = False) -> None:
        self._writer = BagWriter(path)
        self._path, self._tracks, self._every_frame = path, tracks, every_frame
        self._answered = self._left_out = 0

    def add(self, picture: Picture, result: Result) -> None:
        """Write one answer; that about an image without a stamp, which is none of a bag, is left out."""
        if picture.header is None or picture.recorded_ns is None:
            self._left_out += 1
            return
        places, messages = picture.places(result), {}
        if self._tracks is not None and result.request.clip is None:
            result, tracks = self._tracks.learn(picture.path, result, picture.recorded_ns)
            if self._every_frame:
                messages[TRACKS] = _tracks(tracks)
        jpeg = np.frombuffer(rgb_to_jpeg(annotate(picture.rgb, result), _QUALITY), np.uint8)
        format = "rgb8; jpeg compressed bgr8"
        image = make("sensor_msgs/msg/CompressedImage", header=header_of(picture.header), format=format, data=jpeg)
        text = one_line({**place_fields(picture), **result_fields(result, places)})
        messages |= {
            DETECTIONS: detections(result.objects, picture.header),
            ANNOTATED: image,
            ANSWER: make("std_msgs/msg/String", data=text),
        }
        if places is not None:
            messages[DETECTIONS_3D] = detections_3d(result.objects, places, picture.header)
        for topic, message in messages.items():
            self._writer.write(topic, message, picture.recorded_ns)
        self._writer.flush()
        self._answered += 1

    def carry(self, bag: Path, frame: Frame, recorded_ns: int) -> None:
        """Write where what was found is in a frame that is not asked about; see `OnBetween`."""
        if self._tracks is not None and self._answered:
            self._writer.write(TRACKS, _tracks(self._tracks.carry(bag, frame)), recorded_ns)

    def close(self) -> tuple[str, ...]:
        """Finish the bag.

        Returns:
            What it could not hold.
        """
        self._writer.close()
        notes: list[str] = []
        if not self._answered:
            notes.append(f"nothing was answered of a bag: {self._path} is not made")
        if self._left_out:
            notes.append(f"{self._left_out} pictures that are in no bag have no stamps: left out of {self._path}")
        return tuple(notes)


def _tracks(tracks: Tracks) -> Any:
    return detections((track.object for track in tracks.tracks), tracks.header)
