"""One item of a reply as candidates: whose coordinates, whose name, and what else it says.

An item is a set of keys with values, wherever it came from: a JSON object, lines of YAML, the attributes of a tag, the
arguments of a call. Whatever the form, the same rules tell which of its keys hold coordinates and which the name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vlm_perception.replies.candidates import Candidate, as_text, lead_start, leaf_spans
from vlm_perception.replies.keys import NAME_KEYS, folded, is_measure, is_sure, kind_of, names_things
from vlm_perception.replies.lenient_json import TreeNode, Values, plain
from vlm_perception.replies.places import (
    AREA,
    WrittenPlace,
    holds_numbers,
    numbers_in,
    places_in,
    plain_places,
    spread_place,
)
from vlm_perception.types import EvidenceSpans, Span

_NOTHING = TreeNode(None, (0, 0))
_SHORT = 60
# What `type` says of a place and not of a thing.
_SHAPES = (
    "box",
    "bbox",
    "boundingbox",
    "point",
    "polygon",
    "rectangle",
    "rect",
    "function",
    "toolcall",
    "object",
    "detection",
)


@dataclass(slots=True)
class Item:
    """What one item holds.

    Attributes:
        values: Its keys and values.
        located: Places by their key.
        spread: Keys that hold one number each.
        name: Its name among its values; nothing without one.
        name_key: The key of the name.
        keypoints: Points of the thing by their names.
        each: Whether every key with coordinates is the name of a thing of its own.
        certain: Whether it is an object wherever it stands.
        problem: Why it is no object though it looks like one; empty otherwise.
    """

    values: Values
    located: dict[str, list[WrittenPlace]] = field(default_factory=dict)
    spread: tuple[str, ...] = ()
    name: TreeNode = _NOTHING
    name_key: str = ""
    keypoints: dict[str, TreeNode] = field(default_factory=dict)
    each: bool = False
    certain: bool = False
    problem: str = ""


def understand(values: Values, *, carries: bool = False, inside: str = "") -> Item:
    """Tell what an item holds.

    Args:
        values: Its keys and values.
        carries: Whether objects were found inside it; their places are their own.
        inside: Key under which it stands.
    """
    item = Item(values)
    item.name_key, item.name = _own_name(values)
    for key, node in values.items():
        kind = kind_of(key)
        if kind in ("name", "other", "solid") or (carries and _is_taken(node)):
            continue
        if kind == "keypoints":
            item.keypoints |= _named_points(node)
        elif is_sure(key) or holds_numbers(node) > 1:
            item.located[key] = places_in(key, node, kind)
    item.certain = bool(item.located or item.keypoints)
    if item.certain:
        return item
    spread = spread_place(values)
    if spread is not None:
        item.spread, place = spread
        item.located = {"box" if place.size == 4 else "point": [place]}
        item.certain = bool(item.name_key)
        return item
    _read_unknown(item, inside)
    return item


def _read_unknown(item: Item, inside: str) -> None:
    """Take four (two) plain numbers for coordinates, whatever their key; where nothing names the item, the key does."""
    for key, node in item.values.items():
        if kind_of(key) != "other" or is_measure(key) or not isinstance(node.value, (list, str, dict)):
            continue
        places = plain_places(node)
        if not places or not names_things(key):
            continue
        # Two numbers in what a coordinate key holds are a part of it.
        if kind_of(inside) == "other" or all(place.size == 4 for place in places):
            item.located[key] = places
    item.certain, item.each = bool(item.located), not item.name_key
    if item.certain:
        return
    for key, node in item.values.items():
        if kind_of(key) == "solid" and holds_numbers(node) > 1:
            item.problem = f"{key} is a 3D box, which is not read"
            return
    for key, node in item.values.items():
        count = 0 if is_measure(key) or kind_of(key) == "name" or isinstance(node.value, str) else holds_numbers(node)
        if count > 1:
            item.problem = f"{key} holds {count} numbers that are no box and no point"
            return
    if any(folded(key) == "label" for key in item.values):
        item.problem = "label without coordinates"


def item_candidates(text: str, item: Item, span: Span, around: TreeNode | None) -> Iterator[Candidate]:
    """Read one item; several boxes or points under one key become one candidate each.

    Args:
        text: The reply.
        item: What it holds.
        span: Its characters.
        around: The dictionary key that names what it holds; None without one.
    """
    name, name_key = item.name, item.name_key
    if not name_key and not item.each:
        name, name_key = (around, "") if around is not None else _only_text(item)
    opened, content = lead_start(text, span[0]), leaf_spans(next(iter(item.values.values())))[0][0]
    things, spare = _things(item)
    attributes = _attributes(item, name_key, {key for key, _, _ in things} | {key for _, _, b in things for key in b})
    # As many names as boxes: one each.
    listed = name.value if isinstance(name.value, list) and len(name.value) == len(things) else None
    for index, (key, place, beside) in enumerate(things):
        own = _key_name(text, key, place, span) if item.each else listed[index] if listed else name
        spans = leaf_spans(TreeNode(place.value, place.node.span))
        begin = (opened, max(opened, min(content, spans[0][0])))
        said = as_text(plain(own))
        evidence = EvidenceSpans(spans, leaf_spans(own) if said else (), begin)
        candidate = Candidate(key, _raw(place), place.size, said, span, evidence, attributes)
        for other_key, other in beside.items():
            if other.size == 2:
                candidate = candidate._replace(point=(other_key, _raw(other)))
            else:
                candidate = candidate._replace(polygon=(other_key, _raw(other)))
        yield candidate._replace(keypoints={name: _raw_point(node) for name, node in item.keypoints.items()})
        # Another one begins where the numbers of the one before end.
        opened, content = spans[-1][1], span[1]
    for key, place in spare:
        yield Candidate(key, None, place.size, "", span, EvidenceSpans(), second=True)


Thing = tuple[str, WrittenPlace, dict[str, WrittenPlace]]


def _things(item: Item) -> tuple[list[Thing], list[tuple[str, WrittenPlace]]]:
    """Part the places of an item into things, each with what else is said of its place, and places that are left."""
    if item.each:
        return [(key, place, {}) for key, places in item.located.items() for place in places], []
    boxes = [(key, places) for key, places in item.located.items() if any(p.size != 2 for p in places)]
    points = [(key, places) for key, places in item.located.items() if all(p.size == 2 for p in places)]
    # A box says it most plainly, then what has more corners.
    boxes.sort(key=lambda pair: (not is_sure(pair[0]), any(place.size != 4 for place in pair[1])))
    if not boxes and not points:
        every = TreeNode([part for node in item.keypoints.values() for part in node.value], (0, 0))
        size = 2 if len(every.value) == 2 else 4 if len(every.value) == 4 else AREA
        return [("keypoints", WrittenPlace(every.value, size, every), {})], []
    if not boxes:
        return [(key, place, {}) for key, places in points for place in places], []
    main, rest = boxes[0], [*boxes[1:], *points]
    things: list[Thing] = [(main[0], place, {}) for place in main[1]]
    spare: list[tuple[str, WrittenPlace]] = []
    for key, places in rest:
        taken = {place.size == 2 for _, _, beside in things for place in beside.values()}
        joins = len(places) == len(things) and all(place.size in (2, AREA) for place in places)
        if joins and (places[0].size == 2) not in taken:
            for thing, place in zip(things, places, strict=True):
                thing[2][key] = place
        elif len(things) == 1 and all(place.size == 2 for place in places):
            item.keypoints |= {
                f"{key} {number}": TreeNode(place.value, place.node.span)
                for number, place in enumerate(places, start=1)
            }
        elif any(_raw(place) != _raw(things[0][1]) for place in places):
            spare += [(key, place) for place in places[:1]]
    return things, spare


def _own_name(values: Values) -> tuple[str, TreeNode]:
    keys = {folded(key): key for key in reversed(values)}
    found: tuple[str, TreeNode] = ("", _NOTHING)
    for wanted in NAME_KEYS:
        key = keys.get(wanted)
        if key is None or values[key].value in (None, "", [], {}):
            continue
        node = _text_of(values[key])
        if isinstance(node.value, (str, list)) and not (wanted == "type" and folded(str(node.value)) in _SHAPES):
            return key, node
        if not found[0] and isinstance(node.value, (int, float)):
            found = (key, node)
    return found


def _text_of(node: TreeNode) -> TreeNode:
    """Take the text out of `{"en": "cup", ...}` or a list of one."""
    value = node.value
    if isinstance(value, dict):
        texts = {key: part for key, part in value.items() if isinstance(part.value, str) and part.value}
        return texts.get("en") or next(iter(texts.values()), _NOTHING)
    return value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0].value, str) else node


def _only_text(item: Item) -> tuple[TreeNode, str]:
    """Take the only short text of an item for its name."""
    texts = [
        (node, key)
        for key, node in item.values.items()
        if key not in item.located
        and key not in item.spread
        and kind_of(key) == "other"
        and isinstance(node.value, str)
        and 0 < len(node.value) <= _SHORT
        and any(map(str.isalpha, node.value))
    ]
    return texts[0] if len(texts) == 1 else (_NOTHING, "")


def _key_name(text: str, key: str, place: WrittenPlace, span: Span) -> TreeNode:
    """Return a key that is a name, with its place; there is none where it is written otherwise."""
    end = place.node.span[0]
    at = text.rfind(key, max(span[0], end - len(key) - _SHORT), end)
    return TreeNode(key, (at, at + len(key)) if at >= 0 else (end, end))


def _attributes(item: Item, name_key: str, used: set[str]) -> Mapping[str, str]:
    return {
        as_text(key): as_text(plain(node))
        for key, node in item.values.items()
        if key != name_key
        and key not in used
        and key not in item.located
        and key not in item.spread
        and not (kind_of(key) == "keypoints" and item.keypoints)
        and plain(node) not in (None, "", [], {}, [None])
    }


def _named_points(node: TreeNode) -> dict[str, TreeNode]:
    """Read `{"nose": [1, 2]}`, `[{"name": "nose", "x": 1, "y": 2}]`, or `[[1, 2], ...]`."""
    value = node.value
    if isinstance(value, dict):
        parts = [(key, part) for key, part in value.items()]
    elif isinstance(value, list):
        parts = [(str(number), part) for number, part in enumerate(value, start=1)]
    else:
        return {}
    points: dict[str, TreeNode] = {}
    for name, part in parts:
        if isinstance(part.value, dict):
            inner = understand(part.value)
            place = next((p for places in inner.located.values() for p in places if p.size == 2), None)
            said = inner.name.value if isinstance(inner.name.value, str) else name
        else:
            inside = numbers_in(part.value, part.span[0]) if isinstance(part.value, str) else part
            # A third number says how well it is seen.
            numbers = inside.value[:2] if inside is not None and isinstance(inside.value, list) else []
            place, said = WrittenPlace(numbers, 2, part) if len(numbers) == 2 else None, name
        if place is not None and isinstance(place.value, list):
            points[as_text(said)] = TreeNode(place.value, part.span)
    return points


def _raw(place: WrittenPlace) -> Any:
    return [part.value for part in place.value] if isinstance(place.value, list) else place.value


def _raw_point(node: TreeNode) -> Any:
    return [part.value for part in node.value] if isinstance(node.value, list) else node.value


def _is_taken(node: TreeNode) -> bool:
    """Tell whether a list holds nothing but objects that were found on their own, or is one."""
    value = node.value
    if value is None:
        # A null is short, an object that was found is not.
        return node.span[1] - node.span[0] > len("undefined")
    return isinstance(value, list) and bool(value) and all(part.value is None for part in value)


def key_around(key: TreeNode | None, outer: TreeNode | None) -> TreeNode | None:
    """Tell which dictionary key names what an object holds: its own, else the one around that."""
    if key is None or not isinstance(key.value, str):
        return outer
    return key if names_things(key.value) else outer
