"""JSON as language models write it.

Read beside strict JSON: single and typographic quotes, bare inner quotes, missing, doubled and
trailing commas, a lost `]`, Python's and JavaScript's words for nothing and for numbers that are
none, tuples, keys and words without quotes, full-width signs. Comments are taken out by
`ReplyScanner`, which also turns every string into a strict one before it gets here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

BOX_KEYS = ("bbox_2d", "bbox", "box_2d", "box", "bboxes", "boxes", "bounding_box", "bounding_boxes")
POINT_KEYS = ("point_2d", "point", "points")
COORDINATE_KEYS = BOX_KEYS + POINT_KEYS

# One character for one, so that places in the text stay what they are.
FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    ord(wide): narrow for wide, narrow in zip("“”‘’、【】−　", "\"\"'',[]- ", strict=True)
}

# More digits than any pixel has; int() of thousands of them is slow and refused by Python.
_LONGEST_INTEGER = 15
_DEEPEST = 16
_ESCAPED_OR_BARE = re.compile(r"""(\\["\\/bfnrtu])|["\\]""")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}(),:]|[^\s\[\]{}(),:"]+', re.DOTALL)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?i:nan|inf|infinity)")
_WORDS = {"true": True, "True": True, "false": False, "False": False}
_NOTHING = ("null", "None", "none", "undefined")

Values = dict[str, Any]


def json_string(body: str, quote: str) -> str:
    """Write the text between two quotes as a valid JSON string.

    Args:
        body: What stood between the quotes.
        quote: The opening quote.
    """
    if quote == "'":
        body = body.replace("\\'", "'")
    return '"' + _ESCAPED_OR_BARE.sub(lambda m: m[1] or "\\" + m[0], body) + '"'


def load_object(text: str) -> tuple[Values, str]:
    """Read one JSON object, strict or not; never raises.

    Returns:
        Its values and an empty reason, or no values and the reason.
    """
    reads: tuple[Callable[[str], Values], ...] = (_load_strict, _load_lenient)
    for read in reads:
        try:
            return read(text), ""
        except json.JSONDecodeError:
            continue
        except RecursionError:
            return {}, "nested too deeply"
        except ValueError as error:
            return {}, str(error)
    return {}, "not valid JSON"


def _load_strict(text: str) -> Values:
    values: Values = json.loads(text, parse_int=_number, object_pairs_hook=_without_repeats, strict=False)
    return values


def _load_lenient(text: str) -> Values:
    value = _Reader(_TOKEN.findall(text)).value()
    if not isinstance(value, dict):
        raise ValueError("not valid JSON: no object")
    return value


class _Reader:
    """Reads values from tokens; what a value has to be followed by is not insisted on."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def value(self) -> Any:
        token = self._peek()
        if token == "{":
            return self._nested(self._object)
        if token in ("[", "("):
            return self._nested(self._list)
        if token[:1] == '"':
            self._at += 1
            return json.loads(token, strict=False)
        words: list[str] = []
        while self._peek()[:1] not in '"[]{}(),:' and (not words or self._peek(1) != ":"):
            words.append(self._peek())
            self._at += 1
        return _word(" ".join(words))

    def _peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else ""

    def _nested(self, read: Callable[[], Any]) -> Any:
        self._at += 1
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("nested too deeply")
        value = read()
        self._depth -= 1
        return value

    def _object(self) -> Values:
        pairs = []
        while (token := self._peek()) not in ("}", ""):
            self._at += 1
            if token == ",":
                continue
            if self._peek() != ":":
                raise ValueError(f"not valid JSON: {token[:20]!r} is no key")
            self._at += 1
            key = json.loads(token, strict=False) if token[0] == '"' else token.strip("'")
            pairs.append((key, self.value()))
        self._at += 1
        return _without_repeats(pairs)

    def _list(self) -> list[Any]:
        values = []
        while (token := self._peek()) not in ("}", ""):
            # A key inside a list: its closing bracket was lost.
            if self._peek(1) == ":":
                break
            if token == ",":
                self._at += 1
            elif token in "])":
                self._at += 1
                break
            elif token[0] in '"[({':
                values.append(self.value())
            else:
                self._at += 1
                values.append(_word(token))
        return values


def _word(word: str) -> Any:
    """Read what stands without quotes."""
    if not word or word in _NOTHING:
        return None
    if word in _WORDS:
        return _WORDS[word]
    if not _NUMBER.fullmatch(word):
        return word.strip("'")
    return _number(word) if word.lstrip("+-").isdigit() else float(word)


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
