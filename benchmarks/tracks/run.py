"""Plays films to all methods at once, so that each frame is rendered a single time."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.tracks.detector import Late, Look
from benchmarks.tracks.films import Film
from benchmarks.tracks.methods import Best, Hold, Method, Ours, Velocity
from benchmarks.tracks.score import FilmScore, figures

METHODS: dict[str, Callable[[float], Method]] = {
    "hold": lambda step_s: Hold(),
    "velocity": lambda step_s: Velocity(),
    "ours": Ours,
    "best": lambda step_s: Best(),
}


Played = dict[tuple[float, str], tuple[Method, FilmScore]]


def play(film: Film, detectors: Mapping[float, Late], methods: Sequence[str], step_s: float) -> Played:
    """Run one film under every method; detectors by their delay. Tells method and score by delay and name."""
    runs = {(delay_s, name): (METHODS[name](step_s), FilmScore()) for delay_s in detectors for name in methods}
    answered: set[float] = set()
    for shot in film.shots():
        truth = [(true.id, true.xyxy) for true in shot.truth]
        for delay_s, detector in detectors.items():
            for arrival in detector.until(shot.frame.received_s):
                answered.add(delay_s)
                for name in methods:
                    runs[delay_s, name][0].answer(arrival)
            detector.see(shot)
            for name in methods:
                method, score = runs[delay_s, name]
                published = method.frame(shot)
                # Before the first answer nobody can know anything.
                if delay_s in answered:
                    score.add(truth, published)
    return runs


@dataclass(frozen=True, slots=True)
class Plan:
    """What is played.

    Attributes:
        objects: How many move in a film.
        delays_s: From question to answer.
        seeds: Films of each kind and number.
        seconds: How long a film is.
        step_s: What a step of a catch-up is taken to last.
    """

    objects: Sequence[int]
    delays_s: Sequence[float]
    seeds: Sequence[int]
    seconds: float
    step_s: float


def rendered(
    kinds: Sequence[str], plan: Plan, methods: Sequence[str], detector: str, look: Callable[[int], Look]
) -> list[dict[str, Any]]:
    """Measure on rendered films; one row for each kind of film, number of objects, delay and method.

    Args:
        kinds: Kinds of films.
        plan: What is played.
        methods: Names of methods.
        detector: Its name in the rows.
        look: Makes the detector's eye for a film's seed.
    """
    rows = []
    for kind in kinds:
        for count in plan.objects:
            played = [
                play(
                    Film(kind, count, seed, plan.seconds),
                    {delay_s: Late(delay_s, look(seed)) for delay_s in plan.delays_s},
                    methods,
                    plan.step_s,
                )
                for seed in plan.seeds
            ]
            for delay_s in plan.delays_s:
                for name in methods:
                    runs = [run[delay_s, name] for run in played]
                    rows.append(
                        {"film": kind, "detector": detector, "objects": count, "delay_s": delay_s, "method": name}
                        | figures([score for _, score in runs])
                        | _cost([method for method, _ in runs])
                    )
    return rows


def _cost(methods: Sequence[Method]) -> dict[str, float | None]:
    ours = [method for method in methods if isinstance(method, Ours)]
    frames = [took for method in ours for took in method.advance_ms]
    steps = [took for method in ours for took in method.step_ms]
    whole = [took for method in ours for took in method.catch_up_ms]
    return {
        "ms_per_frame": round(statistics.median(frames), 2) if frames else None,
        "ms_per_frame_p95": round(float(np.percentile(frames, 95)), 2) if frames else None,
        "catch_up_ms": round(statistics.median(whole), 1) if whole else None,
        "catch_up_step_ms": round(statistics.median(steps), 2) if steps else None,
    }
