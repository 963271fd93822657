"""What objects that stand outside of JSON look like; `text_forms.py` reads what matches."""

from __future__ import annotations

import re

from vlm_perception.replies.keys import ANY_COORDINATE_KEY, ANY_NAME_KEY

_N = r"[-+]?\d+(?:\.\d+)?"
_FOUR = rf"{_N}(?:[ \t]*,[ \t]*{_N}){{3}}"
_PAIR = rf"\([ \t]*{_N}[ \t]*,[ \t]*{_N}[ \t]*\)"
# Pieces that may go over several lines are bounded, because it has to be certain where they end.
LONGEST_LIST = 512
MOST_LINES_OF_TAG = 20
_SHORT = r"[-+]?\d{1,20}(?:\.\d{1,20})?"
_ATTRIBUTES = rf"(?=\s)[^<>\n]*(?:\n[^<>\n]*){{0,{MOST_LINES_OF_TAG}}}"
_TAG = rf"<points?(?P<attributes>{_ATTRIBUTES})?(?:>(?:(?P<inside>[^<\n]*)</points?>)?|(?P<tag_cut>(?<!\n)\Z))"
_REF = r"(?:<\|object_ref_start\|>|<ref>)(?P<ref_name>[^<\n]*)(?:<\|object_ref_end\|>|</ref>)"
_BOX_START = r"<(?:\|(?:box|(?P<quad>quad))_start\||box)>"
_BOX_END = r"(?:<\|(?:box|quad)_end\|>|</box>|(?P<box_cut>\Z))?"
_GRID = r"(?:<(?:loc_)?\d{1,3}>[ \t,]*)"
_BOX = rf"{_BOX_START}(?P<inner>(?:{_GRID}|[^<\n])*){_BOX_END}|(?P<grid>{_GRID}{{4}})"
_BULLET = r"[ \t]*(?:(?:[-*•]|\d{1,3}[.)])[ \t]+)?"
_NAMED_LINE = (
    rf"^{_BULLET}(?P<first>[^\W\d][^\n,;:|\[\](){{}}<>]{{0,60}}?)[\"'`*]*[ \t]*[,;:\t][ \t]*"
    rf"(?P<then>{_N}(?:[ \t]*[,;\t][ \t]*{_N}){{3}})[ \t]*\r?$"
)
_CELL = r"[^\n<|]*(?:<(?!\|)[^\n<|]*)*"
_ROW = rf"^(?={_CELL}\|{_CELL}\|)[ \t]*\|?(?P<cells>{_CELL}(?:\|{_CELL})*)$"
# Attributes and arguments that hold a place.
_PLACED = r"(?:[\w-]{0,16}(?:box|rect|coords?|coordinate|polygon|quad|position|point)|x1|xmin|left|x)"
_HTML = (
    rf"<(?P<html>[a-zA-Z][\w-]{{0,20}})(?P<html_attributes>(?=[^<>\n]{{0,200}}\s{_PLACED}\s?=)\s[^<>\n]{{0,400}})>"
    r"(?:(?P<html_text>[^<\n]{1,200})(?=</))?"
)
_CALL = (
    rf"\b(?P<call>[A-Za-z_][\w.]{{0,40}})\((?=[^\n]{{0,60}}?\b{_PLACED}\s?=)"
    r"(?P<arguments>[^()\n]{0,200}(?:\([^()\n]{0,80}\)[^()\n]{0,200}){0,4})\)"
)
_AROUND_KEY = r"[\"'`*]{0,3}"
_WRAPPED = (
    rf"<(?P<outer>[A-Za-z][\w-]{{0,30}})>(?P<body>[ \t\[(]{{0,8}}{_N}"
    rf"(?:[ \t,;()\[\]]{{1,8}}{_N}){{1,7}}[ \t\])]{{0,8}})"
    r"</(?P=outer)>"
)
_ONE_EACH = rf"[A-Za-z_]{{1,8}}\d?[ \t]*[:=][ \t]*{_N}"
_SPREAD = rf"\b(?P<pairs>{_ONE_EACH}[ \t]*,?[ \t]*{_ONE_EACH}(?:[ \t]*,?[ \t]*{_ONE_EACH}){{2}})(?![\w.]|[ \t]*[:=])"
_KNOWN_KEY = rf"{_AROUND_KEY}(?:{ANY_COORDINATE_KEY}|{ANY_NAME_KEY}|keypoints){_AROUND_KEY}"
MORE_LINES = 12
_YAML_MORE = (
    rf"[ \t]*(?:{_AROUND_KEY}[^\W\d][\w -]{{0,30}}{_AROUND_KEY}[ \t]*:\*{{0,2}}(?:[ \t][^\n]*)?|-[ \t]*{_N}[ \t]*)"
)
_OF_ITEM = rf"(?=(?i:{_KNOWN_KEY})[ \t]*:\*{{0,2}}(?:[ \t]|$))"
_YAML = rf"^{_BULLET}{_OF_ITEM}(?P<yaml>[^\n]+(?:\n{_YAML_MORE}(?=\n|\Z)){{0,{MORE_LINES}}})"
_LINE = (
    rf"^[ \t]*(?:[-*•][ \t]+)?[\[(]?(?P<four>{_FOUR})[ \t]*[\])]?[ \t:;,-]*"
    r"(?P<line_name>[^\d\s\[\](),.:;<-][^\n<]*)?\r?$"
)
_CORNERS = rf"{_PAIR}[ \t]*,?[ \t]*{_PAIR}"
_LIST = (
    rf"\[\s{{0,24}}{_SHORT}(?:\s{{0,24}},\s{{0,24}}{_SHORT}){{3}}\s{{0,24}}"
    r"(?:,\s{0,24}[\"'](?P<list_name>[^\"'\n\[\]]{1,80})[\"']\s{0,24})?\]"
    rf"|(?P<round>\([ \t]*{_FOUR}[ \t]*\))"
)
_SMALL_FORMS = (
    f"(?P<tag>{_TAG})|(?P<ref>{_REF})|(?P<box>{_BOX})|(?P<element>{_HTML})|(?P<action>{_CALL})|(?P<row>{_ROW})"
    f"|(?P<wrapped>{_WRAPPED})|(?P<spread>{_SPREAD})"
    f"|(?P<line>{_LINE})|(?P<named>{_NAMED_LINE})|(?P<corners>{_CORNERS})|(?P<list>{_LIST})"
)
FORM = re.compile(f"(?P<block>{_YAML})|{_SMALL_FORMS}", re.MULTILINE)
# For lines that are no item after all.
SMALL_FORM = re.compile(_SMALL_FORMS, re.MULTILINE)
NUMBER = re.compile(_N)
YAML_LINE = re.compile(
    rf"(?:(?P<key>{_AROUND_KEY}[^\W\d][\w -]{{0,40}}?{_AROUND_KEY})[ \t]*:\*{{0,2}}[ \t]*)?(?P<value>[^\n]*)"
)
# Another known key in the same line.
NEXT_KEY = re.compile(rf"[,;][ \t]*(?=(?i:{_KNOWN_KEY})[ \t]*:)")
PAIR_OF_KEY = re.compile(rf"([A-Za-z_]{{1,8}}\d?)[ \t]*[:=][ \t]*({_N})")
OF_BLOCK = re.compile(rf"{_YAML_MORE}\n")
BEGINS_BLOCK = re.compile(rf"({_BULLET}){_OF_ITEM}")
