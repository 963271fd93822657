"""From words about a video to what happened when."""

from __future__ import annotations

import numpy as np
import pytest
from growth import grows_with_its_length
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.pipeline import perceive
from vlm_perception.replies.events import TOLERANCE_S, read_events
from vlm_perception.replies.result_json import result_fields
from vlm_perception.types import (
    Answer,
    Clip,
    Event,
    Frame,
    FrameHeader,
    Prompt,
    Region,
    Request,
    Task,
    Timings,
)

CLIP_S = 100.0
# The two editions of Qwen's cookbook, and what models make of their forms: the reply, its events, its words.
READ: list[tuple[str, list[tuple[float, float, str]], str]] = [
    (
        '```json\n[\n    {\n        "start_time": "00:00.00",\n        "end_time": "00:21.80",\n'
        '        "description": "A person is slicing meat."\n    },\n    {\n        "start_time": "00:23.90",\n'
        '        "end_time": "01:35.60",\n        "description": "They season it."\n    }\n]\n```',
        [(0.0, 21.8, "A person is slicing meat."), (23.9, 95.6, "They season it.")],
        "",
    ),
    (
        '{\n    "00:23.00 - 00:48.00": "trim the fat.",\n    "00:56.00 - 01:28.00": "season it."\n}',
        [(23.0, 48.0, "trim the fat."), (56.0, 88.0, "season it.")],
        "",
    ),
    (
        "The event happens in 01:32.40 - 01:35.60.",
        [(92.4, 95.6, "The event happens in 01:32.40 - 01:35.60.")],
        "The event happens in 01:32.40 - 01:35.60.",
    ),
    (
        "The given query happens in 64.0 - 72.0 seconds.",
        [(64.0, 72.0, "The given query happens in 64.0 - 72.0 seconds.")],
        "The given query happens in 64.0 - 72.0 seconds.",
    ),
    ("**00:00.00 - 00:21.80:**\t\tSlicing.", [(0.0, 21.8, "Slicing.")], "**00:00.00 - 00:21.80:**\t\tSlicing."),
    # Nothing happened.
    ("```json\n[]\n```", [], ""),
    ("[]", [], ""),
    ("Nothing moves.", [], "Nothing moves."),
    # Numbers are seconds in JSON; keys of other kinds; JSON that is none.
    ('[{"timestamps": [1.0, 2.5], "event": "x"}]', [(1.0, 2.5, "x")], ""),
    ('{"time": [[1, 2], [3, 4]]}', [(1.0, 2.0, ""), (3.0, 4.0, "")], ""),
    ('{"time": "1.5s - 3s", "label": "x"}', [(1.5, 3.0, "x")], ""),
    ('{"time": 2.0, "label": "x"}', [(2.0, 2.0, "x")], ""),
    ('{"Start Time": 1.0, "END": 2.5,}', [(1.0, 2.5, "")], ""),
    ("{start_time: 00:01.50, 'end_time': '2.5s'}", [(1.5, 2.5, "")], ""),
    ('Here:\n{"start": 1, "end": 2}\nDone.', [(1.0, 2.0, "")], "Here:\nDone."),
    # Qwen3-VL's own marks, moments, units, hours, other dashes and words.
    ("<1.5 seconds> it comes. It goes at 00:03.00.", [(1.5, 1.5, "it comes."), (3.0, 3.0, "It goes at 00:03.00.")], ""),
    ("from <1.0 seconds> to <2.0 seconds>", [(1.0, 2.0, "from <1.0 seconds> to <2.0 seconds>")], ""),
    ("00:00:01.5 – 00:01:02", [(1.5, 62.0, "")], ""),
    ("between 1.5 and 3 seconds it stops", [(1.5, 3.0, "it stops")], ""),
    ("It stops at about 4s.", [(4.0, 4.0, "It stops at about 4s.")], ""),
    ("小车在00:01.50到00:03.00经过方块。", [(1.5, 3.0, "小车在00:01.50到00:03.00经过方块。")], ""),
    ("第3秒离开", [(3.0, 3.0, "离开")], ""),
    # No times: durations, counts, ratios of sizes.
    ("It waits for 3 seconds beside 3-4 carts, 2 - 3 of them red.", [], ""),
    # The end of the clip is rounded.
    ("It stays from 01:39.00 to 01:40.40.", [(99.0, 100.0, "It stays from 01:39.00 to 01:40.40.")], ""),
]


@pytest.mark.parametrize(("reply", "events", "text"), READ, ids=[reply[:40] for reply, *_ in READ])
def test_times_are_read_in_every_form(reply: str, events: list[tuple[float, float, str]], text: str) -> None:
    reading = read_events(reply, CLIP_S)
    assert [(event.start_s, event.end_s, event.text) for event in reading.events] == events
    assert not reading.rejects
    assert reading.text == (text or ("" if reply[0] in "[{`" else reply))


REFUSED = [
    ('{"start_time": "00:05.00", "end_time": "00:01.00"}', "ends at 1.00 s, before it begins at 5.00 s"),
    ("It rains at 02:30.", "150.00 to 150.00 s is beyond the clip, which has 100.00 s"),
    ('{"start": 1, "end": 1e400}', "'inf' is no time"),
    ('{"start": "NaN", "end": 3}', "'NaN' is no time"),
    ('{"start": null, "end": 3}', "'None' is no time"),
    (f'{{"start": 1, "end": {"9" * 400}}}', "is no time"),
    ('{"start": -1, "end": 3}', "begins at -1.00 s, before the clip"),
]


@pytest.mark.parametrize(("reply", "reason"), REFUSED)
def test_times_that_cannot_be_are_refused_with_a_reason(reply: str, reason: str) -> None:
    reading = read_events(reply, CLIP_S)
    assert not reading.events
    assert [reason in each.reason and each.text in reply for each in reading.rejects] == [True]


def test_the_same_event_again_is_one() -> None:
    reading = read_events("It stops at 4s.\nIt stops at 4s.", CLIP_S)
    assert (len(reading.events), [each.reason for each in reading.rejects]) == (1, ["exact repeat of an earlier event"])


PIECES = ["{", "}", "[", "]", '"', ":", ",", "start", "end_time", "time", "1.5", "00:01.50", " - ", "s", "<", ">", "\n",
          "to", "at ", "&a", "*a", "!!", "? ", "\t", "秒", "1e9", "null", "٣"]  # fmt: skip


@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from(PIECES)).map("".join)), st.floats(0, 1e4))
def test_any_text_gives_events_within_the_clip(reply: str, duration_s: float) -> None:
    for event in read_events(reply, duration_s).events:
        assert 0 <= event.start_s <= event.end_s <= duration_s


@given(st.floats(0, 90).map(lambda s: round(s, 2)), st.floats(0, 9).map(lambda s: round(s, 2)))
def test_what_is_written_in_the_form_of_the_cookbook_comes_back(start_s: float, more_s: float) -> None:
    def clock(time_s: float) -> str:
        minutes, hundredths = divmod(round(time_s * 100), 6000)
        return f"{minutes:02d}:{hundredths // 100:02d}.{hundredths % 100:02d}"

    span = f"{clock(start_s)} - {clock(start_s + more_s)}"
    written = f'{{"start_time": "{clock(start_s)}", "end_time": "{clock(start_s + more_s)}"}}'
    for reply in (span, f"It happens in {span}.", written, f'{{"{span}": "x"}}'):
        (event,) = read_events(reply, CLIP_S).events
        assert (event.start_s, event.end_s) == pytest.approx((start_s, start_s + more_s), abs=0.006)


@pytest.mark.parametrize(
    "piece",
    ["{", '{"start": 1, ', "1:", "00:01 ", "00:01 - 00:02 ", "12 - ", "at 1", "at 1s ", "<1 ", "between 1 and ", "[["],
)
def test_the_longest_reply_costs_no_more_than_its_length(piece: str) -> None:
    assert grows_with_its_length(lambda reply: read_events(reply, CLIP_S), (piece * 60_000)[:60_000])


def test_times_of_one_sentence_share_its_text() -> None:
    text = "then ".join(f"00:{at_s:02d}.{part:02d} " for at_s in range(4) for part in range(100))
    events = read_events(f"It moves at {text}", CLIP_S).events
    assert len(events) > 300
    assert len({id(event.text) for event in events}) == 1


class Saying:
    """An engine that says one thing."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.asked: list[Request] = []

    def answer(self, request: Request, should_stop: object, on_text: object) -> Answer:
        self.asked.append(request)
        return Answer(self.text, (100, 100), "absolute", "stop", (), Timings(0.0, 0.0, 0.0))


def frame(sec: int, nanosec: int, received_s: float) -> Frame:
    return Frame(np.zeros((200, 200, 3), np.uint8), FrameHeader(sec, nanosec, "camera"), "/image", received_s)


BOXES = (
    '```json\n[{"time": 1.0, "bbox_2d": [10, 10, 50, 50], "label": "cart"}, '
    '{"time": 1.5, "bbox_2d": [10, 10, 50, 50], "label": "cart"}, '
    '{"time": 9.0, "bbox_2d": [10, 10, 50, 50], "label": "cart"}, '
    '{"bbox_2d": [60, 60, 70, 70], "label": "cup"}]\n```'
)


def test_boxes_with_a_time_are_events_and_stay_beside_each_other() -> None:
    clip = Clip((frame(7, 900_000_000, 1.0), frame(10, 0, 3.1)), (0.0, 2.1))
    request = Request(clip.frames[-1], Prompt("x", Task.WATCH, "x"), clip=clip)
    result = perceive(Saying(BOXES), request)
    xyxy = (20.0, 20.0, 100.0, 100.0)
    assert result.events == (Event(1.0, 1.0, "cart", xyxy), Event(1.5, 1.5, "cart", xyxy))
    assert [item.label for item in result.objects] == ["cup"]
    assert [reject.reason for reject in result.rejects] == [
        "9.00 to 9.00 s is beyond the clip, which has 2.10 s",
    ]
    fields = result_fields(result)
    assert fields["clip"] == {"duration_s": 2.1, "frames": 2}
    assert fields["events"][1] == {
        "start_s": 1.5,
        "end_s": 1.5,
        "text": "cart",
        "start_stamp": {"sec": 9, "nanosec": 400_000_000},
        "end_stamp": {"sec": 9, "nanosec": 400_000_000},
        "bbox_xyxy": list(xyxy),
    }


def test_in_a_part_of_the_image_frames_and_boxes_are_of_that_part() -> None:
    """The earlier frame is kept at half the size; its part is the same."""
    small = Frame(np.zeros((100, 100, 3), np.uint8), FrameHeader(7, 0, "camera"), "/image", 1.0)
    small.rgb[50:, 50:] = 9
    clip = Clip((small, frame(9, 0, 3.0)), (0.0, 2.0))
    prompt = Prompt("x", Task.WATCH, "x", region=Region((0.5, 0.5, 1.0, 1.0)))
    engine = Saying('[{"time": 1.0, "bbox_2d": [10, 20, 50, 60], "label": "cart"}]')
    result = perceive(engine, Request(clip.frames[-1], prompt, clip=clip))
    (asked,) = engine.asked
    assert [each.image_wh for each in asked.clip.frames] == [(50, 50), (100, 100)]
    assert int(asked.clip.frames[0].rgb.min()) == 9
    assert asked.clip.frames[-1] is asked.frame
    assert result.events == (Event(1.0, 1.0, "cart", (110.0, 120.0, 150.0, 160.0)),)


@pytest.mark.parametrize("stamps", [((0, 0), (0, 0)), ((5, 0), (5, 0))], ids=["none", "standing still"])
def test_a_camera_without_stamps_has_events_without_them(stamps: tuple[tuple[int, int], tuple[int, int]]) -> None:
    clip = Clip((frame(*stamps[0], 1.0), frame(*stamps[1], 3.0)), (0.0, 2.0))
    result = perceive(Saying("at 00:01.00"), Request(clip.frames[-1], Prompt("x", Task.WATCH, "x"), clip=clip))
    (fields,) = result_fields(result)["events"]
    assert (fields["start_s"], fields["start_stamp"]) == (1.0, None)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ('[{"start": 1, "end": 2.5, "event": "it stops"}, {"time": 61}]', "00:01.00 - 00:02.50: it stops\n01:01.00"),
        ('It does. {"start": 1, "end": 2.5}', "It does."),
        ("[]", ""),
    ],
)
def test_an_answer_in_json_alone_has_words_too(reply: str, text: str) -> None:
    clip = Clip((frame(1, 0, 1.0), frame(91, 0, 91.0)), (0.0, 90.0))
    assert perceive(Saying(reply), Request(clip.frames[-1], Prompt("x", Task.WATCH, "x"), clip=clip)).text == text


def test_without_a_clip_times_are_words() -> None:
    result = perceive(Saying("at 00:01.00"), Request(frame(1, 0, 1.0), Prompt("x", Task.DESCRIBE, "x")))
    assert (result.text, result.events) == ("at 00:01.00", ())
    assert "events" not in result_fields(result)


def test_a_clip_is_as_long_as_its_times() -> None:
    assert TOLERANCE_S < 1.0
    assert Clip((frame(1, 0, 1.0),), (0.0,)).duration_s == 0.0
