"""Sentences about a scene: a small grammar, written from the truth and read back to what they claim.

Only these sentences are learned, so each has one way to be said. Reading them back is how a model's own words are
judged: not by their letters but by whether what they claim is so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from training.replies import COLOURS_ZH, KINDS_ZH
from training.things import Thing
from vlm_perception.scenes import COLOURS, KINDS
from vlm_perception.scenes.relations import RELATIONS

RELATIONS_ZH = {
    "left of": "左边",
    "right of": "右边",
    "above": "上方",
    "below": "下方",
    "inside": "里面",
    "on top of": "上面",
}
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
# In what `Thing.xyxy` is measured.
SIDE = 1.0

Noun = tuple[str, bool]
"""Label of a thing, or its kind alone, and whether it is called striped."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a reply claims.

    Attributes:
        verdict: Yes or no, where it begins with one.
        there: Things that it says are there, with their number.
        absent: Things that it says are not there.
        relations: (thing, relation, thing, whether it is said to hold).
    """

    verdict: bool | None
    there: Counter[Noun]
    absent: frozenset[Noun]
    relations: tuple[tuple[Noun, str, Noun, bool], ...]


class Speech:
    """A reply as it is put together, with the places where it names a thing."""

    def __init__(self) -> None:
        self.text = ""
        self.mentions: list[tuple[int, int, tuple[int, int, int, int]]] = []

    def say(self, *parts: str | tuple[str, Thing]) -> Speech:
        """Go on with words, or with words that name a thing."""
        for part in parts:
            text, thing = (part, None) if isinstance(part, str) else part
            if thing is not None:
                self.mentions.append((len(self.text), len(self.text) + len(text), thing.box))
            self.text += text
        return self

    def list(self, things: Sequence[Thing], chinese: bool) -> Speech:
        """Name several things: "a red circle, a blue face and a green cart"."""
        for place, thing in enumerate(things):
            if place:
                comma, last = ("、", "和") if chinese else (", ", " and ")
                self.say(last if place == len(things) - 1 else comma)
            self.say((one(thing, chinese), thing))
        return self


def noun(thing: Thing, chinese: bool) -> str:
    """What a thing is called: "striped blue square"."""
    if chinese:
        return ("条纹" if thing.striped else "") + COLOURS_ZH[thing.colour] + KINDS_ZH[thing.kind]
    return ("striped " if thing.striped else "") + thing.label


def one(thing: Thing, chinese: bool) -> str:
    """The same with its article: "an orange cart"."""
    return with_article(noun(thing, chinese), chinese)


def with_article(name: str, chinese: bool) -> str:
    """Put "a" or "an" before a name, or its Chinese number."""
    return f"一个{name}" if chinese else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


_COLOUR, _KIND = "|".join(COLOURS), "|".join(KINDS)
_NOUN_EN = rf"(?:(?:an?|the|no|\d+) )?(?:striped )?(?:(?:{_COLOUR}) )?(?:{_KIND})s?"
_NOUN_ZH = rf"(?:一个|\d+个)?(?:条纹)?(?:{'|'.join(COLOURS_ZH.values())})?(?:{'|'.join(KINDS_ZH.values())})"
_NOUN = re.compile(rf"\b{_NOUN_EN}\b|{_NOUN_ZH}", re.IGNORECASE)
_RELATED_EN = re.compile(rf"({_NOUN_EN}) (is |are |is not )?({'|'.join(RELATIONS)}) ({_NOUN_EN})", re.IGNORECASE)
_RELATED_ZH = re.compile(rf"({_NOUN_ZH})(不?)在({_NOUN_ZH})的({'|'.join(RELATIONS_ZH.values())})")
_VERDICT = re.compile(r"(Yes|No|有|没有|是|不是)[,，]")
_ABSENT = re.compile(rf"(?:there is no|没有)\s*({_NOUN_EN}|{_NOUN_ZH})")
_COLOURS_EN = {word: name for name, word in COLOURS_ZH.items()}
_KINDS_EN = {word: name for name, word in KINDS_ZH.items()}
_RELATIONS_EN = {word: name for name, word in RELATIONS_ZH.items()}


def read(text: str) -> Said:
    """Read what a reply in this grammar claims; what is not of it is passed over."""
    verdict = _VERDICT.match(text)
    absent = [found[1] for found in _ABSENT.finditer(text)]
    related: list[tuple[Noun, str, Noun, bool]] = []
    for found in _RELATED_EN.finditer(text):
        related.append((_noun(found[1])[0], found[3], _noun(found[4])[0], found[2] != "is not "))
    for found in _RELATED_ZH.finditer(text):
        related.append((_noun(found[1])[0], _RELATIONS_EN[found[4]], _noun(found[3])[0], not found[2]))
    there: Counter[Noun] = Counter()
    # Told anew in a later sentence ("The red cart is left of ..."), a thing is not one more.
    for found in _NOUN.finditer(_ABSENT.sub("", text)):
        if not _is_told_anew(found[0]):
            name, number = _noun(found[0])
            there[name] += number
    return Said(
        verdict[1] in ("Yes", "有", "是") if verdict else None,
        there,
        frozenset(_noun(part)[0] for part in absent),
        tuple(related),
    )


def false_claims(said: Said, things: Sequence[Thing]) -> list[str]:
    """What a reply claims of a scene that is not so."""
    wrong = [f"there is no {name}" for name, number in said.there.items() if len(_called(name, things)) < number]
    wrong += [f"there is a {name}" for name in said.absent if _called(name, things)]
    for first, relation, second, holds in said.relations:
        pairs = [(a, b) for a in _called(first, things) for b in _called(second, things) if a is not b]
        # What is too close to call is not held against it.
        if not any(RELATIONS[relation](a.xyxy, b.xyxy, SIDE) in (holds, None) for a, b in pairs):
            wrong.append(f"{first} {relation} {second}: {not holds}")
    return wrong


def _called(name: Noun, things: Sequence[Thing]) -> list[Thing]:
    label, striped = name
    return [t for t in things if label in (t.label, t.kind) and (t.striped or not striped)]


def _is_told_anew(found: str) -> bool:
    """Whether it is "the red cart", or in Chinese, which has no "the", a thing without a number."""
    return found.lower().startswith("the ") if found.isascii() else found[0] not in "一0123456789"


def _noun(text: str) -> tuple[Noun, int]:
    """A noun phrase as label, stripes and number."""
    number = re.search(r"\d+", text)
    count = int(number[0]) if number else 1
    if text.isascii():
        words = text.lower().split()
        colour = next((word for word in words if word in COLOURS), "")
        kind = next(word for word in KINDS if words[-1] in (word, word + "s"))
        return ((f"{colour} {kind}").strip(), "striped" in words), count
    colour = next((name for word, name in _COLOURS_EN.items() if word in text), "")
    kind = next(name for word, name in _KINDS_EN.items() if word in text)
    return ((f"{colour} {kind}").strip(), "条纹" in text), count
