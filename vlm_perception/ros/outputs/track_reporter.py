"""What the trackers report -> messages, counters and log lines."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from vlm_perception.drawing.annotate import DrawnTrack, annotate_tracks
from vlm_perception.errors import ImageError, VlmPerceptionError
from vlm_perception.frames.encodings import Pixels
from vlm_perception.ros.context import NodeContext
from vlm_perception.ros.outputs.publishers import Outputs, Publishers
from vlm_perception.types import Frame, Prompt
from vlm_perception.worker.listener import Deliver
from vlm_perception.world.lift import Places
from vlm_perception.world.tracks import Track, Tracks

# Some are late by a frame or two; they are told without a place after `LATEST_S`.
_MOST_UNPLACED = 16
_Unplaced = tuple[Tracks, Callable[[], Places | None], Deliver]
# Below it the pixels hardly bear a place out.
_SURE = 0.5


class TrackReporter:
    """The listener of `Tracking`.

    Args:
        context: Of the node.
        outputs: The publishers.
    """

    def __init__(self, context: NodeContext, outputs: Outputs) -> None:
        self._context, self._outputs = context, outputs
        # By camera, of frames whose transform may still come.
        self._unplaced: dict[str, deque[_Unplaced]] = {}

    def wants_tracks(self, camera: str) -> bool:
        """See `TracksListener`: the one place that says for whom frames are read and carried."""
        outputs = self._outputs.of(camera)
        if outputs is None:
            return False
        drawn = self._context.settings.draws_tracks and (outputs.wants_picture() or outputs.wants_markers_3d())
        return outputs.wants_tracks() or drawn

    def on_tracks(
        self, frame: Frame, tracks: Tracks, prompts: Sequence[Prompt], deliver: Deliver, is_newest: bool
    ) -> None:
        """See `TracksListener`."""
        outputs = self._outputs.of(frame.camera)
        if outputs is None:
            return
        deliver(lambda: outputs.publish_tracks(tracks))
        self._place(outputs, tracks, deliver)
        if is_newest and self._context.settings.draws_tracks:
            self._draw(outputs, frame, tracks, prompts, deliver)

    def _place(self, outputs: Publishers, tracks: Tracks, deliver: Deliver) -> None:
        """Publish places, in the order of the frames, as soon as their transform is there; no frame waits for it."""
        line = self._unplaced.setdefault(tracks.camera, deque(maxlen=_MOST_UNPLACED))
        settings = self._context.settings
        if places_of := self._outputs.place_tracks(tracks, settings.depth_tolerance_s, settings.draws_tracks):
            line.append((tracks, places_of, deliver))
        while line:
            first, places_of, deliver_first = line[0]
            if (places := places_of()) is None:
                return
            line.popleft()
            deliver_first(
                partial(outputs.publish_tracks_3d, first, places, _is_sure if settings.draws_tracks else None)
            )

    def _draw(
        self, outputs: Publishers, frame: Frame, tracks: Tracks, prompts: Sequence[Prompt], deliver: Deliver
    ) -> None:
        def draw() -> Pixels:
            seen_age_s = min((track.seen_age_s for track in tracks.tracks), default=None)
            return annotate_tracks(frame.rgb, [_drawn(track) for track in tracks.tracks], prompts, seen_age_s)

        try:
            publish_picture = outputs.drawn(frame.header, draw, self._context.settings.jpeg_quality)
        except ImageError as error:
            self._context.counters.total.count_error(error.cause)
            self._context.warn(error.cause, str(error))
            return
        if publish_picture is not None:
            deliver(publish_picture)

    def on_tracking_failure(self, camera: str, error: Exception) -> None:
        """See `TracksListener`."""
        on_purpose = isinstance(error, VlmPerceptionError)
        text = str(error) if on_purpose else "".join(traceback.format_exception(error))
        count, *_ = [counters.count_error("tracking") for counters in self._context.counters.of(camera)]
        what = "a frame was not tracked" if on_purpose else "its tracks begin anew"
        self._context.warn("tracking", f"{camera}: {what} ({count} so far): {text}")


def _drawn(track: Track) -> DrawnTrack:
    return DrawnTrack(track.object, track.trail_xy, is_sure=_is_sure(track))


def _is_sure(track: Track) -> bool:
    return not track.carried or track.certainty >= _SURE
