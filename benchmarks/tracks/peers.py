"""The matchers of the package `trackers` in the place of ours, on the same boxes.

Fed with `answers`: the boxes of each answer at the time of the frame that it is about, as models answer; judged there.
Fed with `frames`: the boxes that our tracker publishes with each frame, names taken off; judged in each frame.
"""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import supervision as sv

from benchmarks.tracks.detector import Late, NoisyTruth
from benchmarks.tracks.films import RATE_HZ, Film, TrueBox
from benchmarks.tracks.methods import LOST_AFTER_S, Hold, Ours, Published
from benchmarks.tracks.run import Plan
from benchmarks.tracks.score import FilmScore, figures
from vlm_perception.types import XYXY, Frame

NAMES = ("bytetrack", "ocsort", "botsort")


class Peer:
    """One of their trackers; it names a thing when it is seen the first time, and keeps what is lost as long as ours.

    Args:
        name: One of `NAMES`.
        rate_hz: How often it is given boxes.
    """

    def __init__(self, name: str, rate_hz: float) -> None:
        trackers: Any = importlib.import_module("trackers")
        kinds = dict(
            zip(NAMES, (trackers.ByteTrackTracker, trackers.OCSORTTracker, trackers.BoTSORTTracker), strict=True)
        )
        # The buffer counts frames of 30 Hz, whatever the rate.
        self._tracker = kinds[name](
            lost_track_buffer=round(LOST_AFTER_S * 30), frame_rate=rate_hz, minimum_consecutive_frames=1
        )
        self._sees = name == "botsort"
        self.took_ms: list[float] = []

    def name_all(self, boxes: Sequence[XYXY], frame: Frame) -> Published:
        """Give ids to boxes; those that it does not take for a thing yet are left out."""
        found = sv.Detections(
            np.array(boxes, np.float32).reshape(-1, 4),
            confidence=np.ones(len(boxes), np.float32),
            class_id=np.zeros(len(boxes), int),
            data={"at": np.arange(len(boxes))},
        )
        began_s = time.thread_time()
        named = self._tracker.update(found, frame.rgb if self._sees else None, timestamp=frame.received_s)
        self.took_ms.append(1e3 * (time.thread_time() - began_s))
        if named.tracker_id is None or not len(named):
            return []
        order = named.data["at"]
        return [(str(each), boxes[int(at)]) for each, at in zip(named.tracker_id, order, strict=True) if each >= 0]


class _Both:
    """What one matcher made of the answers and of the frames of one film."""

    def __init__(self) -> None:
        self.by_fed = {"answers": FilmScore(), "frames": FilmScore()}
        self.took_ms: dict[str, list[float]] = {"answers": [], "frames": []}


def compare(kinds: Sequence[str], plan: Plan) -> list[dict[str, Any]]:
    """Measure all matchers; one row for each number of objects, delay, food and matcher, over all kinds of films."""
    rows = []
    for count in plan.objects:
        for delay_s in plan.delays_s:
            played = [
                _play(Film(kind, count, seed, plan.seconds), Late(delay_s, NoisyTruth(seed)), delay_s, plan.step_s)
                for kind in kinds
                for seed in plan.seeds
            ]
            for fed in ("answers", "frames"):
                for name in played[0]:
                    if fed not in played[0][name].by_fed:
                        continue
                    found = figures([film[name].by_fed[fed] for film in played])
                    took = [ms for film in played for ms in film[name].took_ms[fed]]
                    rows.append(
                        {"objects": count, "delay_s": delay_s, "fed": fed, "matcher": name}
                        | found
                        | {"ms": round(statistics.median(took), 2) if took else None}
                    )
    return rows


def _play(film: Film, detector: Late, delay_s: float, step_s: float) -> dict[str, _Both]:
    ours, hold = Ours(step_s), Hold()
    on_answers = {name: Peer(name, 1.0 / delay_s) for name in NAMES}
    on_frames = {name: Peer(name, RATE_HZ) for name in NAMES}
    found = {name: _Both() for name in ("ours", "ours without frames", *NAMES)}
    found["ours without frames"].by_fed.pop("frames")
    answered = False
    for shot in film.shots():
        for arrival in detector.until(shot.frame.received_s):
            answered = True
            asked = arrival.result.request.frame
            boxes = [thing.xyxy for thing in arrival.result.objects if thing.xyxy is not None]
            for name, method in (("ours", ours), ("ours without frames", hold)):
                method.answer(arrival)
                _judge(found[name], "answers", arrival.truth, method.named)
            for name, peer in on_answers.items():
                _judge(found[name], "answers", arrival.truth, peer.name_all(boxes, asked))
        detector.see(shot)
        published = ours.frame(shot)
        if answered:
            _judge(found["ours"], "frames", shot.truth, published)
            for name, peer in on_frames.items():
                _judge(found[name], "frames", shot.truth, peer.name_all([box for _, box in published], shot.frame))
    for fed, peers in (("answers", on_answers), ("frames", on_frames)):
        for name, peer in peers.items():
            found[name].took_ms[fed] = peer.took_ms
    for name, method in (("ours", ours), ("ours without frames", hold)):
        found[name].took_ms["answers"] = method.identify_ms
    return found


def _judge(both: _Both, fed: str, truth: Sequence[TrueBox], published: Published) -> None:
    both.by_fed[fed].add([(true.id, true.xyxy) for true in truth], published)
