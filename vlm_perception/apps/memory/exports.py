"""What is remembered as a table for people, as GeoJSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from vlm_perception.apps.tables import table
from vlm_perception.world.remembered import RememberedObject

_COORDINATES = "x, y, z in metres in the frame frame_id, as in REP 103; not WGS 84"
_COLUMNS = (
    "id", "frame_id", "x_m", "y_m", "z_m", "size_x_m", "size_y_m", "size_z_m", "label", "phrase", "prompt", "belief",
    "best_score", "times_seen", "times_missed", "first_seen", "last_seen", "camera", "cutout",
)  # fmt: skip

# Id -> file of the picture.
Pictures = Mapping[int, str]
Export = Callable[[Sequence[RememberedObject], Pictures], str]


def as_table(things: Sequence[RememberedObject]) -> str:
    """One row a thing."""
    head = ("id", "label", "frame", "x_m", "y_m", "z_m", "belief", "seen", "missed", "last seen", "prompt")
    rows = [
        (
            str(thing.id),
            _printable(thing.label),
            _printable(thing.frame_id),
            *(f"{metres:.2f}" for metres in thing.position_m),
            f"{thing.belief:.2f}",
            str(thing.times_seen),
            str(thing.times_missed),
            utc(thing.last_seen_ns)[:19] + "Z",
            _printable(thing.prompt),
        )
        for thing in things
    ]
    return table(head, rows) + "\n"


def as_geojson(things: Sequence[RememberedObject], pictures: Pictures) -> str:
    """A FeatureCollection with foreign members that say what its coordinates are (RFC 7946, section 6.1)."""
    features = [
        {
            "type": "Feature",
            "id": thing.id,
            "geometry": {"type": "Point", "coordinates": thing.position_m},
            "properties": {**_facts(thing, pictures), "size_m": thing.size_m},
        }
        for thing in things
    ]
    frame_id = things[0].frame_id if things else None
    collection = {"type": "FeatureCollection", "frame_id": frame_id, "coordinates": _COORDINATES, "features": features}
    return json.dumps(collection, ensure_ascii=False, allow_nan=False, indent=2) + "\n"


def as_csv(things: Sequence[RememberedObject], pictures: Pictures) -> str:
    """One line a thing, under a line of names; an empty cell where something is not known (RFC 4180)."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _COLUMNS)
    writer.writeheader()
    for thing in things:
        places = dict(zip(_COLUMNS[2:8], (*thing.position_m, *thing.size_m), strict=True))
        writer.writerow({"id": thing.id, "frame_id": thing.frame_id, **places, **_facts(thing, pictures)})
    return text.getvalue()


def utc(time_ns: int) -> str:
    """Write a stamp to the nanosecond, in ISO 8601."""
    seconds, rest_ns = divmod(time_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S}.{rest_ns:09d}Z"


EXPORTS: Mapping[str, Export] = {"geojson": as_geojson, "csv": as_csv}


def _facts(thing: RememberedObject, pictures: Pictures) -> dict[str, Any]:
    return {
        "label": thing.label,
        "phrase": thing.phrase,
        "prompt": thing.prompt,
        "belief": thing.belief,
        "best_score": thing.best_score,
        "times_seen": thing.times_seen,
        "times_missed": thing.times_missed,
        "first_seen": utc(thing.first_seen_ns),
        "last_seen": utc(thing.last_seen_ns),
        "camera": thing.camera,
        "cutout": pictures.get(thing.id),
    }


def _printable(text: str) -> str:
    """Whatever a model wrote stays one cell, and tells a terminal nothing."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
