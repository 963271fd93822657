"""What a key of a reply means: whose coordinates it holds, whose name, or nothing that is known."""

from __future__ import annotations

import functools
import re
from typing import Literal

# `place` is a box or a point by how many numbers it holds; `area` has more than two corners, `tilted` an angle.
KeyKind = Literal["box", "point", "place", "area", "tilted", "keypoints", "solid", "name", "other"]

_SURE_BOXES = ("bbox2d", "bbox", "box2d", "box", "bboxes", "boxes", "boundingbox", "boundingboxes")
_SURE_POINTS = ("point2d", "point", "points", "points2d")
# In the order in which they are taken.
NAME_KEYS = (
    *(
        "label",
        "name",
        "object",
        "objectname",
        "class",
        "classname",
        "category",
        "categoryname",
        "type",
        "title",
        "text",
    ),
    *("textcontent", "desc", "description", "caption", "nameen", "labelen", "names", "labels"),
    *("标签", "名称", "名字", "类别", "物体", "对象", "目标"),
)
_AREAS = re.compile(
    r"poly(?:gon)?s?(?:2d)?|quad(?:rilateral)?s?|segment(?:ation)?s?|contours?|mask|outline|vert(?:ex|ices)|corners"
)
_TILTED = re.compile(r"(?:rotated?|oriented|tilted)(?:rect(?:angle)?|box|bbox|boundingbox)s?|rbox|obb")
_KEYPOINTS = re.compile(
    r"(?:body|hand|face|pose)?(?:keypoints?|landmarks?|joints|kpts?|kps)(?:2d)?|pose|skeleton|关键点"
)
_PLACES = re.compile(
    r".*(?:bbox|box|boxes|bboxes|coords?|coordinates?|positions?|locations?|rect(?:angle)?s?|boundingrect|point|xyxy|xywh|ltrb"
    r"|ltwh|cxcywh)(?:2d)?|pos|loc|regions?|roi|area|bounds?|bounding|extent|geometry|place|cent(?:er|re|roid)|xy|pixels?"
    r"|click|坐标|位置|坐标框|边界框|检测框|边框|框|点|中心点?"
)
# A dictionary key that says nothing of the things in it.
_WRAPPERS = re.compile(
    r"(?:found|detected|all|visible|tool|image|total)?(?:objects?|detections?|results?|annotations?|predictions?|instances?"
    r"|items?|targets?|entit(?:y|ies)|elements?|shapes?|images?|frames?|photos?|pictures?|data|outputs?|answers?|responses?"
    r"|arguments?|parameters?|params|args|inputs?|functions?|calls?|actions?|content|list|json|root|scenes?|info|metadata|meta"
    r"|attributes|properties|children|parts|groundings?|目标|物体|对象|结果|检测结果|图片|图像)?"
)
# What has two or four numbers and is no place.
_MEASURES = re.compile(
    r".*(?:size|shape|resolution|colou?rs?|rgba?|hsv|range|scores?|confidences?|conf|dimensions?|wh|ids?|scale|velocity|counts?"
    r"|numbers?|probs?|probabilit(?:y|ies)|logits|time(?:stamps?)?|interval|date|ratio|weights?|values?|embedding|token(?:s|ids)?"
    r"|width|height|depth|angles?|page|version|indices|index"
    r"|temperatures?|prices?|speed|age|years?|rows?|columns?|cells?|matrix|array|vector|grid)"
)
_BETWEEN_WORDS = re.compile(r"[\s_\-]+")
_NUMBER_OF_KEY = re.compile(r"\d+\Z")
# Keys as they may stand in text that is not read yet.
ANY_COORDINATE_KEY = (
    r"(?:[\w \-]{0,24}(?i:box(?:es)?|points?|rect(?:angle)?|coord(?:inate)?s?|position|location|region|polygon|quad)"
    r"(?:[ _\-]?[23][dD])?)"
)
ANY_NAME_KEY = r"(?:label|name|object|class|category|title|text|text_content|description|caption)"
LONGEST_KEY = 48


def folded(key: str) -> str:
    """Write a key without case, `_`, `-` and blanks."""
    return _BETWEEN_WORDS.sub("", key.strip("\"'`*")).casefold()


@functools.lru_cache(1024)
def kind_of(key: str) -> KeyKind:
    """Tell what a key means, however it is written."""
    key = folded(key)
    if key in _SURE_BOXES:
        return "box"
    if key in _SURE_POINTS:
        return "point"
    if key in NAME_KEYS:
        return "name"
    if "3d" in key or "cuboid" in key:
        return "solid"
    for kind, pattern in _KINDS:
        if pattern.fullmatch(key) or pattern.fullmatch(_NUMBER_OF_KEY.sub("", key)):
            return kind
    return "other"


_KINDS: tuple[tuple[KeyKind, re.Pattern[str]], ...] = (
    ("keypoints", _KEYPOINTS),
    ("tilted", _TILTED),
    ("area", _AREAS),
    ("place", _PLACES),
)


def is_sure(key: str) -> bool:
    """Tell whether a key is a coordinate key whatever it holds."""
    return kind_of(key) in ("box", "point")


def is_measure(key: str) -> bool:
    """Tell whether numbers under an unknown key are no place."""
    return _MEASURES.fullmatch(folded(key)) is not None


def names_things(key: str) -> bool:
    """Tell whether a dictionary key is the name of what it holds."""
    bare = _NUMBER_OF_KEY.sub("", folded(key))
    return kind_of(key) == "other" and not _WRAPPERS.fullmatch(bare) and not is_measure(key)
