"""What the trackers report -> messages, counters and log lines."""

from __future__ import annotations

import traceback

from vlm_perception.errors import VlmPerceptionError
from vlm_perception.ros.context import NodeContext
from vlm_perception.ros.outputs.publishers import Outputs
from vlm_perception.types import Frame
from vlm_perception.worker.listener import Deliver
from vlm_perception.world.tracks import Tracks


class TrackReporter:
    """The listener of `Tracking`.

    Args:
        context: Of the node.
        outputs: The publishers.
    """

    def __init__(self, context: NodeContext, outputs: Outputs) -> None:
        self._context, self._outputs = context, outputs

    def wants_tracks(self, camera: str) -> bool:
        """See `TracksListener`: the one place that says for whom frames are read and carried."""
        outputs = self._outputs.of(camera)
        return outputs is not None and outputs.wants_tracks()

    def on_tracks(self, frame: Frame, tracks: Tracks, deliver: Deliver) -> None:
        """See `TracksListener`."""
        outputs = self._outputs.of(frame.camera)
        if outputs is not None:
            deliver(lambda: outputs.publish_tracks(tracks))

    def on_tracking_failure(self, camera: str, error: Exception) -> None:
        """See `TracksListener`."""
        on_purpose = isinstance(error, VlmPerceptionError)
        text = str(error) if on_purpose else "".join(traceback.format_exception(error))
        count, *_ = [counters.count_error("tracking") for counters in self._context.counters.of(camera)]
        what = "a frame was not tracked" if on_purpose else "its tracks begin anew"
        self._context.warn("tracking", f"{camera}: {what} ({count} so far): {text}")
