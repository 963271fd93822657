"""What stands in `~/prompt`: one prompt as plain text, or several as a JSON list.

    red cup
    ["red cup", "how many people are there?"]
    [{"id": "cup", "prompt": "red cup"}, {"id": "people", "prompt": "people", "task": "count"}]
    [{"prompt": "red cup", "region": "left half"}, {"prompt": "people", "region": [0, 200, 640, 480]}]

A list holds strings and objects with a `prompt`, and perhaps an `id`, a `task`, a `region` (words, or left, top,
right, bottom in pixels of the image) and a `zoom` (as the parameter); without an id a prompt is named by its place,
"1", "2", ... Whatever is no such list is one plain prompt, also when it begins with a bracket.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, get_args

from vlm_perception.errors import PromptError
from vlm_perception.prompts.builder import MAX_PROMPT_CHARS
from vlm_perception.prompts.regions import RegionGiven
from vlm_perception.types import Prompt, Task, Zoom

MAX_STANDING_PROMPTS = 16
MAX_ID_CHARS = 64
# Room for all prompts with every character escaped (\uXXXX) and the JSON around them; more is not even read.
MAX_LIST_CHARS = MAX_STANDING_PROMPTS * 6 * (MAX_PROMPT_CHARS + 200)

_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]*|[0-9]+")
_KEYS = ("id", "prompt", "task", "region", "zoom")

Build = Callable[[str, Task, RegionGiven], Prompt]


def parse_prompts(text: str, build: Build, task: Task = Task.AUTO) -> tuple[Prompt, ...]:
    """Read the standing prompts from what the user sent.

    Args:
        text: Plain text, which becomes one prompt with the id "", or a JSON list as above.
        build: Makes a prompt from text, task and region, as `PromptBook.build` does.
        task: Task of the prompts that name none themselves.

    Returns:
        The prompts in their order; none for blank text and for an empty list.

    Raises:
        PromptError: A prompt cannot be used, there are more than `MAX_STANDING_PROMPTS`, or an id is not
            letters, digits and underscores after a letter, or digits alone, or is there twice.
    """
    if not text.strip():
        return ()
    items = _listed(text)
    if items is None:
        return (build(text, task, ""),)
    if len(items) > MAX_STANDING_PROMPTS:
        raise PromptError(f"{len(items)} prompts at once, the limit is {MAX_STANDING_PROMPTS}: send fewer")
    prompts = tuple(_prompt(item, place, build, task) for place, item in enumerate(items, start=1))
    twice = [name for name, count in Counter(prompt.id for prompt in prompts).items() if count > 1]
    if twice:
        raise PromptError(f"the id {twice[0]!r} names more than one prompt: give each its own")
    return prompts


def _listed(text: str) -> list[Any] | None:
    """Return the items of a list of prompts, or None when the text is something else."""
    if len(text) > MAX_LIST_CHARS or not text.lstrip().startswith("["):
        return None
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        return None
    fit = all(isinstance(item, str) or (isinstance(item, dict) and "prompt" in item) for item in items)
    return items if fit else None


def _prompt(item: str | Mapping[str, Any], place: int, build: Build, task: Task) -> Prompt:
    fields = {"prompt": item} if isinstance(item, str) else item
    unknown = sorted(fields.keys() - set(_KEYS))
    if unknown:
        raise PromptError(f"prompt {place} has {unknown[0]!r}, which is unknown: use {', '.join(_KEYS)}")
    for key, value in fields.items():
        if not isinstance(value, str) and key != "region":
            raise PromptError(f"{key} of prompt {place} is {value!r}: send a string")
    name = fields.get("id", str(place))
    if len(name) > MAX_ID_CHARS or not _ID.fullmatch(name):
        raise PromptError(
            f"id of prompt {place} is {name[:80]!r}: use a letter and then letters, digits or _, or digits alone, "
            f"at most {MAX_ID_CHARS}"
        )
    try:
        asked = _task(fields["task"]) if "task" in fields else task
        zoom = _zoom(fields["zoom"]) if "zoom" in fields else ""
        return replace(build(fields["prompt"], asked, fields.get("region", "")), id=name, zoom=zoom)
    except PromptError as error:
        raise PromptError(f"prompt {place}: {error}") from error


def _task(name: str) -> Task:
    known = [task.value for task in Task]
    if name not in known:
        raise PromptError(f"task is {name!r}: use one of {', '.join(known)}")
    return Task(name)


def _zoom(name: str) -> Zoom:
    if name == "off":
        return "off"
    if name == "auto":
        return "auto"
    raise PromptError(f"zoom is {name!r}: use one of {', '.join(get_args(Zoom))}")
