"""How far a reply may be read while it is still being written."""

from __future__ import annotations

import re

from vlm_perception.replies.lenient_json import FULL_WIDTH
from vlm_perception.replies.text_forms import LONGEST_LIST, MOST_LINES_OF_TAG

_OPEN_TAG = re.compile(r"<points?\s[^<>]*\Z")
_TAG_SIGN = re.compile("[<>＜＞]")
_OPEN_LIST = re.compile(r"\[[\s\d.,+-]*(?:[\"'][^\"'\n\[\]]*[\"']?\s*)?\Z")
_LIST_SIGN = re.compile(r"[\[\]［］【】]")


def safe_end(text: str, start: int, end: int) -> int:
    """Return the last place up to which the text reads the same whatever follows.

    That is the end of a line, unless a tag or a list of numbers goes on behind it.

    Args:
        text: The reply so far.
        start: A place that was safe.
        end: Index to look up to.
    """
    cut = text.rfind("\n", start, end) + 1
    while cut > start:
        opened = _opened_before(text, start, cut, end)
        if opened < 0:
            return cut
        cut = text.rfind("\n", start, opened) + 1
    return start


def _opened_before(text: str, start: int, cut: int, end: int) -> int:
    """Find what begins before `cut` and may go on behind it; -1 when nothing does."""
    tag = max(text.rfind(sign, start, cut) for sign in "<＜")
    if tag >= 0 and text.count("\n", tag, cut) <= MOST_LINES_OF_TAG and _fits(_OPEN_TAG, text, tag, cut):
        closing = _TAG_SIGN.search(text, cut, end)
        if closing is None or closing[0] in ">＞":
            return tag
    opened = max(text.rfind(sign, max(start, cut - LONGEST_LIST), cut) for sign in "[［【")
    if opened >= 0 and _fits(_OPEN_LIST, text, opened, cut):
        closing = _LIST_SIGN.search(text, cut, min(end, opened + LONGEST_LIST))
        if closing is None or closing[0] in "]］】":
            return opened
    return -1


def _fits(pattern: re.Pattern[str], text: str, start: int, end: int) -> bool:
    return pattern.match(text[start:end].translate(FULL_WIDTH)) is not None
