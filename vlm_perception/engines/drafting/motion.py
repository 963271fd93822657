"""Where the objects of the last answers stand now: where their pixels were followed to, or else at constant velocity.

A model's coordinates tremble by a pixel or two and an object is now and then left out, so the last
answer alone says little about either: velocity is fitted to several sightings, and an object that
is away for a few answers is kept in mind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vlm_perception.engines.drafting.template import ReplyItem, ReplyTemplate
from vlm_perception.types import WH, Move

# Share of the model image's longer side.
_FARTHEST_MATCH = 0.25
_MOST_SIGHTINGS = 5
# What one edge that trembles by a pixel makes of the mean of both: no motion.
_TREMBLE_PX = 0.5
_MOST_AHEAD = 3.0
# Between what a model wrote and the same from image pixels.
_SAME_PX = 1.0
# Times that are closer tell no velocity.
_SHORTEST_S = 1e-3
_LONGEST_AWAY = 5
# Bounds what one answer costs to follow; no reply that is worth drafting has more objects.
_MOST_TRACKS = 64


@dataclass(frozen=True, slots=True)
class ExpectedReply:
    """What the next answer may hold.

    Attributes:
        template: Its form; the objects in their order, also those that may come back.
        away: Places of objects in `template` that the last answer did not have.
    """

    template: ReplyTemplate
    away: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class _Track:
    """One object: when and how it was seen last, oldest first, and how many answers left it out since."""

    sightings: tuple[tuple[float, ReplyItem], ...]
    missed: int = 0

    @property
    def item(self) -> ReplyItem:
        return self.sightings[-1][1]

    def at(self, stamp_s: float, model_wh: WH, moves: Sequence[Move] = ()) -> ReplyItem:
        """Tell where it is expected, within the image; an object seen once stays unless it was followed."""
        x, y = (_mean(self.item, axis) for axis in (0, 1))
        for move in moves:
            if max(abs(move.from_xy[0] - x), abs(move.from_xy[1] - y)) <= _SAME_PX:
                return _moved(self.item, [move.to_xy[0] - move.from_xy[0], move.to_xy[1] - move.from_xy[1]], model_wh)
        times = [time for time, _ in self.sightings]
        span_s = times[-1] - times[0]
        if span_s < _SHORTEST_S:
            return self.item
        ahead_s = min(max(stamp_s - times[-1], 0.0), _MOST_AHEAD * span_s / (len(times) - 1))
        steps = [ahead_s * _slope(times, [_mean(item, axis) for _, item in self.sightings]) for axis in (0, 1)]
        return _moved(self.item, [step if abs(step) > _TREMBLE_PX else 0.0 for step in steps], model_wh)

    def seen(self, stamp_s: float, item: ReplyItem) -> _Track:
        """Add a sighting; a clock that went back starts again."""
        earlier = self.sightings[-_MOST_SIGHTINGS + 1 :] if stamp_s > self.sightings[-1][0] else ()
        return _Track((*earlier, (stamp_s, item)))


class ObjectMotion:
    """Follows the objects of one prompt from answer to answer."""

    def __init__(self) -> None:
        self._last: ReplyTemplate | None = None
        self._tracks: list[_Track] = []

    def tell(self, template: ReplyTemplate, stamp_s: float, model_wh: WH) -> None:
        """Take an answer.

        Args:
            template: The answer.
            stamp_s: Its frame's time.
            model_wh: Bounds of the coordinates, pixels.
        """
        left = {place: track.at(stamp_s, model_wh) for place, track in enumerate(self._tracks)}
        matches: list[int | None] = []
        for item in template.items[:_MOST_TRACKS]:
            match = _nearest(item, left, _FARTHEST_MATCH * max(model_wh))
            if match is not None:
                del left[match]
            matches.append(match)
        tracks = [
            _Track(((stamp_s, item),)) if match is None else self._tracks[match].seen(stamp_s, item)
            for match, item in zip(matches, template.items, strict=False)
        ]
        self._last, self._tracks = template, self._with_those_away(tracks, matches)

    def expect(self, stamp_s: float, model_wh: WH, moves: Sequence[Move] = ()) -> ExpectedReply | None:
        """Tell what the answer about a frame of `stamp_s` may hold; None before the first answer.

        Args:
            stamp_s: The frame's time.
            model_wh: Bounds of the coordinates, pixels.
            moves: How far objects have come by their pixels, in the model's coordinates.
        """
        if self._last is None:
            return None
        items = tuple(track.at(stamp_s, model_wh, moves) for track in self._tracks)
        away = frozenset(place for place, track in enumerate(self._tracks) if track.missed)
        if len(items) == len(away):
            return ExpectedReply(self._last)
        return ExpectedReply(replace(self._last, items=items), away)

    def _with_those_away(self, tracks: list[_Track], matches: Sequence[int | None]) -> list[_Track]:
        """Put objects that were left out behind the one that they followed the last time."""
        order: list[tuple[int | None, _Track]] = list(zip(matches, tracks, strict=True))
        leader = -1
        for place, track in enumerate(self._tracks):
            if place not in matches:
                if track.missed >= _LONGEST_AWAY or len(order) >= _MOST_TRACKS:
                    continue
                behind = next((at for at, (earlier, _) in enumerate(order, 1) if earlier == leader), 0)
                order.insert(behind, (place, replace(track, missed=track.missed + 1)))
            leader = place
        return [track for _, track in order]


def _nearest(item: ReplyItem, others: dict[int, ReplyItem], farthest_px: float) -> int | None:
    """Find the object of the same form and label that is nearest, by its mean coordinate; its place."""
    numbers = item.numbers()
    alike = [p for p, o in others.items() if numbers and o.kinds == item.kinds and o.words() == item.words()]
    distances = [
        sum(abs(a - b) for a, b in zip(numbers, others[place].numbers(), strict=True)) / len(numbers) for place in alike
    ]
    near = min(distances, default=farthest_px)
    return alike[distances.index(near)] if near < farthest_px else None


def _mean(item: ReplyItem, axis: int) -> float:
    """Mean of an object's coordinates along an axis: a tremble of one edge counts less."""
    numbers = item.numbers()[axis::2]
    return sum(numbers) / len(numbers) if numbers else 0.0


def _slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Fit a line by least squares; times must differ."""
    middle = sum(times) / len(times)
    rise = sum((time - middle) * value for time, value in zip(times, values, strict=True))
    return rise / sum((time - middle) ** 2 for time in times)


def _moved(item: ReplyItem, steps: Sequence[float], model_wh: WH) -> ReplyItem:
    slots, place = list(item.slots), 0
    for index, slot in enumerate(slots):
        if isinstance(slot, int):
            slots[index] = min(max(round(slot + steps[place % 2]), 0), model_wh[place % 2])
            place += 1
    return replace(item, slots=tuple(slots))
