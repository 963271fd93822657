"""What is aimed at, beside what a run reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# By delay, seconds: mean IoU with up to 4 objects, and with more.
MEAN_IOU = {0.2: (0.92, 0.88), 0.5: (0.86, 0.82), 1.0: (0.82, 0.74), 2.0: (0.72, 0.60)}
SWITCHES_PER_1000 = (1.0, 2.0)
# By way, and frames later: mean IoU on real film.
REAL = {("on", 30): 0.85, ("back", 60): 0.90}
_FEW = 4


def beside_aims(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Put the rows of all films together by delay and method, for few and for many objects."""
    groups: dict[tuple[bool, float, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["objects"] > _FEW, row["delay_s"], row["method"]), []).append(row)
    return [
        {
            "objects": f"over {_FEW}" if many else f"up to {_FEW}",
            "delay_s": delay_s,
            "method": method,
            "mean_iou": _mean(group, "mean_iou", 3),
            "aim": MEAN_IOU.get(delay_s, (None, None))[many],
            "hota": _mean(group, "hota", 3),
            "idf1": _mean(group, "idf1", 3),
            "id_switches_per_1000": _mean(group, "id_switches_per_1000", 2),
            "at_most": SWITCHES_PER_1000[many],
        }
        for (many, delay_s, method), group in sorted(groups.items())
    ]


def _mean(rows: Sequence[Mapping[str, Any]], key: str, digits: int) -> float | None:
    """Weigh by how many true objects the frames of a row hold."""
    if any(row[key] is None for row in rows):
        return None
    whole: float = sum(row[key] * row["boxes"] for row in rows)
    boxes: int = sum(row["boxes"] for row in rows)
    return round(whole / boxes, digits)
