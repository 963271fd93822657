"""Reads the reply of a server while it is written, on the thread that asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from vlm_perception.engines.base import OnText
from vlm_perception.engines.openai.chat import Delta, ServedToken
from vlm_perception.engines.repetition import RepetitionWatch
from vlm_perception.types import FinishReason, Token

_CONTROL = re.compile(r"<\|\w+\|>")


class ServedReply:
    """One reply of one server. Its text is what the server wrote; its tokens are where the server tells them.

    Args:
        on_text: See `Engine.answer`.
    """

    def __init__(self, on_text: OnText) -> None:
        self._on_text, self._watch = on_text, RepetitionWatch()
        self._chunks: list[str] = []
        self._tokens: list[Token] = []
        self._waiting: list[ServedToken] = []
        self._length = 0
        self._reason: FinishReason | None = None

    @property
    def has_begun(self) -> bool:
        """Whether anything was written."""
        return self._length > 0

    @property
    def over(self) -> bool:
        """Whether nothing more is to be read, though the server writes on."""
        return self._reason == "repetition"

    def read(self, delta: Delta) -> None:
        """Read what is new."""
        content = delta.content
        told = [*self._waiting, *delta.tokens]
        # A token that ends inside a character comes without text, and is placed with the text that it began.
        self._waiting = [] if content or delta.finish_reason else told
        tokens = tuple(_placed(told, content, self._length)) if not self._waiting else ()
        self._length += len(content)
        if content or tokens:
            self._chunks.append(content)
            self._tokens += tokens
            self._on_text(content, tokens)
        if delta.finish_reason is not None:
            self._reason = delta.finish_reason
        elif self._reason is None and self._watch.feed(content):
            self._reason = "repetition"

    def finish(self) -> tuple[str, tuple[Token, ...], FinishReason]:
        """End the reply: its text, its tokens and why it ended, "aborted" where the server did not end it."""
        return "".join(self._chunks), tuple(self._tokens), self._reason or "aborted"


def _placed(told: Sequence[ServedToken], content: str, start: int) -> Iterator[Token]:
    """Place tokens in their text, character by character where they spell it, else over all of it.

    Where a character is spread over tokens, what servers tell of these is not what they write.

    Args:
        told: The tokens that came with the text, and those before it that came without.
        content: The text; empty for the end of a reply.
        start: Where it begins in the reply.
    """
    names = ["" if _CONTROL.fullmatch(token.name) and token.name not in content else token.name for token in told]
    spell = "".join(names) == content
    for token, name in zip(told, names, strict=True):
        end = start + len(name if spell else content)
        yield Token(start, end, token.logprob)
        start = end if spell else start
