"""Counters and durations of the running node, kept where every thread can add to them."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from vlm_perception.scheduling.rate import Clock

# Long enough for a steady p95, short enough to follow a change within a minute or so.
_WINDOW = 200
_RATE_WINDOW_S = 10.0
# More events than any camera brings in that time.
_MOST_RECENT = 50_000


@dataclass(frozen=True, slots=True)
class CounterReport:
    """State of the counters at one moment. Durations are None before the first sample.

    Attributes:
        frames: Images received, good or bad.
        outages: How often a camera fell silent.
        prompts: Prompts received, good or bad.
        answers: Results published.
        rate_hz: Answers per second over the last 10 s.
        frame_rate_hz: Images per second over the last 10 s.
        latency_p50_s: Median of image arrival to detections published.
        latency_p95_s: 95th percentile of the same.
        latency_p99_s: 99th percentile of the same.
        age_p50_s: Median of header stamp to detections published; needs synchronised clocks.
        age_p95_s: 95th percentile of the same.
        since_frame_s: Time since the last image.
        answer_age_s: Time since the arrival of the newest image that was answered: how old what is known is.
        drops: Number of frames dropped, by cause.
        rejects: Number of pieces of replies that were not accepted.
        below_threshold: How many of those were good objects with a score below `score_threshold`.
        repetitions: Answers that were ended because the model repeated itself.
        looks: Closer looks that `zoom` wanted, by outcome; see `Look`.
        errors: Other failures, by kind.
        recent: What was counted in the last 10 s: `answers`, `objects` and `rejects` in them (without those below
            the threshold), every cause of `drops` and kind of `errors`, and every kind of `Remark`.
    """

    frames: int
    outages: int
    prompts: int
    answers: int
    rate_hz: float
    frame_rate_hz: float
    latency_p50_s: float | None
    latency_p95_s: float | None
    latency_p99_s: float | None
    age_p50_s: float | None
    age_p95_s: float | None
    since_frame_s: float | None
    answer_age_s: float | None
    drops: Mapping[str, int]
    rejects: int
    below_threshold: int
    repetitions: int
    looks: Mapping[str, int]
    errors: Mapping[str, int]
    recent: Mapping[str, int]


class Recent:
    """Counts what happened within the last seconds. Not thread-safe.

    Args:
        window_s: How far back it looks.
        clock: Monotonic seconds.
    """

    def __init__(self, window_s: float, clock: Clock) -> None:
        self._window_s, self._clock = window_s, clock
        self._events: deque[tuple[float, str, int]] = deque(maxlen=_MOST_RECENT)

    def add(self, kind: str, amount: int = 1) -> None:
        """Something happened, `amount` times."""
        if amount:
            self._events.append((self._clock(), kind, amount))

    def counts(self) -> dict[str, int]:
        """How often each kind happened; those that did not are left out."""
        since_s = self._clock() - self._window_s
        while self._events and self._events[0][0] < since_s:
            self._events.popleft()
        found: Counter[str] = Counter()
        for _, kind, amount in self._events:
            found[kind] += amount
        return dict(found)


class Counters:
    """Collects what `/diagnostics` shows. Thread-safe."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._started_s = clock()
        self._frames = self._answers = self._outages = self._prompts = 0
        self._frame_times_s: deque[float] = deque(maxlen=5000)
        self._answer_times_s: deque[float] = deque(maxlen=5000)
        self._latencies_s: deque[float] = deque(maxlen=_WINDOW)
        self._ages_s: deque[float] = deque(maxlen=_WINDOW)
        self._answered_arrival_s: float | None = None
        self._drops: Counter[str] = Counter()
        self._rejects = self._below_threshold = self._repetitions = 0
        self._looks: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._recent = Recent(_RATE_WINDOW_S, clock)

    def count_frame(self) -> None:
        """An image arrived."""
        with self._lock:
            self._frames += 1
            self._frame_times_s.append(self._clock())

    def count_outage(self) -> None:
        """No image came for too long."""
        with self._lock:
            self._outages += 1

    def count_prompt(self) -> None:
        """A prompt arrived."""
        with self._lock:
            self._prompts += 1

    def count_answer(
        self, latency_s: float, age_s: float | None, n_rejects: int = 0, n_below_threshold: int = 0, n_objects: int = 0
    ) -> None:
        """A result with `n_objects` was published `latency_s` after arrival and `age_s` after its stamp, if known.

        `n_below_threshold` of its `n_rejects` were good objects with too low a score.
        """
        now_s = self._clock()
        with self._lock:
            self._answers += 1
            self._answer_times_s.append(now_s)
            self._answered_arrival_s = max(now_s - latency_s, self._answered_arrival_s or now_s - latency_s)
            self._latencies_s.append(latency_s)
            if age_s is not None:
                self._ages_s.append(age_s)
            self._rejects += n_rejects
            self._below_threshold += n_below_threshold
            self._recent.add("answers")
            self._recent.add("objects", n_objects)
            self._recent.add("rejects", n_rejects - n_below_threshold)

    def count_remark(self, kind: str) -> None:
        """A reply was odd, see `Remark`."""
        with self._lock:
            self._recent.add(kind)

    def count_look(self, outcome: str) -> None:
        """A closer look was wanted."""
        with self._lock:
            self._looks[outcome] += 1

    def count_repetition(self) -> int:
        """A repetition loop was ended; returns how often that happened."""
        with self._lock:
            self._repetitions += 1
            return self._repetitions

    def count_drop(self, cause: str) -> int:
        """A frame was dropped; returns how often that happened for this cause."""
        with self._lock:
            self._drops[cause] += 1
            self._recent.add(cause)
            return self._drops[cause]

    def count_error(self, kind: str, amount: int = 1) -> int:
        """Something else failed, `amount` times; returns how often so far."""
        with self._lock:
            self._errors[kind] += amount
            self._recent.add(kind, amount)
            return self._errors[kind]

    def report(self) -> CounterReport:
        """Snapshot of everything."""
        now_s = self._clock()
        with self._lock:
            return CounterReport(
                frames=self._frames,
                outages=self._outages,
                prompts=self._prompts,
                answers=self._answers,
                rate_hz=self._rate_hz(self._answer_times_s, now_s),
                frame_rate_hz=self._rate_hz(self._frame_times_s, now_s),
                latency_p50_s=_percentile(self._latencies_s, 50),
                latency_p95_s=_percentile(self._latencies_s, 95),
                latency_p99_s=_percentile(self._latencies_s, 99),
                age_p50_s=_percentile(self._ages_s, 50),
                age_p95_s=_percentile(self._ages_s, 95),
                since_frame_s=now_s - self._frame_times_s[-1] if self._frame_times_s else None,
                answer_age_s=None if self._answered_arrival_s is None else now_s - self._answered_arrival_s,
                drops=dict(self._drops),
                rejects=self._rejects,
                below_threshold=self._below_threshold,
                repetitions=self._repetitions,
                looks=dict(self._looks),
                errors=dict(self._errors),
                recent=self._recent.counts(),
            )

    def _rate_hz(self, times_s: deque[float], now_s: float) -> float:
        span_s = min(_RATE_WINDOW_S, now_s - self._started_s)
        recent = sum(1 for time_s in times_s if now_s - time_s < span_s)
        return recent / span_s if span_s > 0 else 0.0


class CountersByCamera:
    """Counts for the whole node and for each camera. Thread-safe, but `use` is called from one thread.

    Attributes:
        total: What is counted for all cameras together, and what belongs to none.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self.total = Counters(clock)
        self._cameras: Mapping[str, Counters] = {}

    def use(self, cameras: Iterable[str]) -> None:
        """Count for these cameras from now on; one that stays goes on counting."""
        self._cameras = {camera: self._cameras.get(camera) or Counters(self._clock) for camera in cameras}

    def of(self, camera: str) -> tuple[Counters, ...]:
        """Return where something about a camera is counted: for the whole node and, unless it has gone, for itself."""
        own = self._cameras.get(camera)
        return (self.total,) if own is None else (self.total, own)

    def reports(self) -> dict[str, CounterReport]:
        """Snapshot of each camera, in the order of `use`."""
        return {camera: counters.report() for camera, counters in self._cameras.items()}


def _percentile(samples: deque[float], percent: float) -> float | None:
    return float(np.percentile(samples, percent)) if samples else None
