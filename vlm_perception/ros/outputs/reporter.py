"""What the worker reports -> messages, counters and log lines. Called on the worker's threads unless noted."""

from __future__ import annotations

import threading
import time
import traceback
from collections import Counter, OrderedDict
from collections.abc import Callable

from vlm_perception.drawing.annotate import annotate
from vlm_perception.engines.base import EngineState
from vlm_perception.errors import ImageError, VlmPerceptionError
from vlm_perception.ros.context import NodeContext
from vlm_perception.ros.diagnostics.frame_age import FrameAge, frame_age
from vlm_perception.ros.outputs.publishers import Outputs
from vlm_perception.ros.outputs.result_messages import answer_json
from vlm_perception.scheduling.rate import Throttle
from vlm_perception.types import Frame, Prompt, Result
from vlm_perception.worker.listener import Deliver
from vlm_perception.world.lift import NoSpot, Places

_ANSWERS_LOG_PERIOD_S = 60.0
# Answers that somebody may still ask to have written: more than are told at once.
_KEPT_PLACES = 64


class Reporter:
    """The worker's listener.

    Args:
        context: Of the node.
        outputs: The publishers.
        on_engine: Hears about the model's state; on the worker's thread.
        on_told: Hears of each whole answer that was published, with its places; on the thread that answered.
    """

    def __init__(
        self,
        context: NodeContext,
        outputs: Outputs,
        on_engine: Callable[[EngineState, str], None],
        on_told: Callable[[Result, Places | None], None],
    ) -> None:
        self._context, self._outputs, self._on_engine, self._on_told = context, outputs, on_engine, on_told
        self._counters = context.counters
        # Several answers may be told at the same time; guards what is below.
        self._lock = threading.Lock()
        self._places: OrderedDict[tuple[str, float, Prompt], Places] = OrderedDict()
        self._untold, self._tell_throttle = 0, Throttle(_ANSWERS_LOG_PERIOD_S)

    def on_state(self, state: EngineState, detail: str) -> None:
        """See `WorkerListener`."""
        self._on_engine(state, detail)

    def on_asked(self, frame: Frame) -> None:
        """See `WorkerListener`."""
        outputs = self._outputs.of(frame.camera)
        if outputs is not None:
            outputs.pin_depth(frame.header)

    def on_partial(self, result: Result, deliver: Deliver) -> None:
        """See `WorkerListener`."""
        latency_s, age_s = self.times_of(result)
        outputs = self._outputs.of(result.request.frame.camera)
        if outputs is not None:
            deliver(lambda: outputs.publish_answer(result, latency_s, age_s))

    def on_result(self, result: Result, deliver: Deliver) -> None:
        """See `WorkerListener`."""
        latency_s, age_s = self.times_of(result)
        outputs = self._outputs.of(result.request.frame.camera)
        if outputs is None:
            return
        # Lifted before, so that nobody waits for it.
        places = self._outputs.place(result, self._context.settings.depth_tolerance_s)
        self._keep_places(result, places)
        with_markers = not self._context.settings.draws_tracks
        if not deliver(lambda: outputs.publish_answer(result, latency_s, age_s, places, with_markers)):
            return
        self._on_told(result, places)
        self._note_places(result, places)
        weak = sum(reject.score is not None for reject in result.rejects)
        for counters in self._counters.of(result.request.frame.camera):
            counters.count_answer(latency_s, age_s, len(result.rejects), weak, len(result.objects))
            for remark in result.remarks:
                counters.count_remark(remark.kind)
            for look in result.looks:
                counters.count_look(look.outcome)
        self._tell(result, latency_s)
        self._note_age(result)
        self._note_ending(result)
        self._note_failed_looks(result)
        settings, frame = self._context.settings, result.request.frame
        if settings.draws_tracks:
            return
        try:
            publish_picture = outputs.drawn(frame.header, lambda: annotate(frame.rgb, result), settings.jpeg_quality)
        except ImageError as error:
            self._counters.total.count_error(error.cause)
            self._context.warn(error.cause, str(error))
            return
        if publish_picture is not None:
            deliver(publish_picture)

    def on_drop(self, camera: str, cause: str, error: Exception | None) -> None:
        """See `WorkerListener`; bad images come from the executor."""
        count, *_ = [counters.count_drop(cause) for counters in self._counters.of(camera)]
        if error is None:
            return
        text = str(error) if isinstance(error, VlmPerceptionError) else "".join(traceback.format_exception(error))
        self._context.warn(cause, f"image of {camera} dropped ({cause}, {count} so far): {text}")

    def on_out_of_memory(self, text: str) -> None:
        """See `WorkerListener`."""
        count = self._counters.total.count_error("out_of_memory")
        self._context.warn("out_of_memory", f"{text} ({count} so far)")

    def on_more_pixels(self, text: str) -> None:
        """See `WorkerListener`."""
        self._context.info(text)

    def written(self, result: Result) -> str:
        """Write a result as `~/answer` does, with its times now; on any thread."""
        with self._lock:
            places = self._places.get(_key(result))
        return answer_json(result, *self.times_of(result), places)

    def times_of(self, result: Result) -> tuple[float, float | None]:
        """Return the seconds since the image's arrival and since its stamp, None if that cannot tell; on any thread."""
        return time.monotonic() - result.request.frame.received_s, self._age_of(result).age_s

    def _tell(self, result: Result, latency_s: float) -> None:
        """Log each answer for those who look closely, and now and then that they come."""
        said = f"{result.request.frame.camera}, {len(result.objects)} objects in {latency_s:.3f} s"
        prompt, answer = result.request.prompt, result.answer
        # An engine that is a server does not tell its passes.
        passes = f"{answer.passes} passes, " if answer.passes else ""
        refused = f"{len(result.rejects)} refused"
        self._context.debug(f"answer: {said}, {passes}{refused}, {answer.finish_reason}: {prompt.text!r}")
        with self._lock:
            self._untold += 1
            if not self._tell_throttle.allows("answers"):
                return
            untold, self._untold = self._untold, 0
        since = f"{untold} since the last such line; " if untold > 1 else ""
        self._context.info(f"answers come: {since}{said}")

    def _keep_places(self, result: Result, places: Places | None) -> None:
        """Keep what was made of depth, which is not for the executor to make once more."""
        if places is None:
            return
        with self._lock:
            self._places[_key(result)] = places
            while len(self._places) > _KEPT_PLACES:
                self._places.popitem(last=False)

    def _note_places(self, result: Result, places: Places | None) -> None:
        """Count and tell objects without a place in space, by cause."""
        spots = () if places is None else places.spots
        missing = Counter(spot.cause for spot in spots if isinstance(spot, NoSpot))
        texts = {spot.cause: spot.text for spot in spots if isinstance(spot, NoSpot)}
        camera = result.request.frame.camera
        for cause, amount in missing.items():
            kind = f"no_position_{cause}"
            count, *_ = [counters.count_error(kind, amount) for counters in self._counters.of(camera)]
            text = f"{amount} of {len(result.objects)} objects of {camera} have no place in space ({cause}, "
            self._context.warn(kind, f"{text}{count} so far): {texts[cause]}")

    def _age_of(self, result: Result) -> FrameAge:
        frame = result.request.frame
        return frame_age(frame.header, self._context.node.get_clock().now().nanoseconds * 1e-9, frame.camera)

    def _note_age(self, result: Result) -> None:
        age = self._age_of(result)
        if age.problem:
            count = self._counters.total.count_error(age.problem)
            self._context.warn(age.problem, f"{age.text} ({count} answers so far)")

    def _note_ending(self, result: Result) -> None:
        """Count and tell an answer that did not end by itself."""
        reason, settings = result.answer.finish_reason, self._context.settings
        if reason == "repetition":
            count = self._counters.total.count_repetition()
            self._context.warn(reason, f"the model repeated itself; its answer was ended early ({count} so far)")
        elif reason == "timeout":
            count = self._counters.total.count_error("timeout")
            self._context.warn(
                reason,
                f"an answer took over timeout_s {settings.timeout_s:g} and was cut after {len(result.answer.tokens)} "
                f"tokens, {len(result.objects)} objects ({count} so far); raise timeout_s, or lower max_pixels or "
                f"max_new_tokens",
            )

    def _note_failed_looks(self, result: Result) -> None:
        """Count and tell closer looks that failed; the answer stands without them."""
        for look in result.looks:
            if look.outcome == "failed":
                count = self._counters.total.count_error("closer_look")
                text = f"a closer look at {list(look.xyxy)} failed ({count} so far; zoom off does without): {look.text}"
                self._context.warn("closer_look", text)


def _key(result: Result) -> tuple[str, float, Prompt]:
    frame = result.request.frame
    return frame.camera, frame.received_s, result.request.prompt
