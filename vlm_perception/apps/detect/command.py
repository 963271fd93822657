"""`vlm-detect`: ask about images, videos and bags from the command line. No ROS needed.

Exit codes: 0 all answered, also when nothing was found; 1 some inputs failed, the others are done;
2 wrong usage, or the model or a place to write to cannot be used; 130 after Ctrl-C, 143 after
SIGTERM, with what was done kept; 141 when nobody reads the output any more.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from vlm_perception import __version__
from vlm_perception.apps.batch_command import run_batch
from vlm_perception.apps.options import add_parameters, settings_of, whole
from vlm_perception.engines.base import Engine
from vlm_perception.engines.factory import make_engine
from vlm_perception.errors import OutputError, SettingsError
from vlm_perception.settings import Settings

if TYPE_CHECKING:
    from vlm_perception.apps.detect.exports.bag import ResultBag
    from vlm_perception.apps.detect.exports.base import Export
    from vlm_perception.apps.detect.exports.jsonl import JsonLines
    from vlm_perception.apps.detect.inputs import DepthBeside
    from vlm_perception.frames.videos import Thinning
    from vlm_perception.types import Prompt

MakeEngine = Callable[[Settings], Engine]
FORMATS = ("jsonl", "coco", "yolo")
STDOUT = (None, "-")
# Parameters of the node that mean the same here; types, defaults, limits and texts stand in settings.py.
SHARED = (
    "model", "device", "dtype", "quantize", "task", "min_pixels", "max_pixels", "max_new_tokens", "score_threshold",
    "prompts_file", "zoom", "served_model", "model_family", "server_key_file", "watch_rate_hz", "watch_max_pixels",
)  # fmt: skip
# What --compare may replace; films as a whole are not compared.
COMPARED = tuple(name for name in SHARED if not name.startswith("watch_"))
# The same, for bags.
OF_BAGS = ("depth_tolerance_s", "target_frame", "tracking", "lost_after_s")


def main(argv: Sequence[str] | None = None, make: MakeEngine | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments without the program's name; None takes those of the process.
        make: Makes the engine for some settings, not loaded; None makes the one that they ask for.

    Returns:
        The exit code; see the module's docstring.
    """
    arguments = parser()
    options = arguments.parse_args(argv)
    if options.prompt is None and not options.compare:
        arguments.error("the following arguments are required: -p/--prompt")
    return run_batch("vlm-detect", lambda stdout: _detect(options, stdout, make or _quiet_engine))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="vlm-detect",
        description="Find what you say in images, videos and ROS 2 bags with Qwen2.5-VL.",
        epilog="Exit codes: 0 all answered, 1 some inputs failed, 2 wrong usage or unusable model or output.",
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="image, folder, pattern ('photos/**/*.jpg'), video or ROS 2 bag"
    )
    parser.add_argument("-p", "--prompt", metavar="TEXT", help="what to find, such as 'red cup; person'")
    add_parameters(parser, SHARED)
    parser.add_argument("-f", "--format", choices=FORMATS, default="jsonl", help="of the results (default: jsonl)")
    parser.add_argument(
        "-o", "--output", metavar="PATH", help="file for jsonl and coco (default: stdout), folder for yolo"
    )
    parser.add_argument("--annotated", type=Path, metavar="FOLDER", help="also draw annotated images and videos there")
    parser.add_argument("--frames", type=Path, metavar="FOLDER", help="also keep the answered frames of videos there")
    parser.add_argument(
        "--output-bag", type=Path, metavar="FOLDER", help="also write results about bags as a bag there"
    )
    parser.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="'MODEL NAME=VALUE ...'",
        help="instead, compare the answers of several, each given like this: options of this command that are its own, "
        "prompt=TEXT too; a table, --output (default: comparison.json) and a contact sheet beside it",
    )
    parser.add_argument("--stream", action="store_true", help="also print each object once it is complete (jsonl)")
    thin = parser.add_mutually_exclusive_group()
    thin.add_argument(
        "--every",
        type=_every,
        default=1,
        metavar="N",
        help="ask about every Nth frame of a video or bag, or one each so many seconds (0.5s)",
    )
    thin.add_argument("--rate", type=_positive, metavar="HZ", help="ask about at most so many frames a second of it")
    parser.add_argument("--max-frames", type=whole, metavar="N", help="ask about at most N frames of each video")
    parser.add_argument("--topic", default="", metavar="NAME", help="camera in bags that hold several")
    parser.add_argument(
        "--depth-topic", default="", metavar="NAME", help="its depth in bags, aligned, for places in space"
    )
    add_parameters(parser, OF_BAGS)
    parser.add_argument("--fail-fast", action="store_true", help="stop at the first input that fails")
    parser.add_argument("-q", "--quiet", action="store_true", help="only failures on stderr")
    parser.add_argument("--version", action="version", version=f"vlm-detect {__version__}")
    return parser


def _every(text: str) -> int | float:
    """Read a number of frames, or a time, seconds, as a float."""
    number = text.removesuffix("s")
    try:
        return whole(text) if number == text else _positive(number)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number nor a time such as 0.5s") from None


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0: give a number such as 2.5")
    return value


def _detect(options: argparse.Namespace, stdout: TextIO, make: MakeEngine) -> int:
    # Imported late: --help and wrong arguments need not wait for the drawing and video libraries.
    from vlm_perception.apps.detect.idle_options import idle_for_files, idle_parameters
    from vlm_perception.apps.detect.inputs import expected_count, find_inputs, read_pictures
    from vlm_perception.apps.detect.run import detect_all
    from vlm_perception.apps.detect.terminal import Terminal
    from vlm_perception.frames.film_clip import FilmSampling
    from vlm_perception.prompts.builder import load_prompts
    from vlm_perception.types import Task

    terminal, thinning = Terminal(options.quiet), _thinning(options)
    if options.compare:
        from vlm_perception.apps.detect.compare.run import compare

        return compare(options, COMPARED, thinning, terminal, stdout, make)
    settings = settings_of(options, SHARED + OF_BAGS)
    depth = _depth(options.depth_topic, settings)
    prompt = load_prompts(settings.prompts_file).build(options.prompt, settings.task)
    watching = None
    if prompt.task is Task.WATCH:
        if depth is not None:
            given = "--depth-topic, --target-frame" if depth.target_frame else "--depth-topic"
            raise SettingsError(f"a film that is asked about as a whole has no places in space: leave {given} out")
        if thinning.every != 1:
            raise SettingsError(
                f"a film that is asked about as a whole is seen at so many frames a second, whatever its own: give "
                f"--rate HZ or --every {thinning.every}s instead of --every {thinning.every}"
            )
        watching = FilmSampling.of(settings, thinning.rate_hz, options.max_frames)
    found = find_inputs(options.inputs)
    exports, lines = _exports(options, stdout, prompt, found.files)
    if (results := _result_bag(options.output_bag, prompt, settings)) is not None:
        exports.append(results)
    on_between = results.carry if results is not None and settings.tracking == "camera_rate" else None
    pictures = read_pictures(found.files, thinning, terminal.note, watching, options.topic, depth, on_between)
    idle = chain(idle_for_files(options, found.files), idle_parameters(options, prompt, settings))
    for note in chain(found.notes, idle):
        terminal.note(note)
    if prompt.neutralised:
        terminal.note(f"{prompt.neutralised} chat control tokens in the prompt were made harmless")
    lines_seen = options.format == "jsonl" and options.output in STDOUT and stdout.isatty()
    tally = detect_all(
        make(settings),
        chain(found.failures, pictures),
        prompt, settings, exports, terminal,
        bar=terminal.bar(
            lambda: expected_count(found.files, thinning, whole=watching is not None, topic=options.topic),
            stdout_shows_progress=lines_seen,
        ),
        on_partial=lines.add_partial if lines and options.stream else None,
        on_failure=lines.fail if lines else None, fail_fast=options.fail_fast,
    )  # fmt: skip
    terminal.note(f"{tally.answered} answered, {tally.objects} objects, {tally.failed} failed")
    return tally.exit_code


def _thinning(options: argparse.Namespace) -> Thinning:
    from vlm_perception.frames.videos import Thinning

    if isinstance(options.every, float):
        return Thinning(1, 1.0 / options.every, options.max_frames)
    return Thinning(options.every, options.rate, options.max_frames)


def _depth(topic: str, settings: Settings) -> DepthBeside | None:
    from vlm_perception.apps.detect.inputs import DepthBeside

    if topic:
        return DepthBeside(topic, settings.depth_tolerance_s, settings.target_frame)
    if settings.target_frame:
        raise SettingsError(f"--target-frame {settings.target_frame} needs depth: name its topic with --depth-topic")
    return None


def _exports(
    options: argparse.Namespace, stdout: TextIO, prompt: Prompt, files: tuple[Path, ...]
) -> tuple[list[Export], JsonLines | None]:
    """Make what was asked for, and find out now where nothing can be written."""
    from vlm_perception.apps.detect.exports.annotated import AnnotatedFiles
    from vlm_perception.apps.detect.exports.base import FrameFiles
    from vlm_perception.apps.detect.exports.datasets import CocoFile, YoloFolder
    from vlm_perception.apps.detect.exports.jsonl import JsonLines

    if options.stream and options.format != "jsonl":
        raise OutputError(f"--stream prints JSON lines, --format is {options.format}: leave one of them out")
    if options.format == "yolo" and options.output in STDOUT:
        raise OutputError("--format yolo writes a folder: name it with --output FOLDER")
    target: TextIO | Path = stdout if options.output in STDOUT else Path(options.output).expanduser()
    if target is stdout and isinstance(stdout, TextIOWrapper):
        # JSON is UTF-8, whatever the locale says.
        stdout.reconfigure(encoding="utf-8")
    frames = FrameFiles(options.frames) if options.frames else None
    exports: list[Export] = [frames] if frames else []
    lines = None
    if options.format == "jsonl":
        lines = JsonLines(target)
        exports.append(lines)
    elif options.format == "coco":
        exports.append(CocoFile(target, prompt, frames))
    else:
        exports.append(YoloFolder(Path(options.output).expanduser(), prompt))
    if options.annotated:
        exports.append(AnnotatedFiles(options.annotated, files))
    return exports, lines


def _result_bag(folder: Path | None, prompt: Prompt, settings: Settings) -> ResultBag | None:
    if folder is None:
        return None
    # Imported late: rosbags takes a second.
    from vlm_perception.apps.detect.bag_tracks import BagTracks
    from vlm_perception.apps.detect.exports.bag import ResultBag

    tracks = None if settings.tracking == "off" else BagTracks(prompt, settings.lost_after_s)
    return ResultBag(folder.expanduser(), tracks, every_frame=settings.tracking == "camera_rate")


def _quiet_engine(settings: Settings) -> Engine:
    from vlm_perception.apps.detect.terminal import PROGRAM
    from vlm_perception.apps.quiet import silence_libraries

    silence_libraries(PROGRAM, progress=sys.stderr.isatty())
    return make_engine(lambda: settings)


if __name__ == "__main__":
    sys.exit(main())
