"""JSON as language models write it: single quotes, bare inner quotes, trailing commas."""

from __future__ import annotations

import json
import re
from typing import Any

BOX_KEYS = ("bbox_2d", "bbox", "box_2d", "box")
POINT_KEYS = ("point_2d", "point", "points")
COORDINATE_KEYS = BOX_KEYS + POINT_KEYS

# More digits than any pixel has; int() of thousands of them is slow and refused by Python.
_LONGEST_INTEGER = 15
_TRAILING_COMMA = re.compile(r",(\s*[\]}])")
_ESCAPED_OR_BARE = re.compile(r"""(\\["\\/bfnrtu])|["\\]""")

Values = dict[str, Any]


def json_string(body: str, quote: str) -> str:
    """Write the text between two quotes as a valid JSON string.

    Args:
        body: What stood between the quotes.
        quote: The quote character used, `"` or `'`.
    """
    if quote == "'":
        body = body.replace("\\'", "'")
    return '"' + _ESCAPED_OR_BARE.sub(lambda m: m[1] or "\\" + m[0], body) + '"'


def load_object(text: str) -> tuple[Values, str]:
    """Read one JSON object, with or without trailing commas; never raises.

    Returns:
        Its values and an empty reason, or no values and the reason.
    """
    reason = ""
    for candidate in (text, _TRAILING_COMMA.sub(r"\1", text)):
        try:
            values: Values = json.loads(candidate, parse_int=_number, object_pairs_hook=_without_repeats, strict=False)
        except RecursionError:
            return {}, "nested too deeply"
        except json.JSONDecodeError as error:
            reason = reason or f"not valid JSON: {error.msg.lower()}"
        except ValueError as error:
            return {}, str(error)
        else:
            return values, ""
    return {}, reason


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else float(digits)


def _without_repeats(pairs: list[tuple[str, Any]]) -> Values:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        for key in COORDINATE_KEYS:
            if keys.count(key) > 1:
                raise ValueError(f"{key} appears twice")
    return values
