"""From what an operator types ("red cup") to the instruction the model needs.

An instruction names the task, the object and the output format, because Qwen2.5-VL answers boxes
only when it is asked for them. The wording follows the forms of Qwen's spatial-understanding
cookbook: absolute `bbox_2d` or `point_2d` coordinates in a JSON list. Templates and patterns stand
in prompts/templates.yaml; a file of the same form may replace any of them (`load_prompts`).

A part of the image may stand in front ("in the left half: cup", `prompts/regions.py`); it is not
told to the model, which is shown nothing else.

`Task.AUTO` is resolved by these rules, the first that fits:
  1. a task name and a colon in front ("point: the handle") choose that task, whatever was set;
  2. RAW: the text names an output format (JSON, bbox, coordinates, ...) and is sent as it is;
  3. COUNT: it asks for a number ("how many cups", "count the cups", "多少", "数一数");
  4. POINT: it asks to point ("point to ...", "... key points", "..., as points", "关键点");
  5. GROUND: it wants things and something said of each ("each cake, and describe it",
     "every square, striped or plain");
  6. READ: it wants text read ("read the label", "what does the sign say?", "读出标签");
  7. WATCH: it asks about a stretch of time, and says so ("what happened in the last ten seconds?",
     "视频里发生了什么？");
  8. DETECT: it asks where ("where is the cup?", "can you find ...", "在哪里");
  9. DESCRIBE: it wants words ("describe ...", "what ...", "is the ...", anything that ends in "?");
  10. DETECT: everything else is a thing to find.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from vlm_perception.errors import PromptError
from vlm_perception.prompts.phrases import names_a_thing, phrases_of, unquoted
from vlm_perception.prompts.regions import RegionGiven, RegionWords, two_parts
from vlm_perception.prompts.templates import (
    WHAT,
    Language,
    PromptRules,
    ReadName,
    WholeName,
    built_in_rules,
    read_rules,
)
from vlm_perception.types import Prompt, Task

MAX_PROMPT_CHARS = 2000

_AUTO_ORDER = (Task.RAW, Task.COUNT, Task.POINT, Task.GROUND, Task.READ, Task.WATCH, Task.DETECT, Task.DESCRIBE)
# These say in words what they want, so nothing is taken out of them.
_SENT_WHOLE = (Task.DESCRIBE, Task.WATCH, Task.RAW)
# Wider than what tokenizers read, so that a relative of the chat format does not slip through.
_CHAT_TOKEN = re.compile(r"<(?=[|｜][^<>|｜\n]{1,64}[|｜]>)")
_HAN = re.compile(r"[\u3400-\u9fff]")
_KANA = re.compile(r"[\u3040-\u30ff\uff66-\uff9f]")
# Runs of spaces mean nothing, and patterns would walk through them again and again.
_SPACES = re.compile(r"\s{2,}")
_QUESTION_MARKS = re.compile(r"[\s.?!。？！]+$")
_HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")

_TaskPatterns = tuple[tuple[Task, tuple[re.Pattern[str], ...]], ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """What the task `READ` needs beside its template; see `ReadingRules`.

    Attributes:
        templates: Instruction by name and language.
        strip: What is taken away around the thing that carries the text, in order.
        whole: Names of templates and the patterns of things that are asked about by them.
    """

    templates: Mapping[ReadName, Mapping[Language, str]]
    strip: tuple[re.Pattern[str], ...]
    whole: tuple[tuple[WholeName, tuple[re.Pattern[str], ...]], ...]

    def template_of(self, thing: str) -> WholeName | None:
        """Return the template for a thing that is no thing in particular; None for any other."""
        for name, patterns in self.whole:
            if any(pattern.fullmatch(thing) for pattern in patterns):
                return name
        return None


@dataclass(frozen=True, slots=True)
class Watching:
    """What the task `WATCH` needs beside its template; see `WatchingRules`.

    Attributes:
        when: What asks a video for times; taken away.
        template: Instruction for what is left, by language.
    """

    when: tuple[re.Pattern[str], ...]
    template: Mapping[Language, str]


@dataclass(frozen=True, slots=True)
class PromptBook:
    """Templates and rules, ready to use; made by `load_prompts`.

    Attributes:
        templates: Instruction by task and language, with `{what}` in it.
        joint: What stands between several targets, by language.
        prefixes: Task and the patterns of its prefix.
        regions: Finds the part of the image that a text names.
        boxes: What is said about drawing or giving boxes, which every template asks for.
        auto: Task and the patterns that choose it, in the order in which they are tried.
        strip: What is taken away around a target, in order; of what named groups found nothing is.
        reading: What the task `READ` needs beside its template.
        watching: Likewise of `WATCH`.
    """

    templates: Mapping[Task, Mapping[Language, str]]
    joint: Mapping[Language, str]
    prefixes: _TaskPatterns
    regions: RegionWords
    boxes: tuple[re.Pattern[str], ...]
    auto: _TaskPatterns
    strip: tuple[re.Pattern[str], ...]
    reading: Reading
    watching: Watching

    def build(self, text: str, task: Task = Task.AUTO, region: RegionGiven = "") -> Prompt:
        """Turn what the user typed into the full instruction for the model.

        Args:
            text: What was typed, in any language; several targets are separated as `phrases_of` reads them.
            task: Task to use; `Task.AUTO` chooses by the rules of this module. A prefix in the text
                wins over it.
            region: The part of the image that is looked at, in words or as a box in pixels; empty for the one that
                the text names, else all of it.

        Returns:
            The prompt; its `task` is never `Task.AUTO`. Chat control tokens (`<|im_end|>` and kin)
            are broken up, so that a prompt cannot end its own turn, and counted in `neutralised`.

        Raises:
            PromptError: The text is empty or names no thing, longer than `MAX_PROMPT_CHARS` characters or no Unicode,
                or names a part of the image that is none, or two.
        """
        text = text.strip()
        _check(text)
        body, neutralised = _CHAT_TOKEN.subn("< ", text)
        named_region, body = self.regions.split(body)
        for named, patterns in self.prefixes:
            prefix = patterns[0].match(body)
            if prefix:
                task, body = named, body[prefix.end() :].strip()
                if task is not Task.RAW:
                    behind, body = self.regions.split(body)
                    if named_region is not None and behind is not None:
                        raise two_parts(text)
                    named_region = named_region or behind
                break
        if named_region is not None and region:
            raise PromptError(f"prompt {text[:80]!r} names a part of the image, and its region another: leave one out")
        if not body:
            raise PromptError(f"prompt {text!r} names nothing to look for: send what to find, e.g. 'red cup'")
        if task is Task.AUTO:
            task = self.task_of(body)
        language: Language = "chinese" if _HAN.search(body) and not _KANA.search(body) else "english"
        if task not in _SENT_WHOLE and not names_a_thing(body):
            raise PromptError(f"prompt {text[:80]!r} names nothing to look for: send what to find, e.g. 'red cup'")
        whole: WholeName | None = None
        if task is Task.READ:
            body = _without(self.reading.strip, body)
            whole = self.reading.template_of(body)
        targets = () if task in _SENT_WHOLE or whole is not None else self._targets(body)
        what = self.joint[language].join(targets) if targets else body
        several: ReadName | None = "read_several" if task is Task.READ and len(targets) > 1 else None
        name = whole or several
        template = (self.reading.templates[name] if name else self.templates[task])[language]
        if task is Task.WATCH and (happening := _without(self.watching.when, body)) != body:
            what, template = _QUESTION_MARKS.sub("", happening), self.watching.template[language]
        instruction = template.replace(WHAT, what)
        looked_at = self.regions.read(region) if region else named_region
        return Prompt(text, task, instruction, targets, neutralised, region=looked_at)

    def task_of(self, text: str) -> Task:
        """Pick the task for a text by rules 2 to 10 of the module's docstring.

        Args:
            text: Stripped prompt without a task prefix.

        Returns:
            A task, never `Task.AUTO`.
        """
        text = _SPACES.sub(" ", text)
        thing = _without(self.boxes, text)
        for task, patterns in self.auto:
            if any(pattern.search(thing) for pattern in patterns):
                # Who asks for boxes wants things, whatever else is asked about them.
                return Task.DETECT if task is Task.DESCRIBE and thing != text else task
        return Task.DETECT

    def _targets(self, body: str) -> tuple[str, ...]:
        """Phrases asked for, each once, without the words that the template repeats; never empty."""
        # Twice, because a verb stands in front of a whole list or of each of its things.
        text = _without(self.strip, _without(self.boxes, body))
        parts = (unquoted(_without(self.strip, phrase)) for phrase in phrases_of(text))
        return tuple(dict.fromkeys(_SPACES.sub(" ", part) for part in parts if part)) or (body,)


def load_prompts(path: str = "") -> PromptBook:
    """Load the templates and rules.

    Args:
        path: YAML file whose content replaces parts of the built-in rules; empty for these alone.

    Raises:
        SettingsError: The file cannot be read or used; see `prompt_rules.read_rules`.
    """
    return _book(read_rules(path)) if path else _built_in_book()


def build_prompt(text: str, task: Task = Task.AUTO, region: RegionGiven = "") -> Prompt:
    """Build a prompt with the built-in templates and rules; see `PromptBook.build`.

    Raises:
        PromptError: As `PromptBook.build`.
    """
    return _built_in_book().build(text, task, region)


@functools.cache
def _built_in_book() -> PromptBook:
    return _book(built_in_rules())


def _book(rules: PromptRules) -> PromptBook:
    compiled = {Task(name): tuple(map(_compiled, patterns)) for name, patterns in rules.auto.items()}
    prefixes = rules.prefixes.items()
    return PromptBook(
        templates={Task(name): dict(languages) for name, languages in rules.templates.items()},
        joint=dict(rules.joint),
        prefixes=tuple((Task(name), (_compiled(rf"(?:{words})\s*[:：]\s*"),)) for name, words in prefixes),
        regions=RegionWords({name: (rule.words, rule.region) for name, rule in rules.regions.items()}),
        auto=tuple((task, compiled[task]) for task in _AUTO_ORDER),
        boxes=tuple(map(_compiled, rules.boxes)),
        strip=tuple(map(_compiled, rules.strip)),
        reading=Reading(
            templates={name: dict(languages) for name, languages in rules.read.templates.items()},
            strip=tuple(map(_compiled, rules.read.strip)),
            whole=(
                ("read_all", tuple(map(_compiled, rules.read.all))),
                ("read_document", tuple(map(_compiled, rules.read.document))),
            ),
        ),
        watching=Watching(tuple(map(_compiled, rules.watch.when)), dict(rules.watch.template)),
    )


def _without(patterns: tuple[re.Pattern[str], ...], phrase: str) -> str:
    """Take each pattern away once, but never all that there is: "where is" alone is what was asked for."""
    for pattern in patterns:
        phrase = pattern.sub(_kept, phrase, count=1).strip() or phrase
    return phrase


def _kept(found: re.Match[str]) -> str:
    return "".join(text or "" for text in found.groupdict().values())


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _check(text: str) -> None:
    if len(text) > MAX_PROMPT_CHARS:
        raise PromptError(f"prompt has {len(text)} characters, the limit is {MAX_PROMPT_CHARS}: send a shorter one")
    half = _HALF_CHARACTER.search(text)
    if half:
        raise PromptError(f"prompt holds half a character at position {half.start()}: send valid UTF-8")
