"""From the words of a reply about a video to what happened when.

Read: the forms of Qwen's video cookbooks, and what models make of them. In JSON `start_time` and `end_time`,
`timestamps` of two, and ranges that are keys (`{"00:23.00 - 00:48.00": "..."}`), where a bare number is seconds; in
words ranges and moments as `mm:ss.ff` or with a unit (`64.0 - 72.0 seconds`, `at 1.5s`, `<1.5 seconds>`). Durations
("for 3 seconds") are no moments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml

from vlm_perception.types import DetectedObject, Event, Reject

# Models round, and think that the last frame lasts.
TOLERANCE_S = 0.5

_CLOCK = r"(?:\d{1,2}:)?\d{1,3}:[0-5]?\d(?:[.,]\d{1,6})?(?!\d|[.,:]\d)"
_NUMBER = r"\d{1,6}(?:\.\d{1,6})?"
_UNIT = r"\s?(?:s|secs?|seconds?|sekunden?|秒钟?)(?![A-Za-z])"
_DASH = r"\s?(?:-{1,2}|[–—~～至到]|to|until|till|through)\s?"
_BEFORE = r"(?<![A-Za-z0-9_.:,/])"
_RANGE = re.compile(
    rf"{_BEFORE}<?(?P<start>{_CLOCK}|{_NUMBER}(?={_DASH})|{_NUMBER}{_UNIT})>?{_DASH}<?"
    rf"(?P<end>{_CLOCK}|{_NUMBER}{_UNIT})>?"
    rf"|\bbetween\s<?(?P<start2>{_CLOCK}|{_NUMBER}(?:{_UNIT})?)>?\sand\s<?(?P<end2>{_CLOCK}|{_NUMBER}{_UNIT})>?",
    re.IGNORECASE,
)
# A number of seconds is a moment only where something says so; `mm:ss` always is.
_MOMENT = re.compile(
    rf"{_BEFORE}(?P<clock>{_CLOCK})|<(?P<tag>{_NUMBER}{_UNIT})>"
    rf"|(?:\b(?:at|around|by|from|since|after|before|until|bei|nach)\s(?:about\s|around\s|the\s)?|[在第于约])\s?"
    rf"(?P<seconds>{_NUMBER}{_UNIT})",
    re.IGNORECASE,
)
_OBJECT = re.compile(r"\{[^{}]{0,4000}\}")
_TIME = re.compile(rf"\s?<?(?:(?P<clock>{_CLOCK})|(?P<seconds>-?{_NUMBER})(?:{_UNIT})?)>?\s?", re.IGNORECASE)
_FENCE = re.compile(r"`{3}[a-z]*", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\u3000]{2,}")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s|(?<=[。！？])|\n")
_MARKS = " \t\r\n*_`#:：,，;；-–—[]()（）\"'"

# Keys in lower case, without signs.
_START = re.compile(
    r"(?:start|begin)(?:s|ing)?(?:time|timestamp|s|sec|seconds)?|timestampstart|from|开始(?:时间)?|起始时间"
)
_END = re.compile(r"end(?:s|ing)?(?:time|timestamp|s|sec|seconds)?|timestampend|until|to|结束(?:时间)?|终止时间")
_BOTH = re.compile(
    r"timestamps?|times?(?:s|sec|seconds)?|time(?:range|interval|span)s?|intervals?|ranges?|spans?|segments?|时间[段戳]?"
)
_SAID = re.compile(
    r"descriptions?|events?|labels?|text|captions?|activity|action|name|sentence|content|query|描述|事件|内容"
)
_KEY_MARKS = str.maketrans("", "", " _-")


class EventReading(NamedTuple):
    """What a reply says of a clip.

    Attributes:
        events: In the order of the reply.
        rejects: Times that cannot be, with reasons.
        text: The words outside of JSON.
    """

    events: tuple[Event, ...]
    rejects: tuple[Reject, ...]
    text: str


class _Said(NamedTuple):
    """A time or range as it was written: its text, and what is said of it."""

    start: str
    end: str
    text: str
    source: str


def read_events(text: str, duration_s: float) -> EventReading:
    """Read events from a reply without its thinking and its boxes. Never raises on any text.

    Args:
        text: The reply.
        duration_s: Seconds from the clip's first frame to its last, from which times in the reply are counted.

    Returns:
        Events within the clip; an end up to `TOLERANCE_S` behind it is the clip's end. What ends before it begins, or
        lies outside of the clip, is a reject.
    """
    said: list[_Said] = []
    rest: list[str] = []
    at = 0
    for found in _OBJECT.finditer(text):
        listed = list(_listed(found[0]))
        if listed:
            rest.append(text[at : found.start()])
            at = found.end()
            said += listed
    prose = "".join(rest) + text[at:]
    if said or _is_empty_list(prose):
        prose = "\n".join(line for line in _FENCE.sub("", prose).splitlines() if line.strip(" \t[]{},"))
    said += _spoken(prose)
    events: dict[Event, None] = {}
    rejects: list[Reject] = []
    for each in said:
        event, reason = _checked(each, duration_s)
        if event in events:
            reason = "exact repeat of an earlier event"
        if event is None or reason:
            rejects.append(Reject(reason, each.source))
        else:
            events[event] = None
    return EventReading(tuple(events), tuple(rejects), prose.strip())


def spoken(event: Event) -> str:
    """Say an event in one line, as Qwen writes it: `00:01.50 - 00:04.00: it stops`."""
    times = dict.fromkeys((_clock(event.start_s), _clock(event.end_s)))
    return ": ".join(part for part in (" - ".join(times), event.text) if part)


def time_of(item: DetectedObject) -> float | None:
    """Tell at which time of the clip an object was seen, seconds; None where the model did not say."""
    for key, value in item.attributes.items():
        if _BOTH.fullmatch(_plain(key)) and (found := _TIME.fullmatch(value)):
            return _seconds(found[0])
    return None


def event_of(item: DetectedObject, duration_s: float, source: str) -> Event | Reject | None:
    """Make an event of a box that has a time; None of one that has none.

    Args:
        item: A box or point of the reply.
        duration_s: As for `read_events`.
        source: What the reply says of it.
    """
    time_s = time_of(item)
    if time_s is None:
        return None
    said = _Said(str(time_s), str(time_s), item.label, source)
    event, reason = _checked(said, duration_s)
    if event is None:
        return Reject(reason, source, item.span)
    return Event(event.start_s, event.end_s, event.text, item.xyxy)


def _listed(source: str) -> Iterator[_Said]:
    """Read one JSON object."""
    pairs = _pairs(source)
    for key, value in pairs:
        if _RANGE.fullmatch(key.strip()) and isinstance(value, str):
            yield _Said(*_ends(key), value, f"{key}: {value}")
    values = {_plain(key): value for key, value in pairs}
    text = next((value for key, value in values.items() if _SAID.fullmatch(key) and isinstance(value, str)), "")
    starts = [value for key, value in values.items() if _START.fullmatch(key)]
    ends = [value for key, value in values.items() if _END.fullmatch(key)]
    if starts and ends:
        yield _Said(_written(starts[0]), _written(ends[0]), text, source)
        return
    for value in (value for key, value in values.items() if _BOTH.fullmatch(key)):
        if isinstance(value, list) and len(value) == 2 and not any(isinstance(part, (list, dict)) for part in value):
            yield _Said(_written(value[0]), _written(value[1]), text, source)
        elif isinstance(value, list):
            ranges = [part for part in value if isinstance(part, list) and len(part) == 2]
            yield from (_Said(_written(start), _written(end), text, source) for start, end in ranges)
        elif _RANGE.fullmatch(_written(value).strip()):
            yield _Said(*_ends(_written(value)), text, source)
        else:
            yield _Said(_written(value), _written(value), text, source)
        return


def _pairs(source: str) -> list[tuple[str, Any]]:
    try:
        read = json.loads(source, object_pairs_hook=list)
    except (ValueError, RecursionError):
        try:
            # Quotes of another kind or none, and commas too many: as flow style of YAML, which reads 01:30.5 as 90.5.
            loaded = yaml.safe_load(source.replace("\t", " "))
            read = list(loaded.items()) if isinstance(loaded, Mapping) else []
        except (yaml.YAMLError, ValueError, TypeError, RecursionError):
            read = []
    return [(str(key), value) for key, value in read]


def _spoken(prose: str) -> Iterator[_Said]:
    """Read ranges and moments in sentences."""
    for sentence in _SENTENCE_END.split(prose):
        sentence = _SPACES.sub(" ", sentence)
        # One text for all times of a sentence: a model that repeats a time without end would fill the memory else.
        whole = sentence.strip().strip("*`#")
        lead = len(sentence) - len(sentence.lstrip(_MARKS))
        times = [(*_ends(found[0]), found) for found in _RANGE.finditer(sentence)]
        for found in _MOMENT.finditer(_RANGE.sub(lambda found: " " * len(found[0]), sentence)):
            moment = found["clock"] or found["tag"] or found["seconds"]
            times.append((moment, moment, found))
        for start, end, found in times:
            is_lead = found.start() <= lead
            yield _Said(start, end, sentence[found.end() :].strip(_MARKS) if is_lead else whole, found[0])


def _ends(text: str) -> tuple[str, str]:
    found = _RANGE.search(text)
    assert found is not None
    return found["start"] or found["start2"], found["end"] or found["end2"]


def _checked(said: _Said, duration_s: float) -> tuple[Event | None, str]:
    start_s, end_s = _seconds(said.start), _seconds(said.end)
    if start_s is None or end_s is None:
        return None, f"{(said.start if start_s is None else said.end)[:40]!r} is no time"
    if end_s < start_s:
        return None, f"ends at {end_s:.2f} s, before it begins at {start_s:.2f} s"
    if start_s < 0:
        return None, f"begins at {start_s:.2f} s, before the clip"
    if max(start_s, end_s) > duration_s + TOLERANCE_S:
        return None, f"{start_s:.2f} to {end_s:.2f} s is beyond the clip, which has {duration_s:.2f} s"
    return Event(min(start_s, duration_s), min(end_s, duration_s), said.text.strip()), ""


def _seconds(text: str) -> float | None:
    """Read `mm:ss.ff`, `hh:mm:ss.ff`, or a number of seconds."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    if found["seconds"]:
        return float(found["seconds"])
    total_s = 0.0
    for part in found["clock"].replace(",", ".").split(":"):
        total_s = total_s * 60 + float(part)
    return round(total_s, 6)


def _clock(time_s: float) -> str:
    minutes, hundredths = divmod(round(time_s * 100), 6000)
    return f"{minutes:02d}:{hundredths // 100:02d}.{hundredths % 100:02d}"


def _written(value: Any) -> str:
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _plain(key: str) -> str:
    return key.casefold().translate(_KEY_MARKS)


def _is_empty_list(prose: str) -> bool:
    return not _FENCE.sub("", prose).strip(" \t\r\n[]")
