"""Values of a reply as places: boxes, points and areas, as the model wrote their numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from vlm_perception.replies.keys import KeyKind, folded, is_measure, kind_of
from vlm_perception.replies.lenient_json import TreeNode, Values

# Keys that hold one number each, or a corner each, and how they make a place.
_CORNERS = (
    ("x1", "y1", "x2", "y2"),
    ("x0", "y0", "x1", "y1"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("minx", "miny", "maxx", "maxy"),
    ("left", "top", "right", "bottom"),
    ("startx", "starty", "endx", "endy"),
)
_CORNER_AND_SIZE = (
    ("x", "y", "width", "height"),
    ("x", "y", "w", "h"),
    ("left", "top", "width", "height"),
    ("xmin", "ymin", "width", "height"),
)
_CENTRE_AND_SIZE = (
    ("cx", "cy", "w", "h"),
    ("cx", "cy", "width", "height"),
    ("xcenter", "ycenter", "width", "height"),
    ("centerx", "centery", "width", "height"),
)
_TWO_CORNERS = (("topleft", "bottomright"), ("tl", "br"), ("min", "max"), ("lefttop", "rightbottom"), ("p1", "p2"))
_POINT = ("x", "y")
_DEEPEST = 3
_IN_BRACKETS = re.compile(r"[\s\d.,;:()\[\]+\-eE]*\d[\s\d.,;:()\[\]+\-eE]*")
_BETWEEN_SIGNS = re.compile(r"[^\s,;:()\[\]]+")
# Signs in a string that say nothing but what its numbers are.
_AROUND_NUMBERS = re.compile(
    r"<[^<>\d]*>|\b(?:[xy][12]?|[wh]|left|top|right|bottom|width|height|[xy]_?(?:min|max))\s?[=:]"
)
_PLACE_KINDS = ("box", "point", "place", "area", "tilted")
AREA = 0
TILTED = 5


class WrittenPlace(NamedTuple):
    """Where something is.

    Attributes:
        value: A list of nodes that should be numbers, or what stood in its place.
        size: How many numbers it should have: 4 for two corners, 2 for a point, `TILTED` for centre, size and
            angle, `AREA` for three corners or more.
        node: All of it.
    """

    value: Any
    size: int
    node: TreeNode


def spread_place(values: Values) -> tuple[tuple[str, ...], WrittenPlace] | None:
    """Read coordinates that have a key each, such as x1, y1, x2, y2 or x, y, width, height.

    Returns:
        The keys, and what they hold as (x1, y1, x2, y2) or (x, y); None when there are none.
    """
    keys = {folded(key): key for key in values}
    span = (0, 0)

    def found(wanted: tuple[str, ...], numbers: list[TreeNode]) -> tuple[tuple[str, ...], WrittenPlace]:
        return tuple(keys[key] for key in wanted), WrittenPlace(numbers, len(numbers), TreeNode(numbers, span))

    def nodes(wanted: tuple[str, ...]) -> list[TreeNode]:
        return [values[keys[key]] for key in wanted]

    for wanted in _CORNERS:
        if keys.keys() >= set(wanted):
            return found(wanted, nodes(wanted))
    for wanted in _CORNER_AND_SIZE:
        if keys.keys() >= set(wanted):
            return found(wanted, _from_size(nodes(wanted)))
    for wanted in _CENTRE_AND_SIZE:
        if keys.keys() >= set(wanted):
            return found(wanted, _from_centre(nodes(wanted)))
    for ends in _TWO_CORNERS:
        if keys.keys() >= set(ends):
            corners = [_pair(node) for node in nodes(ends)]
            if all(corner is not None for corner in corners):
                return found(ends, [number for corner in corners for number in corner or ()])
    return found(_POINT, nodes(_POINT)) if keys.keys() >= set(_POINT) else None


def places_in(key: str, node: TreeNode, kind: KeyKind) -> list[WrittenPlace]:
    """Take the places apart that a coordinate key holds."""
    style = folded(key)
    places = _places(node, kind, 0)
    if "cxcywh" in style:
        return [_converted(place, _from_centre) for place in places]
    if style.endswith(("xywh", "ltwh")):
        return [_converted(place, _from_size) for place in places]
    return places


def plain_places(node: TreeNode) -> list[WrittenPlace]:
    """Read a value that is four or two plain numbers, or a list of such; empty when it is anything else."""
    places = _places(node, "place", 0)
    fit = all(isinstance(place.value, list) and place.size in (2, 4) and _are_numbers(place) for place in places)
    return places if fit else []


def holds_numbers(node: TreeNode) -> int:
    """Count the numbers in a value, one string of numbers included."""
    value = node.value
    if isinstance(value, bool):
        return 0
    if isinstance(value, (int, float)):
        return 1
    if isinstance(value, str):
        inside = numbers_in(value, 0)
        return len(inside.value) if inside else 0
    if isinstance(value, Mapping):
        return sum(holds_numbers(part) for key, part in value.items() if not is_measure(key))
    return sum(map(holds_numbers, value)) if isinstance(value, list) else 0


def numbers_in(text: str, start: int) -> TreeNode | None:
    """Split `1, 2, 30, 40`, `(1, 2), (30, 40)` or `x1=1, y1=2`; None when it says anything else, too.

    Args:
        text: What stands at `start` of the reply.
        start: Its place.
    """
    if not _IN_BRACKETS.fullmatch(text):
        text = _AROUND_NUMBERS.sub(lambda sign: " " * len(sign[0]), text)
        if not _IN_BRACKETS.fullmatch(text):
            return None
    words = _BETWEEN_SIGNS.finditer(text)
    return TreeNode([TreeNode(m[0], (m.start() + start, m.end() + start)) for m in words], (start, start + len(text)))


def _places(node: TreeNode, kind: KeyKind, depth: int) -> list[WrittenPlace]:
    value = node.value
    if isinstance(value, str):
        inside = numbers_in(value, node.span[0])
        return _places(inside, kind, depth) if inside else [WrittenPlace(value, _size(kind, 4), node)]
    if isinstance(value, dict):
        spread = spread_place(value)
        if spread:
            return [WrittenPlace(spread[1].value, spread[1].size, node)]
        inner = next(((key, part) for key, part in value.items() if kind_of(key) in _PLACE_KINDS), None)
        if inner and depth < _DEEPEST:
            return _places(inner[1], kind_of(inner[0]), depth + 1)
        return [WrittenPlace(value, _size(kind, 4), node)]
    if not isinstance(value, list) or depth == _DEEPEST:
        return [WrittenPlace(value, _size(kind, 4), node)]
    nested = all(part.value is None or isinstance(part.value, (list, dict)) for part in value)
    if not nested or not any(part.value for part in value):
        return [WrittenPlace(value, _size(kind, len(value)), node)]
    pairs = [_pair(part) for part in value]
    if kind != "point" and len(value) > 1 and all(pair is not None for pair in pairs):
        return [WrittenPlace([n for pair in pairs for n in pair or ()], 4 if len(value) == 2 else AREA, node)]
    return [place for part in value for place in _places(part, kind, depth + 1)]


def _size(kind: KeyKind, count: int) -> int:
    """Tell how many numbers there should be where `count` are."""
    if kind == "point" or (kind == "place" and count == 2):
        return 2
    if kind == "tilted" and count == TILTED:
        return TILTED
    return AREA if count == 8 or (kind == "area" and count > 4 and count % 2 == 0) else 4


def _pair(node: TreeNode) -> list[TreeNode] | None:
    value = node.value
    if isinstance(value, dict):
        spread = spread_place(value)
        return spread[1].value if spread and spread[1].size == 2 else None
    if not isinstance(value, list) or len(value) != 2 or any(isinstance(n.value, (list, dict)) for n in value):
        return None
    return value


def _are_numbers(place: WrittenPlace) -> bool:
    return len(place.value) == place.size and all(
        isinstance(part.value, (int, float, str)) and not isinstance(part.value, bool) and holds_numbers(part) == 1
        for part in place.value
    )


def _converted(place: WrittenPlace, convert: Any) -> WrittenPlace:
    fits = isinstance(place.value, list) and len(place.value) == 4
    return place._replace(value=convert(place.value)) if fits else place


def _from_size(nodes: list[TreeNode]) -> list[TreeNode]:
    left, top, width, height = nodes
    return [left, top, _moved(left, width, 1.0), _moved(top, height, 1.0)]


def _from_centre(nodes: list[TreeNode]) -> list[TreeNode]:
    x, y, width, height = nodes
    return [
        *(TreeNode(_moved(at, length, -0.5).value, at.span) for at, length in ((x, width), (y, height))),
        *(_moved(at, length, 0.5) for at, length in ((x, width), (y, height))),
    ]


def _moved(start: TreeNode, length: TreeNode, times: float) -> TreeNode:
    if times == 1.0 and type(start.value) is int and type(length.value) is int:
        return TreeNode(start.value + length.value, length.span)
    try:
        return TreeNode(float(start.value) + times * float(length.value), length.span)
    except (TypeError, ValueError, OverflowError):
        return length
