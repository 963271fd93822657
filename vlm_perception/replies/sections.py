"""Which parts of a reply are its answer, told while it is written; the rest is thinking.

Thinking is what stands in `<think>`, `<reasoning>`, `<thought>` and their like, closed or not, and everything
before a `</think>`, whose opening may have been a part of the prompt. Where there is an `<answer>`, only what it
holds is the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from vlm_perception.types import Remark

_NAMES = "think|thinking|thoughts?|reason|reasoning|analysis|reflection|scratchpad"
_TAG = re.compile(
    rf"<(?P<close>/)?(?:seed:)?(?:{_NAMES})\s?>|<\|(?P<close2>/)?think\|>|<\|(?:begin|(?P<close3>end))_of_thought\|>"
    r"|◁(?P<close4>/)?think▷|\[(?P<close5>/)?THINK\]|<\|channel\|>(?:analysis|(?P<close6>final))(?:<\|message\|>)?"
    r"|<(?P<answer_close>/)?(?P<answer>(?:final_?)?answer|final|solution)\s?>",
    re.IGNORECASE,
)
_BEGINS_TAG = re.compile(r"[<◁\[]")
# What may still become a tag.
_LONGEST_TAG = 40
_MAY_GO_ON = re.compile(
    r"(?:</?[a-z_:]*\s?|<\|[/a-z_]*\|?|<\|channel\|>[a-z]*(?:<\|?[a-z]*\|?)?|◁/?[a-z]*|\[/?(?:T[HINK]*)?)\Z",
    re.IGNORECASE,
)


ENDS_THINKING = Remark("thinking", "the reply ended before its thinking did")


class ReplySection(NamedTuple):
    """A piece of a reply.

    Attributes:
        kind: `answer` goes on with the answer; `apart` ends what the answer has been so far and is no part of it;
            `forget` is apart, too, and so is all that came before it.
        text: Its characters.
    """

    kind: Literal["answer", "apart", "forget"]
    text: str


class SectionSplitter:
    """Parts one reply, in chunks of any length.

    Attributes:
        text: The reply so far.
    """

    def __init__(self) -> None:
        self.text = self._held = ""
        self._apart = False
        self._answers = 0

    @property
    def is_thinking(self) -> bool:
        """Whether a thinking was begun that did not end."""
        return self._apart and not self._answers

    def feed(self, chunk: str) -> Iterable[ReplySection]:
        """Take more of the reply and return what is certain of it, in order."""
        # Python appends to a string in place, in constant time, only while nothing else holds it.
        whole, self.text = self.text, ""
        whole += chunk
        self.text = whole
        del whole
        text = self._held + chunk
        if not _BEGINS_TAG.search(text):
            self._held = ""
            return (ReplySection("apart" if self._apart else "answer", text),)
        tail = max(0, len(text) - _LONGEST_TAG)
        begun = _MAY_GO_ON.search(text, tail)
        end = begun.start() if begun else len(text)
        self._held = text[end:]
        return self._split(text[:end])

    def finish(self) -> Iterator[ReplySection]:
        """End the reply."""
        held, self._held = self._held, ""
        yield ReplySection("apart" if self._apart else "answer", held)

    def _split(self, text: str) -> Iterator[ReplySection]:
        at = 0
        for tag in _TAG.finditer(text):
            if tag.start() > at:
                yield ReplySection("apart" if self._apart else "answer", text[at : tag.start()])
            yield ReplySection(self._pass(tag), tag[0])
            at = tag.end()
        if at < len(text):
            yield ReplySection("apart" if self._apart else "answer", text[at:])

    def _pass(self, tag: re.Match[str]) -> Literal["apart", "forget"]:
        closes = any(text for name, text in tag.groupdict().items() if "close" in name)
        if tag["answer"] is None:
            self._apart = not closes
            return "forget" if closes else "apart"
        self._apart = closes
        self._answers += not closes
        return "forget" if self._answers == 1 and not closes else "apart"


def without_tags(text: str) -> str:
    """Return thinking as it is told."""
    return _TAG.sub("", text).strip()
