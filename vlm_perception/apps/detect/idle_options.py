"""Options that were given and do nothing, so that nobody believes that they did."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from vlm_perception.engines.openai.address import is_url
from vlm_perception.frames.bag_files import is_bag
from vlm_perception.frames.files import is_video
from vlm_perception.settings import Settings
from vlm_perception.types import Prompt, Task


def idle_for_files(options: argparse.Namespace, files: Sequence[Path]) -> Iterator[str]:
    """Say which options of the command do nothing for some of the files, because these are of another kind."""
    belonging: tuple[tuple[str, object, str, Callable[[Path], bool]], ...] = (
        ("--topic", options.topic, "bags", is_bag),
        ("--depth-topic", options.depth_topic, "bags", is_bag),
        ("--every", options.every != 1, "videos and bags", _moves),
        ("--rate", options.rate, "videos and bags", _moves),
        ("--max-frames", options.max_frames, "videos and bags", _moves),
    )
    for name, is_given, kinds, fits in belonging:
        if is_given and (others := sum(not fits(path) for path in files)):
            yield f"{name} is of {kinds}, and {others} of {len(files)} inputs are none: it does nothing for these"


def idle_parameters(options: argparse.Namespace, prompt: Prompt, settings: Settings) -> Iterator[str]:
    """Say which parameters of the node do nothing, because what they belong to is not asked for."""
    is_served = is_url(settings.model)
    belonging: tuple[tuple[str, object, tuple[str, ...]], ...] = (
        ("a prompt such as 'watch: what happened?'", prompt.task is Task.WATCH, ("watch_rate_hz", "watch_max_pixels")),
        ("the URL of a server as --model", is_served, ("served_model", "model_family", "server_key_file")),
        ("a --model that runs here", not is_served, ("device", "dtype", "quantize")),
        ("--depth-topic", options.depth_topic, ("depth_tolerance_s",)),
        ("--output-bag", options.output_bag, ("tracking", "lost_after_s")),
    )
    for owner, is_there, names in belonging:
        for name in names:
            if name in options and not is_there:
                yield f"--{name.replace('_', '-')} is for {owner}: it does nothing here"


def _moves(path: Path) -> bool:
    return is_bag(path) or is_video(path)
