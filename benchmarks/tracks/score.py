"""Judges what was published with each frame against the truth of that frame."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from benchmarks.tracks.methods import Published, iou_of
from vlm_perception.types import XYXY

NO_MEASURES = (
    "tracks: hota, idf1 and id switches are left out: the package trackers is not there. To have them, without the "
    "OpenCV that it would put over ours: pip install --no-deps --target build/trackers 'trackers>=2.6.1,<3', "
    "then PYTHONPATH=build/trackers python -m benchmarks.tracks"
)


def find_measures() -> Any:
    """The measures of the package `trackers`; None where it is not."""
    try:
        return importlib.import_module("trackers.eval")
    except ImportError:
        return None


class FilmScore:
    """All frames of one film under one method."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self.true_ids: list[NDArray[np.int64]] = []
        self.ids: list[NDArray[np.int64]] = []
        self.alike: list[NDArray[np.float64]] = []
        self.iou_sum = 0.0
        self.boxes = 0

    def add(self, truth: Sequence[tuple[int, XYXY]], published: Published) -> None:
        """Judge one frame."""
        alike = iou_of([box for _, box in truth], [box for _, box in published])
        rows, columns = linear_sum_assignment(alike, maximize=True)
        self.iou_sum += float(alike[rows, columns].sum())
        self.boxes += len(truth)
        self.true_ids.append(np.array([each for each, _ in truth], np.int64))
        self.ids.append(np.array([self._names.setdefault(name, len(self._names)) for name, _ in published], np.int64))
        self.alike.append(alike)


def figures(films: Sequence[FilmScore]) -> dict[str, float | None]:
    """Put several films' frames together: mean IoU over true objects (a miss counts 0), HOTA, IDF1, id switches."""
    boxes = sum(film.boxes for film in films)
    mean_iou = round(sum(film.iou_sum for film in films) / max(boxes, 1), 3)
    measures = find_measures()
    if measures is None:
        return {"boxes": boxes, "mean_iou": mean_iou, "hota": None, "idf1": None, "id_switches_per_1000": None}

    def whole(compute: Any, aggregate: Any) -> Any:
        return aggregate([compute(film.true_ids, film.ids, film.alike) for film in films])

    clear = whole(measures.compute_clear_metrics, measures.aggregate_clear_metrics)
    hota = whole(measures.compute_hota_metrics, measures.aggregate_hota_metrics)
    identity = whole(measures.compute_identity_metrics, measures.aggregate_identity_metrics)
    return {
        "boxes": boxes,
        "mean_iou": mean_iou,
        "hota": round(float(hota["HOTA"]), 3),
        "idf1": round(float(identity["IDF1"]), 3),
        "id_switches_per_1000": round(1000.0 * clear["IDSW"] / max(boxes, 1), 2),
    }
