"""Whether two phrases name one thing: "The Cups" and "cup", "red cup" and "cup"; English plurals, Chinese too."""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass

_DETERMINERS = {"a", "an", "the", "each", "every", "all", "any", "some", "this", "that", "these", "those"}
_IRREGULAR = {
    "people": "person",
    "men": "man",
    "women": "woman",
    "children": "child",
    "feet": "foot",
    "teeth": "tooth",
    "mice": "mouse",
    "knives": "knife",
    "shelves": "shelf",
    "leaves": "leaf",
}
_PREPOSITIONS = {"of", "in", "on", "at", "with", "without", "under", "above", "behind", "near", "by", "for", "from"}
_PREPOSITIONS |= {"to", "over", "inside", "beside", "next", "below", "that", "which", "who", "wearing", "holding"}
# What says how a thing is, and names none: asked for alone, it may be of any.
_QUALITIES = {"red", "green", "blue", "yellow", "purple", "pink", "brown", "black", "white", "grey", "gray"}
_QUALITIES |= {"big", "large", "small", "little", "tall", "short", "long", "round", "old", "new", "broken"}
_QUALITIES |= {"open", "closed", "empty", "full", "dark", "bright", "wooden", "striped"}
_HAN_QUALITY = re.compile(r"[红绿蓝黄橙紫粉棕黑白灰]色?|[大小高矮长短圆方新旧空满]")
_HAN = re.compile(r"[\u3400-\u9fff]")
_HAN_DETERMINERS = re.compile(r"^(?:图中的?)?(?:所有|全部|每一?个|一个|这个|那个|这些|那些)的?|的")
_WORD = re.compile(r"[^\W_]+(?:['’]s?(?!\w))?")


@dataclass(frozen=True, slots=True)
class Words:
    """A phrase without case, articles and plurals; see `words_of`.

    Attributes:
        words: Its words; a run of Han characters is one word.
        head: The word that names the thing: the last one before "of", "in", "with", ...
    """

    words: frozenset[str]
    head: str

    @property
    def han(self) -> str:
        """The phrase, where it is a single run of Han characters; else empty."""
        alone = "".join(self.words) if len(self.words) == 1 else ""
        return alone if _HAN.search(alone) else ""


@functools.lru_cache(maxsize=4096)
def words_of(phrase: str) -> Words:
    """Take a phrase apart."""
    words = _WORD.findall(folded(phrase))
    kept = [_singular(_HAN_DETERMINERS.sub("", word)) for word in words if word not in _DETERMINERS]
    end = next((i for i, word in enumerate(kept) if i and word in _PREPOSITIONS), len(kept))
    return Words(frozenset(kept) - {""}, kept[end - 1] if kept else "")


def folded(text: str) -> str:
    """Take away what case and width of letters tell."""
    return unicodedata.normalize("NFKC", text).casefold().strip()


def same_name(one: str, other: str) -> bool:
    """Whether two phrases are the same but for case, articles and plurals."""
    key = name_key(one)
    return bool(key) and key == name_key(other)


def name_key(phrase: str) -> Words | str:
    """Return what phrases of the same name have in common; empty for a phrase that says nothing."""
    words = words_of(phrase)
    return words if words.words else folded(phrase)


def is_a(name: str, wanted: str) -> bool:
    """Whether what has this name is what is wanted, as far as words tell: a red cup is a cup, a cup holder is none."""
    said, asked = words_of(name), words_of(wanted)
    if said.han and asked.han:
        # Written without spaces, the thing last: 红色杯子 is a 杯子.
        return said.han.endswith(asked.han)
    return same_name(name, wanted) or (bool(asked.words) and asked.words <= said.words and asked.head == said.head)


def may_be_a(name: str, wanted: str) -> bool:
    """Whether what has this name may be what is wanted, where nothing is one: a cup for "red cup", a red cup for "red".

    It is the same kind of thing, and one name says more of it; or what is wanted names a quality and no thing.
    """
    said, asked = words_of(name), words_of(wanted)
    if said.han and asked.han:
        is_quality = _HAN_QUALITY.fullmatch(asked.han) is not None
        return asked.han.endswith(said.han) or (is_quality and said.han.startswith(asked.han))
    if not said.words or not asked.words:
        return False
    if asked.words <= said.words:
        return asked.head == said.head or asked.words <= _QUALITIES
    return said.words <= asked.words and asked.head == said.head


def share_a_word(one: str, other: str) -> bool:
    """Whether one word stands in both phrases; of Han characters, whether one phrase stands in the other."""
    a, b = words_of(one), words_of(other)
    if a.han and b.han:
        return a.han in b.han or b.han in a.han
    return bool(a.words & b.words)


def _singular(word: str) -> str:
    word = re.sub(r"['’]s?$", "", word)
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"(?:s|x|z|ch|sh)es$", word):
        return word[:-2]
    return word[:-1] if re.search(r"[^su\W]s$", word) and len(word) > 2 and not word.endswith("is") else word
