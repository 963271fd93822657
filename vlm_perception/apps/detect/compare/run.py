"""The way of `--compare`: every variant is asked about all pictures, then their answers are put side by side.

A model is loaded, asked about everything and freed before the next one comes, so that two of them need not fit into
memory together, and none is made faster by what another one left there: drafts, and images that it has read. Pictures
are read anew for each, which takes milliseconds, instead of being kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from typing import TextIO

from vlm_perception.apps.detect.compare.answers import Answers
from vlm_perception.apps.detect.compare.comparison import Comparison
from vlm_perception.apps.detect.compare.contact_sheet import MOST_ROWS, write_sheet
from vlm_perception.apps.detect.compare.variants import read_variants
from vlm_perception.apps.detect.idle_options import idle_for_files
from vlm_perception.apps.detect.inputs import (
    Failure,
    Picture,
    PictureId,
    expected_count,
    find_inputs,
    read_pictures,
)
from vlm_perception.apps.detect.run import detect_all
from vlm_perception.apps.detect.terminal import Terminal
from vlm_perception.engines.base import Engine
from vlm_perception.errors import EngineError, OutputError
from vlm_perception.frames.videos import Thinning
from vlm_perception.frames.whole_files import check_file, whole_file
from vlm_perception.replies.result_json import one_line
from vlm_perception.settings import Settings

DEFAULT_OUTPUT = "comparison.json"
_UNUSABLE = 2
# Options whose results have no place here.
_WITHOUT_A_PLACE = (
    "stream", "annotated", "frames", "output_bag", "depth_topic", "depth_tolerance_s", "target_frame", "tracking",
    "lost_after_s",
)  # fmt: skip


def compare(
    options: argparse.Namespace,
    names: Sequence[str],
    thinning: Thinning,
    terminal: Terminal,
    stdout: TextIO,
    make: Callable[[Settings], Engine],
) -> int:
    """Ask all variants, print a table, and write JSON and the contact sheet.

    Args:
        options: Of the command.
        names: Parameters that a variant may replace.
        thinning: Which frames of videos and bags are wanted.
        terminal: Told about progress and failures.
        stdout: For the table.
        make: Makes the engine for some settings, not loaded.

    Returns:
        The exit code; one that cannot be used does not end the others, but is 2.

    Raises:
        SettingsError: A variant cannot be used; no model was loaded.
        PromptError: The same.
        OutputError: A file cannot be written, or an option wants another output.
    """
    variants = read_variants(options, names)
    path, sheet = _targets(options)
    found = find_inputs(options.inputs)
    for note in (*found.notes, *idle_for_files(options, found.files)):
        terminal.note(note)
    asked, codes = [Answers(variant) for variant in variants], list[int]()
    try:
        for answers in asked:
            # What is noted of files is noted once.
            pictures = read_pictures(found.files, thinning, _ignore if codes else terminal.note, topic=options.topic)
            bar = terminal.bar(
                lambda: expected_count(found.files, thinning, topic=options.topic), stdout_shows_progress=False
            )
            codes.append(
                _ask(answers, make, chain(found.failures, pictures), terminal, bar, fail_fast=options.fail_fast)
            )
            if codes[-1] > _UNUSABLE or (options.fail_fast and codes[-1]):
                break
    finally:
        if any(answers.results for answers in asked):
            comparison = Comparison(asked, complete=len(codes) == len(asked) and max(codes) < _UNUSABLE)
            try:
                _write(path, comparison)
            finally:
                # Also where the disk is full: the figures took long.
                print(comparison.as_table(), file=stdout, flush=True)
            chosen = comparison.differing[:MOST_ROWS]
            again = _read_again(found.files, thinning, options.topic, chosen)
            for source, _ in (one for one in chosen if one not in again):
                terminal.note(f"{source} cannot be read any more: left out of {sheet}")
            write_sheet(sheet, comparison, again.values())
            said = f"{len(comparison.agreements)} pictures, {len(comparison.differing)} about which they differ"
            print(f"\n{said}; wrote {path} and {sheet}", file=stdout, flush=True)
    return max(codes)


def _ask(
    answers: Answers,
    make: Callable[[Settings], Engine],
    items: Iterator[Picture | Failure],
    terminal: Terminal,
    bar: AbstractContextManager[None],
    *,
    fail_fast: bool,
) -> int:
    """Ask one variant about everything and return the exit code that this alone would mean."""
    variant = answers.variant
    if variant.prompt.neutralised:
        terminal.note(f"{variant.title}: {variant.prompt.neutralised} chat control tokens were made harmless")
    try:
        tally = detect_all(
            make(variant.settings), items, variant.prompt, variant.settings, [answers], terminal,
            bar=bar, on_failure=answers.fail, fail_fast=fail_fast, who=f"{variant.letter}: ",
        )  # fmt: skip
    except EngineError as error:
        # The others are compared all the same: they may have worked for hours.
        answers.error = str(error)
        terminal.say(f"{variant.title}: {error}")
        return _UNUSABLE
    terminal.note(f"{variant.title}: {tally.answered} answered, {tally.objects} objects, {tally.failed} failed")
    return tally.exit_code


def _targets(options: argparse.Namespace) -> tuple[Path, Path]:
    """Say where to write JSON and sheet, and find out now where nothing can be written."""
    unfit = [f"--{name.replace('_', '-')}" for name in _WITHOUT_A_PLACE if getattr(options, name, None)]
    if options.format != "jsonl":
        unfit.append(f"--format {options.format}")
    if unfit:
        raise OutputError(f"--compare writes a table, JSON and a contact sheet: leave {', '.join(unfit)} out")
    path = Path(options.output or DEFAULT_OUTPUT).expanduser()
    sheet = path.with_suffix(".png")
    if options.output == "-" or sheet == path:
        raise OutputError(f"--compare writes JSON to --output, which is {options.output}: name a file such as a.json")
    check_file(path)
    check_file(sheet)
    return path, sheet


def _write(path: Path, comparison: Comparison) -> None:
    with whole_file(path) as part:
        part.write_text(one_line(comparison.as_json()) + "\n", encoding="utf-8")


def _read_again(
    files: Iterable[Path], thinning: Thinning, topic: str, chosen: Sequence[PictureId]
) -> dict[PictureId, Picture]:
    """Read some pictures once more, in the order in which they are wanted; one that is gone is not among them."""
    sources = {source for source, _ in chosen}
    items = read_pictures((file for file in files if str(file) in sources), thinning, _ignore, topic=topic)
    pictures = dict[PictureId, Picture]()
    for item in items:
        if isinstance(item, Picture) and item.id in chosen:
            pictures[item.id] = item
        if len(pictures) == len(chosen):
            break
    return {one: pictures[one] for one in chosen if one in pictures}


def _ignore(text: str) -> None:
    """Notes of files that were told before."""
