"""Where objects are expected, from the answers before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.engines.drafting.motion import ExpectedReply, ObjectMotion
from vlm_perception.engines.drafting.template import ReplyTemplate, read_template
from vlm_perception.types import Move

WH = (1000, 800)
Box = tuple[str, int, int, int, int]


def boxes(*items: tuple[str, int, int, int, int]) -> ReplyTemplate:
    inside = ", ".join(f'{{"bbox_2d": [{a}, {b}, {c}, {d}], "label": "{label}"}}' for label, a, b, c, d in items)
    return read_template(f"[{inside}]")


@pytest.mark.parametrize(
    ("before", "last", "ahead", "expected"),
    [
        # Straight on, by as much as lay between the two answers, or twice that.
        ([("cup", 10, 10, 50, 50)], [("cup", 20, 14, 60, 54)], 1.0, [[30, 18, 70, 58]]),
        ([("cup", 10, 10, 50, 50)], [("cup", 20, 14, 60, 54)], 2.0, [[40, 22, 80, 62]]),
        # A tremble of a pixel is no motion; neither is one edge that jumps by less than two.
        ([("cup", 10, 10, 50, 50)], [("cup", 10, 11, 51, 50)], 1.0, [[10, 11, 51, 50]]),
        # Each object has its own match: by label, then by place, not by its turn in the list.
        (
            [("pan", 300, 300, 400, 400), ("cup", 10, 10, 50, 50), ("cup", 500, 10, 540, 50)],
            [("cup", 510, 10, 550, 50), ("cup", 20, 10, 60, 50), ("pan", 300, 290, 400, 390)],
            1.0,
            [[520, 10, 560, 50], [30, 10, 70, 50], [300, 280, 400, 380]],
        ),
        # No match: another label, or too far away.
        ([("pan", 10, 10, 50, 50)], [("cup", 20, 14, 60, 54)], 1.0, [[20, 14, 60, 54]]),
        ([("cup", 900, 700, 950, 750)], [("cup", 20, 14, 60, 54)], 1.0, [[20, 14, 60, 54]]),
        # Never outside of the image, nor far into an unknown future or the past.
        ([("cup", 60, 10, 100, 50)], [("cup", 5, 10, 45, 50)], 1.0, [[0, 10, 0, 50]]),
        ([("cup", 10, 10, 50, 50)], [("cup", 20, 10, 60, 50)], 99.0, [[50, 10, 90, 50]]),
        ([("cup", 10, 10, 50, 50)], [("cup", 20, 10, 60, 50)], -5.0, [[20, 10, 60, 50]]),
    ],
)
def test_objects_go_straight_on(
    before: list[tuple[str, int, int, int, int]],
    last: list[tuple[str, int, int, int, int]],
    ahead: float,
    expected: list[list[int]],
) -> None:
    tracks = ObjectMotion()
    tracks.tell(boxes(*before), 10.0, WH)
    tracks.tell(boxes(*last), 11.0, WH)
    told = tracks.expect(11.0 + ahead, WH)
    assert told is not None
    there = [item for place, item in enumerate(told.template.items) if place not in told.away]
    assert [item.numbers() for item in there] == expected
    assert [item.words() for item in there] == [item.words() for item in boxes(*last).items]


def test_objects_are_where_their_pixels_went() -> None:
    tracks = ObjectMotion()
    tracks.tell(boxes(("cup", 10, 10, 50, 50), ("pan", 300, 300, 400, 400)), 10.0, WH)
    tracks.tell(boxes(("cup", 20, 14, 60, 54), ("pan", 310, 300, 410, 400)), 11.0, WH)
    told = tracks.expect(12.0, WH, [Move((40.4, 33.6), (25.4, 93.6)), Move((700.0, 700.0), (0.0, 0.0))])
    assert told is not None
    assert [item.numbers() for item in told.template.items] == [[5, 74, 45, 114], [320, 300, 420, 400]]


CUP, PAN, JAR = ("cup", 10, 10, 50, 50), ("pan", 100, 10, 150, 50), ("jar", 300, 10, 350, 50)


def expected_after(*answers: tuple[Box, ...], times_s: tuple[float, ...] = ()) -> ExpectedReply:
    """Tell answers a second apart; what is expected a second after the last."""
    tracks, stamp_s = ObjectMotion(), 0.0
    for place, answer in enumerate(answers):
        stamp_s = times_s[place] if times_s else float(place)
        tracks.tell(boxes(*answer), stamp_s, WH)
    told = tracks.expect(stamp_s + 1.0, WH)
    assert told is not None
    return told


def labels(told: ExpectedReply) -> list[str]:
    """Labels in order, those that are away in brackets."""
    names = [item.words()[0] for item in told.template.items]
    return [f"({name})" if place in told.away else name for place, name in enumerate(names)]


def test_nothing_is_expected_before_the_first_answer() -> None:
    assert ObjectMotion().expect(1.0, WH) is None


def test_an_object_seen_once_stays() -> None:
    assert expected_after((CUP,)).template == boxes(CUP)


def test_velocity_is_fitted_to_more_than_the_last_two_answers() -> None:
    # 4 px an answer, with a tremble that the last two alone would take for 1 px.
    places = [10, 14, 18, 24, 25]
    told = expected_after(*((("cup", x, 10, x + 40, 50),) for x in places))
    assert told.template.items[0].numbers() == [29, 10, 69, 50]


def test_an_object_left_out_is_kept_in_its_place_and_goes_on_moving() -> None:
    def jar(x: int) -> Box:
        return ("jar", 300 + x, 10, 350 + x, 50)

    told = expected_after((CUP, PAN, jar(0)), (CUP, PAN, jar(10)), (CUP, jar(20)))
    assert labels(told) == ["cup", "(pan)", "jar"]
    assert told.template.items[2].numbers() == [330, 10, 380, 50]
    # At the front, and several in a row.
    assert labels(expected_after((CUP, PAN, JAR), (JAR,))) == ["(cup)", "(pan)", "jar"]
    # It is there again.
    again = expected_after((CUP, jar(0)), (CUP, jar(10)), (CUP,), (CUP, jar(30)))
    assert labels(again) == ["cup", "jar"]
    assert again.template.items[1].numbers() == [340, 10, 390, 50]


def test_an_object_that_stays_away_is_forgotten() -> None:
    assert labels(expected_after((CUP, PAN), *[(CUP,)] * 5)) == ["cup", "(pan)"]
    assert labels(expected_after((CUP, PAN), *[(CUP,)] * 6)) == ["cup"]


def test_an_answer_without_objects_is_expected_again_but_forgets_none() -> None:
    told = expected_after((CUP,), ())
    assert (told.template, told.away) == (boxes(), frozenset())
    assert labels(expected_after((CUP, PAN), (), (CUP,))) == ["cup", "(pan)"]


@pytest.mark.parametrize("times_s", [(5.0, 5.0), (5.0, 1.0), (5.0, 6.0, 2.0)])
def test_a_clock_that_stands_or_goes_back_starts_again(times_s: tuple[float, ...]) -> None:
    answers = [(("cup", 10 * place, 10, 10 * place + 40, 50),) for place in range(len(times_s))]
    assert expected_after(*answers, times_s=times_s).template == boxes(*answers[-1])


def test_what_is_followed_is_bounded() -> None:
    answers = [tuple((f"{turn} {place}", place, 1, place + 9, 9) for place in range(100)) for turn in range(4)]
    assert len(expected_after(*answers).template.items) <= 100


@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.sampled_from("ab"), *[st.integers(0, 1200)] * 4), max_size=6),
            st.floats(-1e9, 1e9),
        ),
        max_size=8,
    ),
    st.floats(-1e9, 1e9),
)
def test_whatever_was_answered_objects_are_expected_within_the_image(
    answers: list[tuple[list[Box], float]], at_s: float
) -> None:
    tracks = ObjectMotion()
    for answer, stamp_s in answers:
        tracks.tell(boxes(*answer), stamp_s, WH)
        told = tracks.expect(at_s, WH)
        assert told is not None
        assert told.away <= set(range(len(told.template.items)))
        assert len(told.template.items) - len(told.away) == len(answer)
        for item in told.template.items:
            assert all(0 <= x <= 1200 for x in item.numbers())
