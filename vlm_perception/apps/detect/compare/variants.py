"""`--compare TEXT` -> what is asked of which model: the options of the command, some of them replaced."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from vlm_perception.apps.options import add_parameters, settings_of
from vlm_perception.errors import PromptError, SettingsError
from vlm_perception.prompts.builder import load_prompts
from vlm_perception.settings import Settings
from vlm_perception.types import Prompt, Task

# One column of the contact sheet each.
MOST_VARIANTS = 8
_NAME = re.compile(r"(?:^|\s)([\w-]+)=")


@dataclass(frozen=True, slots=True)
class Variant:
    """One of those that are compared.

    Attributes:
        letter: "A" for the first, and so on.
        text: As it was given: what is its own.
        settings: Of its model.
        prompt: What it is asked.
    """

    letter: str
    text: str
    settings: Settings
    prompt: Prompt

    @property
    def title(self) -> str:
        """Name for people, such as `A: tiny`."""
        return f"{self.letter}: {self.text}" if self.text else self.letter


def read_variants(options: argparse.Namespace, names: Sequence[str]) -> tuple[Variant, ...]:
    """Read all `--compare`, and check what each of them asks for.

    Args:
        options: Of the command: what a variant does not replace.
        names: Parameters that it may replace; the prompt it may, too.

    Raises:
        SettingsError: There are too few or too many, or one of them cannot be used.
        PromptError: A prompt is missing, or cannot be used.
    """
    texts: list[str] = options.compare
    if not 2 <= len(texts) <= MOST_VARIANTS:
        raise SettingsError(
            f"{len(texts)} --compare: give 2 to {MOST_VARIANTS}, such as --compare tiny --compare max_pixels=90000"
        )
    return tuple(_variant(letter, text, options, names) for letter, text in zip(ascii_uppercase, texts, strict=False))


def _variant(letter: str, text: str, options: argparse.Namespace, names: Sequence[str]) -> Variant:
    try:
        chosen = _replaced(options, text, names)
        settings = settings_of(chosen, names)
        if chosen.prompt is None:
            raise PromptError("there is no prompt: give --prompt, or prompt=TEXT in each --compare")
        prompt = load_prompts(settings.prompts_file).build(chosen.prompt, settings.task)
        if prompt.task is Task.WATCH:
            raise PromptError("answers about films as a whole are not compared: ask for what is seen in one image")
    except (SettingsError, PromptError) as error:
        raise type(error)(f"--compare {text!r}: {error}") from error
    return Variant(letter, text.strip(), settings, prompt)


def _replaced(options: argparse.Namespace, text: str, names: Sequence[str]) -> argparse.Namespace:
    """Read the values as the command reads its own options, with the same words about wrong ones."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    add_parameters(parser, names)
    parser.add_argument("--prompt")
    known, seen = (*names, "prompt"), set[str]()
    arguments = []
    for name, value in _pairs(text):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            raise SettingsError(
                f"there is no {name}; {f'did you mean {near[0]}?' if near else 'known: ' + ', '.join(known)}"
            )
        if name in seen:
            raise SettingsError(f"{name} is given twice: leave one of them out")
        seen.add(name)
        arguments.append(f"--{name.replace('_', '-')}={value}")
    try:
        return parser.parse_args(arguments, argparse.Namespace(**vars(options)))
    except argparse.ArgumentError as error:
        raise SettingsError(str(error)) from error


def _pairs(text: str) -> list[tuple[str, str]]:
    """Part `MODEL NAME=VALUE NAME=VALUE`; a value goes on until the next name, so that a prompt needs no quotes."""
    model, *rest = _NAME.split(text)
    pairs = [("model", model.strip())] if model.strip() else []
    return pairs + [(name.replace("-", "_"), value.strip()) for name, value in zip(rest[::2], rest[1::2], strict=True)]
