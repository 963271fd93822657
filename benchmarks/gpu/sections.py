"""Runs sections one after another, whatever becomes of one of them, and keeps the figures at each step."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.report import print_table, write_json

COLUMNS = ("model", "what", "method", "ms", "limit_ms", "identical", "note")
Row = dict[str, Any]


class Deadline:
    """When a section has to stop; loops ask it, so that what they have measured until then is kept.

    Args:
        budget_s: From now on.
    """

    def __init__(self, budget_s: float) -> None:
        self._end_s = time.monotonic() + budget_s

    @property
    def left_s(self) -> float:
        """Seconds until then; negative afterwards."""
        return self._end_s - time.monotonic()

    @property
    def over(self) -> bool:
        """Whether it has come."""
        return self.left_s <= 0


class Report:
    """What was measured so far; written anew after each section.

    Args:
        path: The JSON file.
        facts: Device and versions, for its head.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self._path, self._facts = path, facts
        self.rows: list[Row] = []
        self.sections: dict[str, dict[str, Any]] = {}
        self.aims: list[Row] = []

    def add(self, model: str, what: str, method: str, **figures: Any) -> None:
        """Add a row; `figures` are those of `COLUMNS` that are known."""
        row = dict.fromkeys(COLUMNS) | {"model": model, "what": what, "method": method} | figures
        self.rows.append({name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()})

    def skip(self, model: str, what: str, method: str, why: str) -> None:
        """Add a row for what cannot be measured here."""
        self.add(model, what, method, note=f"skipped: {why}")

    def ms(self, model: str, what: str, method: str) -> float | None:
        """Return what was measured, if it was."""
        wanted = model, what, method
        found = [row["ms"] for row in self.rows if (row["model"], row["what"], row["method"]) == wanted]
        return found[0] if found else None

    @property
    def failed(self) -> bool:
        """Whether a section has failed."""
        return any("error" in found for found in self.sections.values())

    def write(self) -> None:
        """Write the JSON."""
        figures = {**self._facts, "aims": self.aims, "sections": self.sections, "rows": self.rows}
        write_json("gpu", figures, self._path)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Something to measure.

    Attributes:
        name: In the table of sections.
        budget_s: It stops by then as far as it can, and is begun only if half of it is left.
        run: Measures, and adds rows.
    """

    name: str
    budget_s: float
    run: Callable[[Report, Deadline], None]


def run_all(
    sections: Sequence[Measurement], report: Report, total_s: float, finish: Callable[[Report], None]
) -> NoReturn:
    """Run sections; one that fails is printed, noted, and followed by the next one.

    At the end of the whole time the process ends itself, in the middle of a section if need be.

    Args:
        sections: In order of worth.
        report: Gets what they find.
        total_s: The whole time, seconds.
        finish: Called once at the end, with whatever was found.

    Raises:
        SystemExit: 0, or 1 when a section has failed.
    """
    whole = Deadline(total_s)
    lock, current = threading.Lock(), dict[str, Any]()

    def cut_off() -> None:
        with lock:
            current["skipped"] = f"cut off: {total_s:g} s in all are over"
            with suppress(Exception):
                finish(report)
            sys.stdout.flush()
            os._exit(report.failed)

    watchdog = threading.Timer(total_s, cut_off)
    watchdog.daemon = True
    watchdog.start()
    for section in sections:
        with lock:
            current = report.sections[section.name] = {}
        began_s = time.monotonic()
        left_s = whole.left_s
        if left_s < section.budget_s / 2:
            current["skipped"] = f"{left_s:.0f} s are left, it may take {section.budget_s:g} s"
        else:
            print(f"# {section.name}", flush=True)
            try:
                section.run(report, Deadline(min(section.budget_s, left_s)))
            except Exception as error:  # noqa: BLE001 - told, and the others shall be measured
                traceback.print_exc()
                current["error"] = f"{type(error).__name__}: {error}"[:2000]
        with lock:
            current["seconds"] = round(time.monotonic() - began_s, 1)
            report.write()
    with lock:
        watchdog.cancel()
        finish(report)
    raise SystemExit(report.failed)


def print_all(report: Report) -> None:
    """Print what there is."""
    if report.rows:
        print_table(report.rows)
    print()
    print_table(
        [
            {"section": name, **{key: found.get(key) for key in ("seconds", "skipped", "error")}}
            for name, found in report.sections.items()
        ]
    )
    if report.aims:
        print()
        print_table(report.aims)
