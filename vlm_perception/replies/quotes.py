"""Where a string of a reply ends, when the model escapes nothing inside it."""

from __future__ import annotations

import re

# Each opening quote with what may close it.
_CLOSERS = {'"': '"', "'": "'", "＂": "＂", "＇": "＇", "“": '”"', "”": '”"', "‘": "’'", "’": "’'"}
QUOTES = "".join(_CLOSERS)
IN_STRING = {quote: re.compile(rf"[{closers}\\\n{{｛]") for quote, closers in _CLOSERS.items()}

_AFTER_STRING = ":]}：］｝"
_SPACE = re.compile(r"\s{0,64}")
# A key follows, because the comma before it was forgotten; and what may still become one.
_KEY = re.compile(rf"[{QUOTES}]\w{{1,32}}[{QUOTES}]\s{{0,8}}[:：]")
_KEY_BEGUN = re.compile(rf"[{QUOTES}](?:\w{{1,32}}(?:[{QUOTES}]\s{{0,8}})?)?\Z")
# After a comma of the list or object comes one of these; after one of a sentence, a word.
_MEMBER = re.compile(
    rf"[{QUOTES}\[\]{{}}()［］｛｝（）+\-.#/\d,，]|(?:true|false|null|None|True|False|NaN)\b|\w{{1,32}}\s{{0,8}}[:：]"
)
_WORD_BEGUN = re.compile(r"\w{1,32}\s{0,8}\Z")


def ends_string(text: str, follower: int, ended: bool) -> bool | None:
    """Judge a quote inside a string by what follows it.

    A closing quote is followed by structure; an inner quote that nobody escaped, by more words.

    Args:
        text: The reply so far.
        follower: Index of the first character after the quote that is no space; `len(text)` when
            there is none.
        ended: Whether the reply is over.

    Returns:
        Whether the quote closes the string; None when more text is needed to tell.
    """
    character = text[follower : follower + 1]
    if not character:
        return True if ended else None
    if character in _AFTER_STRING:
        return True
    if character in ",，":
        return _member_follows(text, follower + 1, ended)
    if character in QUOTES:
        begun = not ended and _KEY_BEGUN.match(text, follower) is not None
        return None if begun else _KEY.match(text, follower) is not None
    if character == "/":
        comment = text[follower : follower + 2]
        return None if len(comment) < 2 and not ended else comment in ("//", "/*")
    return character == "#"


def _member_follows(text: str, at: int, ended: bool) -> bool | None:
    space = _SPACE.match(text, at)
    at = space.end() if space else at
    if at == len(text):
        return True if ended else None
    if not ended and _WORD_BEGUN.match(text, at):
        return None
    return text[at].isspace() or _MEMBER.match(text, at) is not None
