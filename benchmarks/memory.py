"""What the memory of places costs, and what a kill takes from it: `python -m benchmarks.memory`.

A memory is filled with things 1 m apart, each with a picture of 6 kB, in glances of 20; then every glance comes again,
and things are looked up by words. `lost` counts, over processes that were killed (SIGKILL) while they wrote glance upon
glance, those glances that were written before the kill and are not in the file.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from benchmarks.report import print_table, write_json
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.types import Prompt
from vlm_perception.world.memory import Memory
from vlm_perception.world.memory_file import MemoryReader
from vlm_perception.world.remembered import Glance, PlacedObject

COLOURS = ("red", "green", "blue", "white", "black", "yellow", "small", "large", "broken", "open")
THINGS = ("cup", "chair", "box", "person", "door", "bottle", "shelf", "cart", "lamp", "plant")
IN_A_GLANCE = 20
PICTURE_BYTES = 6_000
WRITES = 100
_Given = TypeVar("_Given")


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one size of memory; medians, milliseconds.

    Attributes:
        objects: How many things.
        find_ms: A look-up by words, processor time.
        glance_ms: A glance of things that are known, with the flush of the disk, by the wall clock.
        glance_cpu_ms: The same, processor time.
        file_mb: With a picture of each thing.
        file_mb_without_pictures: The same things without.
    """

    objects: int
    find_ms: float
    glance_ms: float
    glance_cpu_ms: float
    file_mb: float
    file_mb_without_pictures: float


@dataclass(frozen=True, slots=True)
class Took:
    """What one call took, milliseconds of the wall clock and of this thread."""

    wall_ms: float
    cpu_ms: float


@dataclass(frozen=True, slots=True)
class Killed:
    """One process that was killed.

    Attributes:
        told: Glances that it had written by then, as it said.
        remembered: Those that are in the file.
    """

    told: int
    remembered: int

    @property
    def lost(self) -> int:
        """How many are missing; one more than was told is there where the kill came between writing and telling."""
        return max(0, self.told - self.remembered)


def thing(number: int, picture: bytes | None) -> PlacedObject:
    """Return the find of a thing at a place of its own."""
    label = f"{COLOURS[number % 10]} {THINGS[number // 10 % 10]}"
    return PlacedObject(label, (number % 40 * 1.0, number // 40 * 1.0, 0.5), (0.2, 0.2, 0.2), 0.8, picture)


def glance(prompt: Prompt, number: int, *objects: PlacedObject) -> Glance:
    """Return a glance that sees nothing but these."""
    return Glance("map", (number + 1) * 10**9, "/image", prompt, objects, lambda place: False)


def fill(memory: Memory, objects: int, picture_bytes: int, start: int = 0) -> list[Took]:
    """Show a memory so many things, and return what each glance took."""
    prompt, rng, took = build_prompt("all objects"), random.Random(start), []
    for first in range(0, objects, IN_A_GLANCE):
        numbers = range(first, min(first + IN_A_GLANCE, objects))
        found = [thing(number, rng.randbytes(picture_bytes) if picture_bytes else None) for number in numbers]
        took.append(_timed(memory.look, glance(prompt, start + first, *found)))
    return took


def costs(objects: int, folder: Path) -> Costs:
    """Measure a memory of so many things."""
    sizes_mb = []
    for picture_bytes in (0, PICTURE_BYTES):
        memory = Memory(folder / f"{picture_bytes}.db", max_objects=objects)
        fill(memory, objects, picture_bytes)
        glances = fill(memory, objects, picture_bytes, start=objects)
        finds = [_timed(memory.find, words) for words in (*THINGS, "the red cups", "elephant") * 3]
        assert len(memory.objects()) == objects
        memory.close()
        sizes_mb.append(round(memory.path.stat().st_size / 1e6, 2))
    find_ms = _median([each.cpu_ms for each in finds])
    glance_ms, glance_cpu_ms = _median([each.wall_ms for each in glances]), _median([each.cpu_ms for each in glances])
    return Costs(objects, find_ms, glance_ms, glance_cpu_ms, file_mb=sizes_mb[1], file_mb_without_pictures=sizes_mb[0])


def kill_while_writing(path: Path, after: int) -> Killed:
    """Start a process that writes glances of one new thing each, and kill it when it has told of so many."""
    before = len(Memory(path).objects()) if path.exists() else 0
    command = [sys.executable, "-m", "benchmarks.memory", "--write", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(after)]
        process.kill()
        told += process.stdout.readlines()
    reader = MemoryReader(path)
    remembered = len(reader.objects()) - before
    reader.close()
    # A last line without its end was not told.
    return Killed(sum(line.endswith("\n") for line in told), remembered)


def write_until_killed(path: Path) -> None:
    """Write glance after glance, and tell of each when it is written."""
    memory, prompt = Memory(path, max_objects=100_000), build_prompt("cup")
    for number in count(len(memory.objects())):
        memory.look(glance(prompt, number, PlacedObject("cup", (number * 1.0, 0.0, 0.0), (0.1, 0.1, 0.1), 0.8)))
        print(number, flush=True)


def _timed(work: Callable[[_Given], object], given: _Given) -> Took:
    wall_s, cpu_s = time.perf_counter(), time.thread_time()
    work(given)
    return Took((time.perf_counter() - wall_s) * 1e3, (time.thread_time() - cpu_s) * 1e3)


def _median(values: list[float]) -> float:
    return round(statistics.median(values), 2)


def main() -> int:
    """Measure, print the tables and write build/benchmarks/memory.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--objects", type=int, nargs="*", default=[100, 1000], help="sizes of memories")
    parser.add_argument("--kills", type=int, default=20, help="processes that are killed within 100 writes")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args()
    if options.write:
        write_until_killed(options.write)
    rng = random.Random(1)
    with TemporaryDirectory() as name:
        folder = Path(name)
        rows = []
        for objects in options.objects:
            (folder / str(objects)).mkdir()
            rows.append(asdict(costs(objects, folder / str(objects))))
        killed = [
            kill_while_writing(folder / f"killed_{number}.db", rng.randint(1, WRITES))
            for number in range(options.kills)
        ]
    print_table(rows)
    told, lost = sum(each.told for each in killed), sum(each.lost for each in killed)
    kills = {"kills": len(killed), "glances_told": told, "lost": lost}
    print_table([kills])
    write_json("memory", {"costs": rows, **kills, "killed": [asdict(each) for each in killed]}, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
