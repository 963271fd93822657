"""Engine to objects, score, count and prose in one call; what is told before the end is what the end confirms."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.engines.base import Engine, OnText, ignore_text
from vlm_perception.errors import DeviceLostError, GeometryError, InferenceError, ModelMemoryError
from vlm_perception.pipeline import look_closer, perceive
from vlm_perception.replies.reader import AnswerReader, parse_answer
from vlm_perception.replies.scores import FORMULA, score_objects
from vlm_perception.types import (
    Answer,
    Calibration,
    DetectedObject,
    FinishReason,
    Frame,
    FrameHeader,
    PixelBudget,
    Prompt,
    Region,
    Request,
    Result,
    Task,
    Timings,
    Token,
    Zoom,
)

MODEL_WH = (100, 50)


class WritingEngine:
    """Writes given pieces, each a token with its log-probability, and tells them as it goes if it `streams`."""

    name = "writing"

    def __init__(
        self,
        pieces: Sequence[tuple[str, float]],
        calibration: Calibration | None = None,
        *,
        ends: FinishReason = "stop",
        streams: bool = True,
    ) -> None:
        self.pieces, self.calibration, self.ends, self.streams = pieces, calibration, ends, streams
        self.written = 0

    def load(self) -> None: ...

    def blank_answer(self, request: Request) -> Answer:
        return Answer("", MODEL_WH, "absolute", "unfinished", (), Timings(0, 0, 0), self.calibration)

    def answer(self, request: Request, should_stop: Callable[[], bool], on_text: OnText = ignore_text) -> Answer:
        text, tokens, self.written = "", [], 0
        if should_stop():
            return replace(self.blank_answer(request), finish_reason="aborted")
        for piece, logprob in self.pieces:
            self.written += 1
            token = Token(len(text), len(text) + len(piece), logprob)
            text += piece
            tokens.append(token)
            if self.streams:
                on_text(piece, (token,))
        return replace(self.blank_answer(request), text=text, tokens=tuple(tokens), finish_reason=self.ends)

    def describe(self) -> dict[str, str]:
        return {}

    def close(self) -> None: ...


def request(task: Task = Task.DETECT, targets: tuple[str, ...] = ("animal",)) -> Request:
    frame = Frame(np.zeros((200, 400, 3), np.uint8), FrameHeader(1, 2, "cam"), "/image", 0.0)
    return Request(frame, Prompt("the animals", task, "Locate ...", targets), PixelBudget(3136, 10**6), 64)


def by_letters(text: str, logprob: float = -0.002) -> list[tuple[str, float]]:
    return [(letter, logprob) for letter in text]


CAT = '{"bbox_2d": [10, 20, 30, 40], "label": "cat"}'
DOG = '{"bbox_2d": [50, 30, 70, 40], "label": "dog"}'


def whole(text: str, ends: FinishReason = "stop", logprob: float = -0.05) -> WritingEngine:
    """An engine that does not stream."""
    return WritingEngine(by_letters(text, logprob), ends=ends, streams=False)


LINES = (
    '[{"bbox_2d": [10, 20, 30, 40], "text_content": "A7"}, '
    '{"bbox_2d": [50, 30, 70, 40], "text_content": "A long line"}]'
)
NAMED_LINES = LINES.replace('"text_content": "A7"', '"label": "Serial Number", "text_content": "A7"').replace(
    '"text_content": "A long line"', '"label": "the voltage", "text_content": "A long line"'
)
PAGE = '<h2 data-bbox="10 20 30 40">A7</h2>\n<p data-bbox="50 30 70 40">A long line</p>'
READ_AS = [
    (LINES, ("carts",), [("carts", "line"), ("carts", "line")]),
    (LINES, (), [("text", "line"), ("text", "line")]),
    (LINES, ("carts", "signs"), [("text", "line"), ("text", "line")]),
    (NAMED_LINES, ("serial number", "voltage"), [("serial number", "line"), ("voltage", "line")]),
    (PAGE, (), [("heading", "heading"), ("paragraph", "paragraph")]),
    (PAGE, ("carts",), [("heading", "heading"), ("paragraph", "paragraph")]),
]


@pytest.mark.parametrize(("text", "targets", "named"), READ_AS)
@pytest.mark.parametrize("streams", [True, False])
def test_text_is_read_scaled_and_scored(
    text: str, targets: tuple[str, ...], named: list[tuple[str, str]], streams: bool
) -> None:
    """Told while it is written, where the engine streams, and then the same."""
    calibration = Calibration("three_product", 0.5, 1.0)
    told: list[Result] = []
    engine = WritingEngine(by_letters(text, -0.05), streams=streams, calibration=calibration)
    result = perceive(engine, request(Task.READ, targets), on_partial=told.append)
    assert [(found.label, found.kind) for found in result.objects] == named
    assert [found.text for found in result.objects] == ["A7", "A long line"]
    assert [found.xyxy for found in result.objects] == [(40.0, 80.0, 120.0, 160.0), (200.0, 120.0, 280.0, 160.0)]
    short, long = (found.score or 0.0 for found in result.objects)
    assert short == pytest.approx(long, rel=0.1), "the length of a text is no doubt"
    assert (result.calibrated, result.count, result.rejects) == (False, None, ())
    assert result.text == "A7\nA long line", "what a robot says"
    assert [partial.objects for partial in told] == ([result.objects[:1], result.objects] if streams else [])


def test_words_beside_what_was_read_are_said_before_it() -> None:
    result = perceive(WritingEngine(by_letters(f"Two lines:\n{LINES}")), request(Task.READ))
    assert result.text == "Two lines:\nA7\nA long line"
    less = perceive(WritingEngine(by_letters(LINES)), request(Task.READ), score_threshold=0.999)
    assert (less.objects, less.text) == ((), ""), "what is too unsure is not said"


def test_other_tasks_read_no_text() -> None:
    """What they took for names stays one."""
    result = perceive(WritingEngine(by_letters(LINES)), request(Task.DETECT))
    assert [(found.label, found.kind, found.text) for found in result.objects] == [
        ("A7", "", ""),
        ("A long line", "", ""),
    ]


def test_objects_come_back_scaled_and_scored() -> None:
    engine: Engine = WritingEngine(by_letters(f"[{CAT}", -0.05) + by_letters(f", {DOG}]", -3.0), streams=False)
    result = perceive(engine, request())
    assert [found.label for found in result.objects] == ["cat", "dog"]
    assert result.objects[0].xyxy == (40.0, 80.0, 120.0, 160.0)
    # The scores themselves are the matter of test_scores.py.
    assert result.objects == score_objects(result.objects, result.answer)
    sure, unsure = (found.score for found in result.objects)
    assert 1 > sure > unsure > 0
    assert result.request.frame.header == FrameHeader(1, 2, "cam")
    assert result.count is None
    kept = perceive(engine, request(), score_threshold=sure)
    assert [found.label for found in kept.objects] == ["cat"], "as sure as asked for"
    assert kept.rejects[0].text == DOG
    assert f"score_threshold {sure:.3f}" in kept.rejects[0].reason


def test_unnamed_objects_carry_what_was_asked() -> None:
    unnamed = whole('{"bbox_2d": [10, 20, 30, 40]}')
    assert perceive(unnamed, request()).objects[0].label == "animal"
    assert perceive(unnamed, request(targets=("cat", "dog"))).objects[0].label == ""


# task, reply, how it ended, count
COUNTS: list[tuple[Task, str, FinishReason, int | None]] = [
    (Task.COUNT, f"[{CAT}, {DOG}]\nThere are 3 animals.", "stop", 3),  # what is said wins over what is listed
    (Task.COUNT, f"[{CAT}, {DOG}]", "stop", 2),  # a finished list is a count
    (Task.COUNT, f"[{CAT}, {DOG}", "length", None),  # a cut-off list is not
    (Task.COUNT, '[{"bbox_2d": null}]', "stop", None),
    (Task.DETECT, f"[{CAT}]\nThere are 3.", "stop", None),  # nobody asked
    (Task.COUNT, f"<think>[{CAT}] or []", "stop", None),  # it never came to an answer
    (Task.COUNT, "<think>4 or 5</think>[]", "stop", 0),
]


@pytest.mark.parametrize(("task", "text", "ends", "count"), COUNTS)
def test_counting(task: Task, text: str, ends: FinishReason, count: int | None) -> None:
    assert perceive(whole(text, ends), request(task)).count == count


def test_text_only_answers_are_kept() -> None:
    result = perceive(whole("A red cart beside a face."), request(Task.DESCRIBE))
    assert (result.objects, result.text) == ((), "A red cart beside a face.")


def test_what_turns_out_to_be_thought_is_taken_back() -> None:
    told: list[list[str]] = []
    engine = WritingEngine(by_letters(f"[{CAT}, {DOG}] No.</think>[{DOG}, {CAT}]"))
    result = perceive(engine, request(), on_partial=lambda part: told.append([o.label for o in part.objects]))
    assert told == [["cat"], ["cat", "dog"], ["dog"], ["dog", "cat"]]
    assert [found.label for found in result.objects] == ["dog", "cat"]
    assert (result.text, result.thinking) == ("", f"[{CAT}, {DOG}] No.")


def test_an_aborted_answer_is_a_result_without_objects() -> None:
    result = perceive(whole(f"[{CAT}]"), request(), should_stop=lambda: True)
    assert (result.objects, result.answer.finish_reason) == ((), "aborted")


def test_a_failing_engine_is_not_hidden() -> None:
    class BrokenEngine(WritingEngine):
        def answer(self, request: Request, should_stop: Callable[[], bool], on_text: OnText = ignore_text) -> Answer:
            raise InferenceError("out of memory")

    with pytest.raises(InferenceError):
        perceive(BrokenEngine([]), request())


THREE = [{"bbox_2d": [10 * n, 20, 10 * n + 9, 40], "label": label} for n, label in enumerate("abc", start=1)]


def test_objects_are_told_as_soon_as_they_are_complete() -> None:
    text = json.dumps(THREE)
    engine = WritingEngine(by_letters(text))
    told: list[tuple[int, Result]] = []
    final = perceive(engine, request(), on_partial=lambda result: told.append((engine.written, result)))
    # The letter that ends an object is the letter that tells it.
    assert [written for written, _ in told] == [place + 1 for place, letter in enumerate(text) if letter == "}"]
    for count, (written, part) in enumerate(told, start=1):
        assert part.objects == final.objects[:count]
        assert (part.partial, part.answer.finish_reason, part.count) == (True, "unfinished", None)
        assert (part.answer.text, part.answer.model_wh) == (text[:written], MODEL_WH)
        assert part.answer.tokens == final.answer.tokens[:written]
        assert part.request is final.request
    assert (final.partial, final.answer.finish_reason, len(final.objects)) == (False, "stop", 3)


def test_the_time_of_the_first_object_is_known_with_and_without_telling() -> None:
    told: list[Result] = []
    final = perceive(WritingEngine(by_letters(json.dumps(THREE))), request(), on_partial=told.append)
    first_s = final.answer.timings.first_object_s
    assert first_s is not None
    assert first_s > 0
    times_s = [part.answer.timings.generate_s for part in told]
    assert {part.answer.timings.first_object_s for part in told} == {first_s}
    assert first_s <= times_s[0] <= times_s[1] <= times_s[2]
    assert perceive(WritingEngine(by_letters(json.dumps(THREE))), request()).answer.timings.first_object_s is not None
    assert perceive(WritingEngine(by_letters("[]")), request()).answer.timings.first_object_s is None
    assert perceive(WritingEngine([]), request()).answer.timings.first_object_s is None


def test_weak_objects_are_in_no_part_and_tell_nothing() -> None:
    sure, unsure = json.dumps(THREE[0]), json.dumps(THREE[1])
    pieces = by_letters(f"[{sure}, ") + by_letters(unsure, -4.0) + by_letters(", " + json.dumps(THREE[2]) + "]")
    told: list[Result] = []
    final = perceive(WritingEngine(pieces), request(), score_threshold=0.5, on_partial=told.append)
    assert [[found.label for found in part.objects] for part in told] == [["a"], ["a", "c"]]
    assert [len(part.rejects) for part in told] == [0, 1]
    assert told[-1].rejects == final.rejects
    assert "0.500" in final.rejects[0].reason
    assert final.rejects[0].text == final.answer.text[slice(*final.rejects[0].span)] == unsure


def test_unnamed_objects_have_the_asked_name_at_once() -> None:
    told: list[Result] = []
    perceive(WritingEngine(by_letters('[{"bbox_2d": [1, 2, 3, 4]}]')), request(), on_partial=told.append)
    assert [found.label for found in told[0].objects] == ["animal"]


def test_scores_of_a_part_are_calibrated_like_those_of_the_whole() -> None:
    calibration = Calibration(FORMULA, 2.0, -0.5)
    told: list[Result] = []
    engine = WritingEngine(by_letters(json.dumps(THREE)), calibration)
    final = perceive(engine, request(), on_partial=told.append)
    raw = perceive(WritingEngine(by_letters(json.dumps(THREE))), request())
    assert told[-1].objects == final.objects
    assert [part.calibrated for part in told] == [final.calibrated] * 3
    assert [found.score for found in final.objects] != [found.score for found in raw.objects]


LABELS = st.one_of(st.sampled_from(["cat", "red cup", "猫", 'a "b"', "[1, 2]", "}"]), st.text(max_size=8))
NUMBERS = st.integers(0, 110)
ITEMS = st.one_of(
    st.builds(lambda box, label: {"bbox_2d": list(box), "label": label}, st.tuples(*[NUMBERS] * 4), LABELS),
    st.builds(lambda point, label: {"point_2d": list(point), "label": label}, st.tuples(*[NUMBERS] * 2), LABELS),
    st.builds(lambda box: {"bbox_2d": [list(box), [1, 2, 3, 4]], "label": "two"}, st.tuples(*[NUMBERS] * 4)),
    st.sampled_from([{"bbox_2d": [1, 2, 3]}, {"bbox_2d": None, "label": "x"}, {"other": 1}]),
)


OTHER_FORMS = [
    '<points x1="10" y1="20" x2="30" y2="40" alt="cups">cups</points>',
    "<|object_ref_start|>cup<|object_ref_end|><|box_start|>(1,2),(30,40)<|box_end|>",
    "11,12,33,44 red cup",
    "There are 3 of them.",
]


@st.composite
def replies(draw: st.DrawFn) -> str:
    items = draw(st.lists(ITEMS, max_size=6))
    body = draw(
        st.sampled_from(
            [
                json.dumps(items),
                json.dumps(items, indent="\t", ensure_ascii=False),
                json.dumps({"objects": items}),
                "\n".join(map(json.dumps, items)),
            ]
        )
    )
    if draw(st.booleans()):
        # Other forms, in any order, beside the JSON.
        body = draw(st.sampled_from(["\n", " "])).join(draw(st.permutations([body, *OTHER_FORMS]))[:3])
    before, after = draw(st.sampled_from(["", "Here [they] are: ", "```json\n"])), draw(st.sampled_from(["", "\n```"]))
    whole = f"{before}{body}{after}"
    return whole[: draw(st.integers(0, len(whole)))] if draw(st.booleans()) else whole


@given(replies(), st.data())
def test_what_is_told_early_begins_what_is_told_at_the_end(reply: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(reply)), max_size=40)))
    logprobs = st.floats(-3.0, 0.0)
    pieces = [(reply[a:b], data.draw(logprobs)) for a, b in pairwise([0, *cuts, len(reply)])]
    told: list[Result] = []
    threshold = data.draw(st.sampled_from([0.0, 0.3]))
    final = perceive(WritingEngine(pieces), request(), score_threshold=threshold, on_partial=told.append)
    counts = [len(part.objects) for part in told]
    assert counts == sorted(set(counts)), "each part has more objects than the one before"
    for part in told:
        assert part.objects == final.objects[: len(part.objects)]
        assert final.answer.text.startswith(part.answer.text)


@pytest.mark.parametrize("task", [Task.COUNT, Task.POINT])
def test_other_tasks_stream_too(task: Task) -> None:
    told: list[Result] = []
    final = perceive(WritingEngine(by_letters(json.dumps(THREE))), request(task), on_partial=told.append)
    assert [part.count for part in told] == [None] * 3
    assert final.count == (3 if task is Task.COUNT else None)


def test_what_was_read_along_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[str] = []
    feed = AnswerReader.feed

    def counted(reader: AnswerReader, chunk: str) -> tuple[DetectedObject, ...]:
        fed.append(chunk)
        return feed(reader, chunk)

    monkeypatch.setattr(AnswerReader, "feed", counted)
    text = json.dumps(THREE)
    assert len(perceive(WritingEngine(by_letters(text)), request()).objects) == 3
    assert fed == list(text)


def test_an_answer_that_is_not_what_was_streamed_is_read_as_it_is() -> None:
    class SecondThoughts(WritingEngine):
        def answer(self, request: Request, should_stop: Callable[[], bool], on_text: OnText = ignore_text) -> Answer:
            return replace(super().answer(request, should_stop, on_text), text=json.dumps(THREE[1:]))

    final = perceive(SecondThoughts(by_letters(json.dumps(THREE))), request())
    assert [found.label for found in final.objects] == ["b", "c"]


@given(st.text(alphabet='[]{}"bbox_2d: label,\n<>points12 cat。', max_size=120))
def test_reading_along_gives_what_reading_the_whole_reply_gives(text: str) -> None:
    final = perceive(WritingEngine(by_letters(text)), request())
    read = parse_answer(text, model_wh=MODEL_WH, image_wh=(400, 200))
    assert [found.span for found in final.objects] == [found.span for found in read.objects]
    assert (final.rejects, final.text) == (read.rejects, read.text)


@pytest.mark.parametrize("streams", [True, False])
def test_a_region_is_all_that_the_engine_sees_and_answers_come_in_pixels_of_the_whole(streams: bool) -> None:
    class Looking(WritingEngine):
        def answer(self, request: Request, should_stop: Callable[[], bool], on_text: OnText = ignore_text) -> Answer:
            seen.append(request.frame.image_wh)
            return super().answer(request, should_stop, on_text)

    seen: list[tuple[int, int]] = []
    told: list[Result] = []
    asked = request()
    asked = replace(asked, prompt=replace(asked.prompt, region=Region((0.5, 0.5, 1.0, 1.0))))
    engine = Looking(by_letters(f"[{CAT}, {DOG}]"), streams=streams)
    result = perceive(engine, asked, on_partial=told.append)
    # The model's 100 x 50 are the lower right quarter's 200 x 100 pixels, which begins at 200, 100.
    assert [found.xyxy for found in result.objects] == [(220, 140, 260, 180), (300, 160, 340, 180)]
    assert (seen, result.request, result.answer.model_wh) == ([(200, 100)], asked, MODEL_WH)
    assert [part.objects for part in told] == ([result.objects[:1], result.objects] if streams else [])


SMALL = '[{"bbox_2d": [80, 10, 84, 13], "label": "cat"}]'


class LookingEngine(WritingEngine):
    """Writes one reply after the other and keeps what it was asked; an error is raised in the place of a reply."""

    def __init__(self, *replies: str | Exception) -> None:
        super().__init__([])
        self.replies, self.asked = list(replies), list[Request]()

    def answer(self, request: Request, should_stop: Callable[[], bool], on_text: OnText = ignore_text) -> Answer:
        self.asked.append(request)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        self.pieces = by_letters(reply)
        return super().answer(request, should_stop, on_text)


def test_a_small_thing_is_looked_at_again_and_its_place_comes_back_finer() -> None:
    dog = '{"bbox_2d": [10, 10, 50, 45], "label": "dog"}'
    engine = LookingEngine(f"[{SMALL[1:-1]}, {dog}]", '[{"bbox_2d": [48, 22, 64, 34], "label": "lynx"}]')
    told: list[Result] = []
    result = perceive(engine, request(), on_partial=told.append, zoom="auto")
    whole, closer = engine.asked
    (look,) = result.looks
    # A quarter of the 400 x 200 image's sides, around its middle at 328, 46.
    assert (look.outcome, look.xyxy, closer.frame.image_wh) == ("done", (278, 21, 378, 71), (100, 50))
    assert (closer.look, whole.look, closer.budget.min_pixels) == (1, 0, 5000)
    assert [(found.label, found.xyxy) for found in result.objects] == [
        ("lynx", (278 + 48, 21 + 22, 278 + 64, 21 + 34)),
        ("dog", (40, 40, 200, 180)),
    ]
    assert result.answer.text.startswith("[{"), "all else is of the first answer"
    assert [len(part.objects) for part in told] == [1, 2], "in the same order"
    assert [part.objects[-1].label for part in told] == ["cat", "dog"]


@pytest.mark.parametrize(
    ("task", "zoom", "own", "looks"),
    [
        (Task.DETECT, "auto", "", 1),
        (Task.GROUND, "auto", "", 1),
        (Task.COUNT, "auto", "", 1),
        (Task.RAW, "auto", "", 0),
        (Task.DESCRIBE, "auto", "", 0),
        (Task.DETECT, "off", "", 0),
        (Task.DETECT, "off", "auto", 1),
        (Task.DETECT, "auto", "off", 0),
    ],
)
def test_closer_looks_follow_where_they_are_wanted(task: Task, zoom: Zoom, own: Zoom, looks: int) -> None:
    asked = request(task)
    asked = replace(asked, prompt=replace(asked.prompt, zoom=own))
    result = perceive(LookingEngine(SMALL, SMALL), asked, zoom=zoom)
    assert [look.outcome for look in result.looks] == ["done"] * looks


def test_a_count_goes_along_with_what_is_new_unless_it_disagreed() -> None:
    new = '[{"bbox_2d": [48, 22, 64, 34], "label": "cat"}, {"bbox_2d": [10, 22, 30, 34], "label": "cat"}]'
    for said, count in ((SMALL, 2), (f"{SMALL} There is one.", 2), (f"{SMALL} There are seven.", 7)):
        assert perceive(LookingEngine(said, new), request(Task.COUNT), zoom="auto").count == count


def test_what_a_look_does_not_list_stays_unless_it_finds_nothing_at_all() -> None:
    other = '[{"bbox_2d": [5, 5, 9, 9], "label": "fly"}]'
    kept = perceive(LookingEngine(SMALL, other), request(Task.COUNT), zoom="auto")
    assert ([found.label for found in kept.objects], kept.count, kept.rejects) == (["cat", "fly"], 2, ())
    unread = perceive(LookingEngine(SMALL, '[{"bbox_2d": [5, 5, 5], "label": "cat"}]'), request(), zoom="auto")
    assert [found.label for found in unread.objects] == ["cat"], "a reply that cannot be read says nothing"
    taken = perceive(LookingEngine(SMALL, "[]"), request(Task.COUNT), zoom="auto")
    (reject,) = taken.rejects
    assert (taken.objects, taken.count, reject.text) == ((), 0, SMALL[1:-1])
    assert "found nothing" in reject.reason
    assert reject.score is not None


def test_looks_that_fail_are_too_late_or_stopped_cost_themselves_alone() -> None:
    for error in (ModelMemoryError("full"), InferenceError("broke"), GeometryError("too narrow")):
        result = perceive(LookingEngine(SMALL, error), request(), zoom="auto")
        assert ([(look.outcome, look.text) for look in result.looks], len(result.objects)) == (
            [("failed", str(error))],
            1,
        )
    with pytest.raises(DeviceLostError):
        perceive(LookingEngine(SMALL, DeviceLostError("gone")), request(), zoom="auto")
    first = perceive(LookingEngine(SMALL), request())
    late = look_closer(LookingEngine(), first, is_stale=lambda: True)
    assert ([look.outcome for look in late.looks], late.objects) == (["stale"], first.objects)
    stopped = look_closer(LookingEngine(), first, should_stop=lambda: True)
    assert (stopped.looks, stopped.objects) == ((), first.objects)
    turns = iter((False, True))
    ended = look_closer(LookingEngine(SMALL), first, should_stop=lambda: next(turns))
    assert ([look.outcome for look in ended.looks], ended.objects) == (["stopped"], first.objects)


def test_in_a_region_looks_stay_inside_of_it() -> None:
    engine = LookingEngine('[{"bbox_2d": [0, 0, 6, 6], "label": "cat"}]', "[]")
    asked = request()
    asked = replace(asked, prompt=replace(asked.prompt, region=Region((0.5, 0.5, 1.0, 1.0))))
    (look,) = perceive(engine, asked, zoom="auto").looks
    assert look.xyxy == (200, 100, 250, 125)
