"""One result -> one `ImageMarker` with every box and point in it.

Foxglove keeps the newest message of a topic and takes no notice of its `ns`, `id` and `action`; ROS
has no array of image markers. So a result is a single message that replaces the one before: a list
of lines, which can hold any number of shapes in any number of colours.
"""

from __future__ import annotations

from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import ImageMarker

from vlm_perception.drawing.class_colours import class_colours, is_faint
from vlm_perception.ros.outputs.result_messages import header_message
from vlm_perception.types import WH, XY, DetectedObject, Result

Segment = tuple[XY, XY]

_NAMESPACE = "vlm_perception"
_WHITE = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
_FAINT = 0.35
_THINNEST_PX = 2.0
_LINE_SHARE = 1 / 320
# Half the width of a point's cross, in lines' widths.
_CROSS_REACH = 4


def marker_message(result: Result) -> ImageMarker:
    """Make the marker of a result.

    The type is `LINE_LIST`: two `points` are one line, in pixels of the source image, and each line
    has its colour in `outline_colors`. A box is four lines, clockwise from the top left corner; a
    point is an upright cross of two. The colours follow from the labels, and a small score makes them
    faint, as in the annotated image.
    When nothing was found there are no lines and the action is `REMOVE`, so that every viewer
    clears what it showed.
    """
    width_px = _line_width_px(result.request.frame.image_wh)
    marker = ImageMarker(header=header_message(result.request.frame.header), ns=_namespace(result), id=0)
    marker.type, marker.scale, marker.outline_color = ImageMarker.LINE_LIST, width_px, _WHITE
    marker.action = ImageMarker.ADD if result.objects else ImageMarker.REMOVE
    points: list[Point] = []
    colours: list[ColorRGBA] = []
    by_label = class_colours((item.label for item in result.objects), result.request.prompt.targets)
    for item in result.objects:
        red, green, blue = by_label[item.label]
        colour = ColorRGBA(r=red / 255, g=green / 255, b=blue / 255, a=_FAINT if is_faint(item) else 1.0)
        for segment in segments(item, _CROSS_REACH * width_px):
            points += [Point(x=float(x), y=float(y)) for x, y in segment]
            colours.append(colour)
    marker.points, marker.outline_colors = points, colours
    return marker


def _namespace(result: Result) -> str:
    name = result.request.prompt.id
    return f"{_NAMESPACE}/{name}" if name else _NAMESPACE


def segments(item: DetectedObject, reach_px: float) -> tuple[Segment, ...]:
    """Return the lines of one object, in image pixels.

    Args:
        item: A box or a point.
        reach_px: From a point to the ends of its cross.
    """
    if item.xyxy is not None:
        left, top, right, bottom = item.xyxy
        corners = ((left, top), (right, top), (right, bottom), (left, bottom))
        return tuple((corner, corners[(place + 1) % 4]) for place, corner in enumerate(corners))
    if item.point_xy is None:
        raise ValueError(f"object {item.label!r} has neither a box nor a point")
    x, y = item.point_xy
    return ((x - reach_px, y), (x + reach_px, y)), ((x, y - reach_px), (x, y + reach_px))


def _line_width_px(image_wh: WH) -> float:
    return max(_THINNEST_PX, min(image_wh) * _LINE_SHARE)
