"""JSON as language models write it: the text of one object to a tree whose values know where they stand.

Read beside strict JSON: single and typographic quotes, bare inner quotes, missing, doubled and
trailing commas, a lost `]`, Python's and JavaScript's words for nothing and for numbers that are
none, tuples, keys and words without quotes, full-width signs. `json_scanner.py` tells where strings,
comments and nested objects stand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from vlm_perception.replies.encoded import FILLER
from vlm_perception.types import Span

# One character for one, so that places in the text stay what they are.
FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    ord(wide): narrow for wide, narrow in zip("“”‘’、【】−　", "\"\"'',[]- ", strict=True)
}

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

# More digits than any pixel has; int() of thousands of them is slow and refused by Python.
_LONGEST_INTEGER = 15
_DEEPEST = 64
_ESCAPED_OR_BARE = re.compile(r"""(\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))|["\\]""")
# A string here is one whose line end or place hid it from the scanner.
_LEXEME = re.compile(r'"((?:[^"\\]|\\.)*)"|([\[\](),:])|[^\s\[\]{}(),:]+', re.DOTALL)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?i:nan|inf|infinity)")
_WORDS = {"true": True, "True": True, "false": False, "False": False}
_NOTHING = ("null", "None", "none", "undefined")


class TreeNode(NamedTuple):
    """A value of a reply.

    Attributes:
        value: None, a bool, a number or a string; a list of nodes; or a dictionary of nodes.
        span: Where it stands in the reply, without the quotes of a string.
    """

    value: Any
    span: Span


Values = dict[str, TreeNode]
# What is no plain text inside an object: a string or nested object with its value, a comment with None.
Holes = Sequence[tuple[Span, TreeNode | None]]


def plain(node: TreeNode) -> Any:
    """Return the value without places."""
    value = node.value
    if isinstance(value, list):
        return [plain(part) for part in value]
    return {key: plain(part) for key, part in value.items()} if isinstance(value, dict) else value


def read_string(body: str) -> str:
    """Read what stands between two quotes."""
    body = body.replace(FILLER, "")
    if "\\" not in body:
        return body
    body = body.replace("\\'", "'")
    read: str = json.loads('"' + _ESCAPED_OR_BARE.sub(lambda m: m[1] or "\\" + m[0], body) + '"', strict=False)
    return read


class Group(NamedTuple):
    """Keys and values of an object, each key once; a key that comes again begins the next group, at `start`."""

    start: int
    values: Values


def read_object(text: str, span: Span, holes: Holes) -> tuple[list[Group], str]:
    """Read what stands between the braces of one object; never raises.

    Args:
        text: The reply.
        span: Range between the braces.
        holes: What inside it was read already, in order.

    Returns:
        Its groups, at least one, and an empty reason; or none and the reason.
    """
    lexemes: list[_Lexeme] = []
    at = span[0]
    for hole, node in holes:
        lexemes += _lexemes(text, at, hole[0])
        if node is not None:
            lexemes.append(_Lexeme("value", node))
        at = hole[1]
    lexemes += _lexemes(text, at, span[1])
    try:
        return _ObjectReader(lexemes).read(), ""
    except ValueError as error:
        return [], str(error)


class _Lexeme(NamedTuple):
    """A sign, a word, or a value that was read already."""

    sign: Literal["[", "]", "(", ")", ",", ":", "word", "value"]
    node: TreeNode


def _lexemes(text: str, start: int, end: int) -> Iterator[_Lexeme]:
    stretch = text[start:end]
    if not stretch.isascii():
        stretch = stretch.translate(FULL_WIDTH)
    for match in _LEXEME.finditer(stretch):
        span = (match.start() + start, match.end() + start)
        if match[1] is not None:
            yield _Lexeme("value", TreeNode(read_string(match[1]), (span[0] + 1, span[1] - 1)))
        else:
            sign: Any = match[2] or "word"
            yield _Lexeme(sign, TreeNode(match[0], span))


class _ObjectReader:
    """Reads the values of one object; what has to follow a value is not insisted on."""

    def __init__(self, lexemes: list[_Lexeme]) -> None:
        self._lexemes = lexemes
        self._at = 0

    def read(self) -> list[Group]:
        groups = [Group(self._lexemes[0].node.span[0] if self._lexemes else 0, {})]
        while self._sign():
            key = self._next()
            if key.sign == ",":
                continue
            name = key.node.value if isinstance(key.node.value, str) else "{}"
            if self._sign() != ":" or name == "{}":
                raise ValueError(f"not valid JSON: {name[:20]!r} is no key")
            self._at += 1
            name = name.strip("\"'") if key.sign == "word" else name
            if name in groups[-1].values:
                # A string's place is that without its quotes.
                groups.append(Group(key.node.span[0] - (key.sign == "value"), {}))
            groups[-1].values[name] = self._value()
        return groups

    def _sign(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._lexemes[at].sign if at < len(self._lexemes) else ""

    def _next(self) -> _Lexeme:
        self._at += 1
        return self._lexemes[self._at - 1]

    def _value(self) -> TreeNode:
        if self._sign() in ("[", "("):
            return self._list()
        if self._sign() == "value":
            return self._next().node
        words: list[TreeNode] = []
        # Before a colon stands the next key.
        while self._sign() == "word" and (not words or self._sign(1) != ":"):
            words.append(self._next().node)
        if not words:
            after_colon = self._lexemes[self._at - 1].node.span[1]
            return TreeNode(None, (after_colon, after_colon))
        word = " ".join(part.value for part in words)
        return TreeNode(_word(word), (words[0].span[0], words[-1].span[1]))

    def _list(self, depth: int = 1) -> TreeNode:
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        start = self._next().node.span[0]
        values: list[TreeNode] = []
        # A key inside a list: its closing bracket was lost.
        while self._sign() and self._sign(1) != ":":
            if self._sign() in ("[", "("):
                values.append(self._list(depth + 1))
                continue
            sign, node = self._next()
            if sign in ("]", ")"):
                break
            if sign == "value":
                values.append(node)
            elif sign == "word":
                values.append(TreeNode(_word(node.value), node.span))
        return TreeNode(values, (start, self._lexemes[self._at - 1].node.span[1]))


def _word(word: str) -> Any:
    """Read what stands without quotes."""
    if word in _NOTHING:
        return None
    if word in _WORDS:
        return _WORDS[word]
    if not _NUMBER.fullmatch(word):
        return word.strip("\"'")
    return int(word) if word.lstrip("+-").isdigit() and len(word) <= _LONGEST_INTEGER else float(word)


def ends_string(text: str, follower: int, ended: bool) -> bool | None:
    """Tell what a quote inside a string is by what follows it.

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
