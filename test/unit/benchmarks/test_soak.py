"""The verdict of the soak benchmark: growth is told, breathing is not."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.soak import Sample, slope_per_hour, verdict


def samples(**grows_per_s: float) -> list[Sample]:
    rng = np.random.default_rng(1)
    return [
        Sample(
            at_s=float(second),
            rss_mb=900.0 + rng.normal(0, 3) + grows_per_s.get("rss_mb", 0.0) * second,
            threads=18 + int(grows_per_s.get("threads", 0.0) * second),
            files=20 + int(grows_per_s.get("files", 0.0) * second),
            answers=second,
            age_s=abs(0.2 + rng.normal(0, 0.05)) + grows_per_s.get("age_s", 0.0) * second,
        )
        for second in range(600)
    ]


def test_breathing_is_no_leak() -> None:
    assert verdict(samples())["leaks"] == []


@pytest.mark.parametrize(
    ("name", "per_s"), [("rss_mb", 0.1), ("threads", 0.02), ("files", 0.05), ("age_s", 0.003)], ids=str
)
def test_what_grows_is_named(name: str, per_s: float) -> None:
    assert verdict(samples(**{name: per_s}))["leaks"] == [name]


def test_an_outlier_is_no_slope() -> None:
    values = [1.0] * 100
    values[40] = 1e6
    assert slope_per_hour([float(i) for i in range(100)], values) == 0.0
