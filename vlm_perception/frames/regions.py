"""A region of a frame as a frame of its own, and what was found in it back in the whole."""

from __future__ import annotations

from dataclasses import replace

from vlm_perception.types import WH, XY, DetectedObject, Frame, Move, Request


def look_at_region(request: Request) -> tuple[Request, XY]:
    """Make what an engine is asked, which knows nothing of regions.

    Args:
        request: In pixels of the whole frame.

    Returns:
        The same about the prompt's region alone, in its own pixels, which are a view of the frame's; and where its top
        left corner lies in the frame. The request itself where the prompt has no region.

    Raises:
        GeometryError: The region lies outside of the frame.
    """
    region, frame = request.prompt.region, request.frame
    if region is None:
        return request, (0.0, 0.0)
    left, top, right, bottom = region.in_image(frame.image_wh)
    back = (-float(left), -float(top))
    moves = tuple(Move(_moved(move.from_xy, back), _moved(move.to_xy, back)) for move in request.moves)
    seen = replace(frame, rgb=frame.rgb[top:bottom, left:right])
    clip = request.clip
    if clip is not None:
        before = [_part_of(each, (left, top, right, bottom), frame.image_wh) for each in clip.frames[:-1]]
        clip = replace(clip, frames=(*before, seen))
    return replace(request, frame=seen, moves=moves, clip=clip), (left, top)


def shifted(found: DetectedObject, by_xy: XY) -> DetectedObject:
    """Move an object with all its places, pixels."""
    if by_xy == (0.0, 0.0):
        return found
    box, point_xy = found.xyxy, found.point_xy
    return replace(
        found,
        xyxy=None if box is None else (*_moved(box[:2], by_xy), *_moved(box[2:], by_xy)),
        point_xy=None if point_xy is None else _moved(point_xy, by_xy),
        polygon=tuple(_moved(corner, by_xy) for corner in found.polygon),
        keypoints={name: _moved(xy, by_xy) for name, xy in found.keypoints.items()},
    )


def _part_of(small: Frame, edges: tuple[int, int, int, int], image_wh: WH) -> Frame:
    """Cut the same part out of a frame that is kept smaller than it was; at least a pixel of it."""
    (width, height), (left, top, right, bottom) = small.image_wh, edges
    across, down = width / image_wh[0], height / image_wh[1]
    x, y = min(round(left * across), width - 1), min(round(top * down), height - 1)
    part = small.rgb[y : max(y + 1, round(bottom * down)), x : max(x + 1, round(right * across))]
    return replace(small, rgb=part)


def _moved(xy: XY, by_xy: XY) -> XY:
    return xy[0] + by_xy[0], xy[1] + by_xy[1]
