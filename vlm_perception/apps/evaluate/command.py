"""`vlm-perception-evaluate`: how good a model is on pictures whose truth is known. No ROS needed.

Exit codes: 0 all asked; 1 some images or questions failed, the others are in the figures; 2 wrong usage, or the data,
the model or the output cannot be used; 130 after Ctrl-C and 143 after SIGTERM, with the figures of what was answered;
141 when nobody reads the output.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from vlm_perception import __version__
from vlm_perception.apps.batch_command import run_batch
from vlm_perception.apps.evaluate.questions import Dataset
from vlm_perception.apps.options import add_parameters, settings_of, whole
from vlm_perception.engines.base import Engine
from vlm_perception.engines.factory import make_engine
from vlm_perception.errors import DatasetError, OutputError
from vlm_perception.settings import Settings

PROGRAM = "vlm-perception-evaluate"
FORMATS = ("coco", "refcoco", "truth-bag")
# Options that mean something for some formats alone.
_OPTIONS_OF = {
    "coco": ("images", "absent"),
    "refcoco": ("images", "split"),
    "truth-bag": ("topic", "truth_topic", "absent"),
}
SHARED = (
    "model", "device", "dtype", "quantize", "task", "min_pixels", "max_pixels", "max_new_tokens", "score_threshold",
    "prompts_file", "zoom", "served_model", "model_family", "server_key_file",
)  # fmt: skip
MakeEngine = Callable[[Settings], Engine]
_SIGNALLED = 128


def main(argv: Sequence[str] | None = None, make: MakeEngine | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments without the program's name; None takes those of the process.
        make: Makes the engine for some settings, not loaded; None makes the one that they ask for.

    Returns:
        The exit code; see the module's docstring.
    """
    options = parser().parse_args(argv)
    return run_batch(PROGRAM, lambda stdout: _evaluate(options, stdout, make or _quiet_engine))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog=PROGRAM, description="Compare a model's answers with the truth.")
    made.add_argument(
        "data",
        type=Path,
        metavar="DATA",
        help="annotations: COCO's JSON, or RefCOCO's refs(NAME).json beside instances.json; or a ROS 2 bag with images "
        "and their truth",
    )
    made.add_argument("--format", choices=FORMATS, help="of DATA (default: what it looks like)")
    made.add_argument("--images", type=Path, metavar="FOLDER", help="of the images (default: that of DATA)")
    made.add_argument("--topic", default="", metavar="NAME", help="camera in a bag that holds several")
    made.add_argument(
        "--truth-topic",
        default="",
        metavar="NAME",
        help="vision_msgs/Detection2DArray in a bag that holds several, under the stamps of the images",
    )
    made.add_argument("--split", help="of RefCOCO (default: val)")
    made.add_argument(
        "--absent",
        type=_count,
        metavar="N",
        help="also ask each image of COCO or a bag for N categories that it does not have; COCO's own mAP needs all of "
        "them, so a large number (default: 1)",
    )
    made.add_argument("--max-images", type=whole, metavar="N", help="ask about the first N images alone")
    made.add_argument(
        "-o", "--output", type=Path, default=Path("evaluation.json"), metavar="PATH", help="JSON file (%(default)s)"
    )
    add_parameters(made, SHARED)
    made.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    return made


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0: give 0 or a whole number above")
    return value


def _evaluate(options: argparse.Namespace, stdout: TextIO, make: MakeEngine) -> int:
    # Imported late: --help and wrong arguments need not wait for the libraries of images and measures.
    from tqdm import tqdm

    from vlm_perception.apps.evaluate.asking import ask_all
    from vlm_perception.apps.evaluate.measures import Answered, by_label, overall
    from vlm_perception.apps.evaluate.report import label_table, overall_table
    from vlm_perception.apps.stop_signals import StopSignals
    from vlm_perception.prompts.builder import load_prompts

    settings = settings_of(options, SHARED)
    prompts = load_prompts(settings.prompts_file)
    data = _read(options)
    for note in data.notes:
        _say(note)
    if not data.count:
        raise DatasetError(f"{options.data} has nothing to ask about: name a file with boxes, or raise --absent")
    _check_writable(options.output)
    engine, failed, answers = make(settings), list[str](), list[Answered]()
    count = min(data.count, options.max_images or data.count)
    bar = tqdm(total=count, unit="image", file=sys.stderr, disable=not sys.stderr.isatty(), dynamic_ncols=True)

    def on_failure(text: str) -> None:
        failed.append(text)
        bar.write(f"{PROGRAM}: {' '.join(text.split())}", file=sys.stderr)

    with closing(engine), bar, StopSignals() as stop:
        engine.load()
        answers += ask_all(
            engine,
            islice(data.sheets, count),
            prompts,
            settings,
            should_stop=stop.told,
            on_failure=on_failure,
            on_step=bar.update,
        )
    figures, labels = overall(answers), by_label(answers)
    summary: dict[str, Any] = {
        "data": str(options.data),
        "model": settings.model,
        "images": len({answer.sheet for answer in answers}),
        "failed": len(failed),
        "complete": stop.received is None,
        "figures": figures,
        "labels": labels,
    }
    _write(options.output, summary)
    report = [overall_table(figures), *([label_table(labels)] if labels else [])]
    report.append(f"{summary['images']} images, {len(answers)} questions, {len(failed)} failed; wrote {options.output}")
    print("\n\n".join(report), file=stdout, flush=True)
    return _SIGNALLED + stop.received if stop.received is not None else 1 if failed else 0


def _read(options: argparse.Namespace) -> Dataset:
    from vlm_perception.apps.evaluate.coco import read_coco
    from vlm_perception.apps.evaluate.refcoco import read_refcoco

    images, absent = options.images or options.data.parent, 1 if options.absent is None else options.absent
    format_ = options.format or _looks_like(options.data)
    _refuse_options_of_others(options, format_)
    if format_ == "truth-bag":
        # Imported late: rosbags takes a second, and only bags need it.
        from vlm_perception.apps.evaluate.truth_bag import read_truth_bag

        return read_truth_bag(options.data, options.topic, options.truth_topic, absent, _say)
    if format_ == "refcoco":
        return read_refcoco(options.data, images, options.split or "val")
    return read_coco(options.data, images, absent)


def _looks_like(data: Path) -> str:
    """Name the format of what was given."""
    from vlm_perception.apps.evaluate.json_files import is_list
    from vlm_perception.frames.bag_files import is_bag

    return "truth-bag" if is_bag(data) else "refcoco" if is_list(data) else "coco"


def _refuse_options_of_others(options: argparse.Namespace, format_: str) -> None:
    others = dict.fromkeys(name for names in _OPTIONS_OF.values() for name in names if name not in _OPTIONS_OF[format_])
    if given := [f"--{name.replace('_', '-')}" for name in others if getattr(options, name) not in (None, "")]:
        raise DatasetError(
            f"{options.data} is read as {format_}, where they mean nothing: leave {', '.join(given)} out"
        )


def _check_writable(path: Path) -> None:
    """Find out before hours of asking."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a").close()
    except OSError as error:
        raise _unwritable(path, error) from error


def _write(path: Path, summary: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path} cannot be written: {error.strerror}; name another file with --output")


def _quiet_engine(settings: Settings) -> Engine:
    from vlm_perception.apps.quiet import silence_libraries

    silence_libraries(PROGRAM, progress=sys.stderr.isatty())
    return make_engine(lambda: settings)


def _say(text: str) -> None:
    print(f"{PROGRAM}: {' '.join(text.split())}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
