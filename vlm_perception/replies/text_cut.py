"""How much of a reply that is being written can be read already: the rest may turn into something else."""

from __future__ import annotations

import re

from vlm_perception.replies.lenient_json import FULL_WIDTH
from vlm_perception.replies.text_patterns import BEGINS_BLOCK, LONGEST_LIST, MORE_LINES, MOST_LINES_OF_TAG, OF_BLOCK

_LINES = re.compile(r"[^\n]*\n")
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
            begin = _before_block(text, start, cut)
            # A block may begin inside of a tag.
            opened = -1 if begin in (start, cut) else _opened_before(text, start, begin, end)
            if opened < 0:
                return begin
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


def _before_block(text: str, start: int, cut: int) -> int:
    """Go back before the lines that may go on as one item of YAML."""
    last = text[text.rfind("\n", start, cut - 1) + 1 or start : cut].translate(FULL_WIDTH)
    if not (OF_BLOCK.match(last) or BEGINS_BLOCK.match(last)):
        return cut
    begin, lines = cut, 0
    for match in _LINES.finditer(text, start, cut):
        line = match[0].translate(FULL_WIDTH)
        begins = BEGINS_BLOCK.match(line)
        goes_on = 0 < lines <= MORE_LINES and OF_BLOCK.match(line)
        if begins and (begins[1].strip() or not goes_on):
            begin, lines = match.start(), 1
        elif goes_on:
            lines += 1
        else:
            begin, lines = cut, 0
    return begin
