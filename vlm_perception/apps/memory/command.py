"""`vlm-perception-memory`: lists, exports and clears what a node remembers, also while it runs. No ROS needed.

Exit codes: 0 done; 1 nothing is called so; 2 wrong usage, or a file that cannot be read or written; 130 after Ctrl-C;
141 when nobody reads the output.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TextIO

from vlm_perception import __version__
from vlm_perception.apps.batch_command import run_batch
from vlm_perception.apps.memory.exports import EXPORTS, as_table
from vlm_perception.frames.whole_files import make_folder, whole_file
from vlm_perception.world.memory_file import MemoryReader, MemoryWriter
from vlm_perception.world.names import called, none_called
from vlm_perception.world.remembered import RememberedObject

PROGRAM = "vlm-perception-memory"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        The exit code; see the module's docstring.
    """
    made = parser()
    options = made.parse_args(argv)
    if options.work is _clear and not (options.all or options.words or options.not_seen_for_h is not None):
        made.error("clear forgets for ever: say what, or --all")
    return run_batch(PROGRAM, lambda stdout: _run(options, stdout))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog=PROGRAM, description="Show, export or clear what a node remembers.")
    made.add_argument("file", type=Path, metavar="FILE", help="the node's memory_file")
    made.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    verbs = made.add_subparsers(title="what to do", required=True, metavar="{list,export,clear}")
    for name, work, text in (
        ("list", _list, "print a table, surest first"),
        ("export", _export, "write GeoJSON or CSV"),
        ("clear", _clear, "forget things, with their pictures"),
    ):
        verb = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        verb.set_defaults(work=work)
        verb.add_argument("words", nargs="?", metavar="WORDS", help="only what is called so, such as 'red cups'")
        verb.add_argument(
            "--not-seen-for-h", type=_hours, metavar="HOURS", help="only what was not seen in the last HOURS"
        )
        if work is _export:
            verb.add_argument("--format", choices=EXPORTS, default="geojson", help="default: %(default)s")
            verb.add_argument("-o", "--output", type=Path, metavar="PATH", help="file to write (default: stdout)")
            verb.add_argument("--cutouts", type=Path, metavar="FOLDER", help="write the pictures there, ID.jpg")
        if work is _clear:
            verb.add_argument("--all", action="store_true", help="forget everything")
    return made


def _hours(text: str) -> float:
    value = float(text)
    if not 0.0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is no number of hours: give 0 to 1000000")
    return value


def _run(options: argparse.Namespace, stdout: TextIO) -> int:
    with closing(MemoryReader(options.file)) as memory:
        things = memory.objects()
        chosen = things if options.words is None else called(things, options.words)
        if options.not_seen_for_h is not None:
            before_ns = time.time_ns() - round(options.not_seen_for_h * 3600e9)
            chosen = tuple(thing for thing in chosen if thing.last_seen_ns < before_ns)
        if options.words is not None and not chosen:
            _say(none_called(things, options.words))
        options.work(options, memory, chosen, stdout)
    return 0 if chosen or options.words is None else 1


def _list(
    options: argparse.Namespace, memory: MemoryReader, things: tuple[RememberedObject, ...], stdout: TextIO
) -> None:
    stdout.write(as_table(things))
    stdout.flush()


def _export(
    options: argparse.Namespace, memory: MemoryReader, things: tuple[RememberedObject, ...], stdout: TextIO
) -> None:
    pictures = {} if options.cutouts is None else _write_cutouts(memory, things, options.cutouts)
    text = EXPORTS[options.format](things, pictures)
    if options.output is None:
        stdout.write(text)
        stdout.flush()
        return
    make_folder(options.output.absolute().parent)
    with whole_file(options.output) as part:
        part.write_bytes(text.encode("utf-8"))
    _say(f"wrote {len(things)} things to {options.output}")


def _write_cutouts(memory: MemoryReader, things: tuple[RememberedObject, ...], folder: Path) -> dict[int, str]:
    """Write the pictures there are, and return where each is."""
    make_folder(folder)
    written = {}
    for thing in things:
        # Another program may have cleared it by now.
        if (jpeg := memory.cutout(thing.id)) is not None:
            path = folder / f"{thing.id}.jpg"
            with whole_file(path) as part:
                part.write_bytes(jpeg)
            written[thing.id] = str(path)
    return written


def _clear(
    options: argparse.Namespace, memory: MemoryReader, things: tuple[RememberedObject, ...], stdout: TextIO
) -> None:
    with closing(MemoryWriter(memory.path)) as writer:
        count = writer.forget(thing.id for thing in things)
    _say(f"forgot {count} of {len(things)} things")


def _say(text: str) -> None:
    print(f"{PROGRAM}: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
