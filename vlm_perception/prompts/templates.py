"""Reads the YAML with the templates and rules of `prompts/builder.py`, and checks what users put in theirs."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from vlm_perception.errors import PromptError, SettingsError
from vlm_perception.types import Region

Language = Literal["english", "chinese"]
TaskName = Literal["detect", "ground", "point", "count", "read", "describe", "watch", "raw"]
PrefixName = Literal["auto", "detect", "ground", "point", "count", "read", "describe", "watch", "raw"]
# How reading is asked for beside the template of its task; all text and documents are no thing that has to be put in.
WholeName = Literal["read_all", "read_document"]
ReadName = Literal["read_several", WholeName]

WHAT = "{what}"
MAX_FILE_BYTES = 1_000_000
MAX_TEMPLATE_CHARS = 4000
MAX_PATTERN_CHARS = 1000
MAX_DEPTH = 20
# These would end the turn or promise an image that is not there; others may suit a fine-tuned model.
_CHAT_TOKEN = re.compile(r"<\|(im_start|im_end|endoftext|vision_start|vision_end|image_pad|video_pad)\|>")


def _check_what(template: str) -> str:
    if WHAT not in template:
        raise ValueError(f"it has no {WHAT}, so the model would not be told what to look for; put {WHAT} in it")
    return template


def _check_tokens(template: str) -> str:
    token = _CHAT_TOKEN.search(template)
    if token:
        raise ValueError(f"it holds the chat token {token[0]}, which the chat template itself sets; remove it")
    return template


def _check_pattern(pattern: str) -> str:
    try:
        re.compile(pattern, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"it is not a Python regular expression ({error}); correct it") from error
    return pattern


WholeTemplate = Annotated[str, Field(min_length=1, max_length=MAX_TEMPLATE_CHARS), AfterValidator(_check_tokens)]
Template = Annotated[WholeTemplate, AfterValidator(_check_what)]
Pattern = Annotated[str, Field(min_length=1, max_length=MAX_PATTERN_CHARS), AfterValidator(_check_pattern)]


class RegionRule(BaseModel):
    """A part of the image that has a name.

    Attributes:
        words: Pattern of what is said.
        xyxy: Left, top, right and bottom in shares of the image, 0..1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    words: Pattern
    xyxy: list[float] = Field(min_length=4, max_length=4)

    @property
    def region(self) -> Region:
        """The part itself."""
        left, top, right, bottom = self.xyxy
        return Region((left, top, right, bottom))

    @model_validator(mode="after")
    def _is_a_rectangle(self) -> RegionRule:
        try:
            self.region  # noqa: B018 - it checks itself
        except PromptError as error:
            raise ValueError(str(error)) from error
        return self


class ReadingRules(BaseModel):
    """What is to be read, from what was typed.

    Attributes:
        templates: Instruction about several things, all text, and a document, by language.
        strip: Patterns of what is taken away around the thing that carries the text, in order.
        all: Patterns; a thing that is one of them as a whole means all text.
        document: Patterns; a thing that is one of them as a whole means a document.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    templates: dict[ReadName, dict[Language, WholeTemplate]]
    strip: list[Pattern]
    all: list[Pattern]
    document: list[Pattern]

    @model_validator(mode="after")
    def _several_are_named(self) -> ReadingRules:
        for template in self.templates["read_several"].values():
            _check_what(template)
        return self


class WatchingRules(BaseModel):
    """What is asked about a video, from what was typed.

    Attributes:
        when: Patterns of the words that ask for times, taken away in order.
        template: Instruction by language, with what is left for `{what}`, where one of them was found.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    when: list[Pattern]
    template: dict[Language, Template]


class PromptRules(BaseModel):
    """The content of a prompts file; vlm_perception/prompts/templates.yaml explains every part.

    Attributes:
        templates: Instruction by task and language, with `{what}` in it.
        joint: What stands between several targets, by language.
        prefixes: Pattern of the words that choose a task when a colon follows.
        regions: Parts of the image, by the name that messages call them.
        read: What the task `read` needs beside its template.
        watch: Likewise of `watch`.
        boxes: Patterns of what is said about drawing or giving boxes, taken away before a task is chosen.
        auto: Patterns that choose a task; tasks are tried in the order of the built-in file.
        strip: Patterns of what is taken away around a target, in order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    templates: dict[TaskName, dict[Language, Template]]
    joint: dict[Language, str]
    prefixes: dict[PrefixName, Pattern]
    regions: dict[str, RegionRule]
    read: ReadingRules
    watch: WatchingRules
    boxes: list[Pattern]
    auto: dict[TaskName, list[Pattern]]
    strip: list[Pattern]

    @model_validator(mode="after")
    def _raw_stays_raw(self) -> PromptRules:
        if any(template != WHAT for template in self.templates["raw"].values()):
            raise ValueError("templates.raw is changed, but raw prompts are sent as they are; remove it")
        return self


@functools.cache
def built_in_rules() -> PromptRules:
    """Return the rules of the package itself."""
    return PromptRules.model_validate(_built_in())


def read_rules(path: str) -> PromptRules:
    """Read a user's file over the built-in rules.

    Args:
        path: A YAML file in UTF-8; `~` is the home folder.

    Returns:
        The built-in rules with what the file gives in their place: templates, joints, prefixes and regions
        one by one, the patterns of one task in `auto` together, `strip` as a whole.

    Raises:
        SettingsError: The file cannot be read, is not YAML, or says something that cannot be used;
            names the place, the value, the limit and the remedy.
    """
    given = _parse(_read(path), path)
    if given is None:
        return built_in_rules()
    if not isinstance(given, dict):
        sections = ", ".join(PromptRules.model_fields)
        raise SettingsError(f"prompts_file {path!r} holds a {type(given).__name__}; give sections: {sections}")
    try:
        return PromptRules.model_validate(_merged(_built_in(), given))
    except ValidationError as error:
        problems = [_explain(detail) for detail in error.errors(include_url=False)]
        raise SettingsError(f"prompts_file {path!r}: {'; '.join(problems)}") from error


def _built_in() -> Any:
    text = resources.files("vlm_perception").joinpath("prompts/templates.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def _read(path: str) -> str:
    try:
        file = Path(path).expanduser()
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            raise SettingsError(
                f"prompts_file {path!r} has {size} bytes, the limit is {MAX_FILE_BYTES}; name a file of templates"
            )
        return file.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError(f"prompts_file {path!r} cannot be read: {reason}; name a readable YAML file") from error
    except (ValueError, RuntimeError) as error:
        # Not UTF-8, a NUL in the name, or ~ of a user who does not exist.
        raise SettingsError(f"prompts_file {path!r} cannot be read: {error}; name a YAML file in UTF-8") from error


def _parse(text: str, path: str) -> Any:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None:
            _refuse_odd_nodes(root)
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"prompts_file {path!r} is not valid YAML: {reason}; correct it") from error


def _refuse_odd_nodes(node: yaml.Node, depth: int = 0) -> None:
    """Refuse what YAML would accept in silence: a key given twice, of which the last one would win."""
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _refuse_odd_nodes(child, depth + 1)
    elif isinstance(node, yaml.MappingNode):
        seen: set[Any] = set()
        for key, child in node.value:
            if key.value in seen:
                raise ValueError(f"{key.value!r} stands twice, again in line {key.start_mark.line + 1}")
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
            _refuse_odd_nodes(child, depth + 1)


def _merged(base: Any, given: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(given, Mapping)):
        return given
    return {**base, **{key: _merged(base.get(key), value) for key, value in given.items()}}


def _explain(detail: ErrorDetails) -> str:
    """Turn one pydantic complaint into place, value, limit and remedy."""
    place = ".".join(str(part) for part in detail["loc"] if part != "[key]")
    reason = detail["msg"].removeprefix("Value error, ")
    if not place:
        return reason
    if detail["type"] == "extra_forbidden":
        return f"unknown section {place}; known: {', '.join(PromptRules.model_fields)}"
    if detail["loc"][-1] == "[key]":
        return f"unknown name {place}; {reason[0].lower() + reason[1:]}"
    remedy = "" if detail["type"] == "value_error" else "; give a text as in the built-in prompts/templates.yaml"
    return f"{place} is {_short(detail['input'])}: {reason[0].lower() + reason[1:]}{remedy}"


def _short(value: Any, limit: int = 80) -> str:
    shown = repr(value)
    return shown if len(shown) <= limit else f"{shown[:limit]}..."
