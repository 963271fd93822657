r"""JSON that was written as a string, `"[{\"bbox_2d\": ...}]"`, as the JSON it stands for, one character for one.

Tool calls carry their arguments so. Places in the text stay what they are: a backslash becomes a blank between values
and a filler, which is taken out of the string that is read, within them.
"""

from __future__ import annotations

import re

FILLER = "\ufff9"
_SPACE = r"(?:[\s\[{]|\\[nrt])"
_KEY = r"[\w \-]"
# An outer quote where there is one, brackets, and a key in escaped quotes.
_OPENS = re.compile(
    rf"(?P<quote>[\"'])?(?P<lead>{_SPACE}{{0,32}}[\[{{]{_SPACE}{{0,32}})(?=\\\"{_KEY}{{1,40}}\\\"\s{{0,8}}[:：])"
)
_BEGINS = re.compile(r"[\"'\[{]")
_MAY_OPEN = re.compile(rf"[\"'\[{{]{_SPACE}{{0,66}}(?:\\(?:\"{_KEY}{{0,40}}(?:\\(?:\"\s{{0,8}})?)?)?)?\Z")
_LONGEST_OPENING = 128
_SIGN = re.compile(r"\\+[\"']?|[\"']")


class StringDecoder:
    """Reads one part of a reply, in chunks of any length."""

    def __init__(self) -> None:
        self._held = ""
        self._inside = False
        self._closer = ""
        self._in_string = False

    def feed(self, chunk: str) -> str:
        """Take more of the reply and return what is certain of it."""
        if not (self._held or self._inside or _BEGINS.search(chunk)):
            return chunk
        text = self._held + chunk
        done: list[str] = []
        at, went_on = 0, True
        while went_on:
            piece, at, went_on = self._next_encoded(text, at) if self._inside else self._next_plain(text, at)
            done.append(piece)
        self._held = text[at:]
        return "".join(done)

    def finish(self) -> str:
        """End the part and return what is left of it."""
        held, self._held = self._held, ""
        self._inside = False
        return held

    def _next_plain(self, text: str, at: int) -> tuple[str, int, bool]:
        """Pass what is not encoded; the text, where it ended, and whether something encoded begins there."""
        opened = _OPENS.search(text, at) if '\\"' in text else None
        if opened is None:
            begun = _MAY_OPEN.search(text, max(at, len(text) - _LONGEST_OPENING))
            end = begun.start() if begun else len(text)
            return text[at:end], end, False
        quote = opened["quote"] or ""
        self._inside, self._closer, self._in_string = True, quote or '"', False
        end = opened.start() + len(quote)
        return text[at : opened.start()] + " " * len(quote), end, True

    def _next_encoded(self, text: str, at: int) -> tuple[str, int, bool]:
        """Decode up to the closing quote or the end; the text, where it ended, and whether it closed there."""
        # What follows backslashes tells what they are.
        end = max(at, len(text.rstrip("\\")))
        parts: list[str] = []
        for sign in _SIGN.finditer(text, at, end):
            if sign.start() < at:
                continue
            parts.append(text[at : sign.start()])
            found = sign[0]
            at = sign.end()
            quote = found[-1] if found[-1] in "\"'" else ""
            slashes = len(found) - len(quote)
            if quote and not slashes:
                if quote == self._closer:
                    self._inside = False
                    parts.append(" ")
                    return "".join(parts), at, True
                parts.append(quote)
            elif quote and slashes == 1:
                parts.append((FILLER if self._in_string else " ") + quote)
                self._in_string = not self._in_string
            elif slashes == 1 and not quote:
                # A line end of the outer string.
                parts.append(" " * 2 if text[at : at + 1] in ("n", "t", "r") else found)
                at += text[at : at + 1] in ("n", "t", "r")
            else:
                kept = slashes // 2
                parts.append(FILLER * (slashes - kept) + "\\" * kept + quote)
        parts.append(text[at:end])
        return "".join(parts), end, False
