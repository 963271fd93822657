"""How a draft goes on after what was written, mismatches first of all."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.engines.drafting.continuation import ReplyContinuation, nearest_number
from vlm_perception.engines.drafting.motion import ExpectedReply
from vlm_perception.engines.drafting.template import read_template

WH = (224, 168)
HEAD, GAP, TAIL = "```json\n[\n\t", ",\n\t", "\n]\n```"
CUP = '{"bbox_2d": [10, 20, 60, 80], "label": "red cup"}'
PAN = '{"bbox_2d": [104, 20, 140, 80], "label": "pan"}'
JAR = '{"bbox_2d": [10, 90, 60, 150], "label": "jar"}'
THREE = HEAD + GAP.join((CUP, PAN, JAR)) + TAIL
LINES = "10,20,60,80 red cup\n99,20,140,80 pan"


def rest_of(
    written: str,
    expected: str | None,
    *,
    targets: tuple[str, ...] = (),
    away: frozenset[int] = frozenset(),
) -> str:
    template = ExpectedReply(read_template(expected), away) if expected is not None else None
    walk = ReplyContinuation(template, WH, targets)
    walk.feed(written)
    text, ends = walk.go_on()
    return text + ("$" if ends else "")


@pytest.mark.parametrize(
    ("written", "rest"),
    [
        # Nothing or the start was written: all of it is expected, and the end.
        ("", THREE + "$"),
        ("```", THREE[3:] + "$"),
        (HEAD + CUP, THREE[len(HEAD + CUP) :] + "$"),
        (THREE, "$"),
        # Another last digit: go on behind the number; beyond a tremble its other edge has moved as much.
        (HEAD + '{"bbox_2d": [12', ', 20, 60, 80], "label": "red cup"}' + GAP + PAN + GAP + JAR + TAIL + "$"),
        (HEAD + '{"bbox_2d": [13', ', 20, 63, 80], "label": "red cup"}' + GAP + PAN + GAP + JAR + TAIL + "$"),
        # A digit less; a digit more is among the other forms below.
        (HEAD + CUP + GAP + '{"bbox_2d": [9', '9, 20, 135, 80], "label": "pan"}' + GAP + JAR + TAIL + "$"),
        (HEAD + CUP + GAP + '{"bbox_2d": [98', ', 20, 134, 80], "label": "pan"}' + GAP + JAR + TAIL + "$"),
        # Other words, known ones or not, do not lose what follows.
        (HEAD + '{"bbox_2d": [10, 20, 60, 80], "label": "p', 'an"}' + GAP + PAN + GAP + JAR + TAIL + "$"),
        (HEAD + '{"bbox_2d": [10, 20, 60, 80], "label": "blue cup', '"}' + GAP + PAN + GAP + JAR + TAIL + "$"),
        (HEAD + '{"bbox_2d": [10, 20, 60, 80], "label": "blue"', "}" + GAP + PAN + GAP + JAR + TAIL + "$"),
        # An object is left out in the middle: found by its coordinates.
        (HEAD + CUP + GAP + '{"bbox_2d": [12, 9', '0, 60, 150], "label": "jar"}' + TAIL + "$"),
        # The first one has left.
        (HEAD + PAN, GAP + JAR + TAIL + "$"),
        # The last one has left.
        (HEAD + CUP + GAP + PAN + "\n", TAIL[1:] + "$"),
        # A new one in the middle: the form alone, then all that were expected.
        (HEAD + CUP + GAP + '{"bbox_2d": [180, 120, 20', ""),
        (HEAD + CUP + GAP + '{"bbox_2d": [180, 120, 200', ", "),
        (
            HEAD + CUP + GAP + '{"bbox_2d": [180, 120, 200, 160], "label": "lid',
            '"}' + GAP + PAN + GAP + JAR + TAIL + "$",
        ),
        (HEAD + CUP + GAP + '{"bbox_2d": [180, 120, 200, 160], "label": "lid"}', GAP + PAN + GAP + JAR + TAIL + "$"),
        # One more at the end.
        (THREE[: -len(TAIL)] + ",", '\n\t{"bbox_2d": ['),
        # Another order: what was passed over is still there.
        (
            HEAD + PAN + GAP + '{"bbox_2d": [10, 2',
            '0, 60, 80], "label": "red cup"}' + GAP + PAN + GAP + JAR + TAIL + "$",
        ),
        # The list is empty now.
        ("```json\n[]", "\n```$"),
    ],
)
def test_a_mismatch_never_loses_the_rest(written: str, rest: str) -> None:
    if written.startswith(HEAD + PAN + GAP):
        # The pan was written already, so it is not expected again.
        rest = rest.replace(GAP + PAN, "", 1)
    if written.endswith("lid"):
        # Whether an unknown word is over cannot be known.
        rest = ""
    assert rest_of(written, THREE) == rest


@pytest.mark.parametrize(
    ("written", "expected", "targets", "rest"),
    [
        # Nothing is known: the form that the model was trained for, up to the first number.
        ("", None, (), '```json\n[\n\t{"bbox_2d": ['),
        ('```json\n[\n\t{"point', None, (), '_2d": ['),
        # A coordinate that one more digit would take out of the image is over.
        (HEAD + '{"bbox_2d": [30', None, (), ", "),
        (HEAD + '{"bbox_2d": [20', None, (), ""),
        # The asked phrase is the first label; then the last label is.
        (HEAD + '{"bbox_2d": [10, 20, 60, 80], "label": "', None, ("red cup",), 'red cup"}' + TAIL + "$"),
        (HEAD + CUP + GAP + '{"bbox_2d": [99, 20, 140, 80', None, ("cups",), '], "label": "red cup"}' + TAIL + "$"),
        # A form that the reply itself has shown.
        ('[{"box": [1, 2, 30, 40], "of": "a"}, {"box": [5, 6, 7, 8], "of": "b"}, {"b', None, (), 'ox": ['),
    ],
)
def test_the_form_alone_goes_on_where_nothing_is_expected(
    written: str, expected: str | None, targets: tuple[str, ...], rest: str
) -> None:
    assert rest_of(written, expected, targets=targets) == rest


@pytest.mark.parametrize(
    ("written", "expected", "rest"),
    [
        # One object a line, and tags.
        ("10,20,61", LINES, ",80 red cup\n99,20,140,80 pan$"),
        ("10,20,60,80 red cup\n10", LINES, "0,20,140,80 pan$"),
        ('<points x1="11"', '<points x1="10" y1="20" alt="eye">eye</points>', ' y1="20" alt="eye">eye</points>$'),
        # Another number in the sentence behind a list, and prose that differs in a word.
        (THREE + "\nThere are 4", THREE + "\nThere are 3 things.", " things.$"),
        ("A blue cup stands", "A red cup stands on a table.", " on a table.$"),
    ],
)
def test_other_forms_of_replies(written: str, expected: str, rest: str) -> None:
    assert rest_of(written, expected) == rest


@pytest.mark.parametrize(
    ("written", "rest"),
    [
        # It is not drafted by itself ...
        ("", HEAD + CUP + GAP + JAR + TAIL + "$"),
        (HEAD + CUP, GAP + JAR + TAIL + "$"),
        # ... but known when it comes, and what follows it as well.
        (HEAD + CUP + GAP + '{"bbox_2d": [104, 2', '0, 140, 80], "label": "pan"}' + GAP + JAR + TAIL + "$"),
        (HEAD + CUP + GAP + PAN, GAP + JAR + TAIL + "$"),
        # Behind the place where it was expected it is known, too.
        (HEAD + CUP + GAP + JAR + GAP + '{"bbox_2d": [104, 2', '0, 140, 80], "label": "pan"}' + TAIL + "$"),
    ],
)
def test_an_object_that_was_away_is_known_when_it_comes_back(written: str, rest: str) -> None:
    assert rest_of(written, THREE, away=frozenset({1})) == rest


@pytest.mark.parametrize(
    ("prefix", "expected", "nearest"),
    [
        ("13", 123, "130"),
        ("11", 123, "119"),
        ("1", 99, "100"),
        ("9", 100, "99"),
        ("54", 53, "54"),
        ("0", 7, "0"),
        ("2", 223, "223"),
    ],
)
def test_the_nearest_number_with_the_digits_written(prefix: str, expected: int, nearest: str) -> None:
    assert nearest_number(prefix, expected, 224) == nearest


PIECES = st.sampled_from([*THREE, HEAD, GAP, CUP, PAN, TAIL, '{"bbox_2d": [', "{", "}", "99999999999", '"', "\n", "猫"])


@given(st.lists(PIECES, max_size=30), st.lists(PIECES, max_size=30), st.frozensets(st.integers(0, 3)))
def test_whatever_is_written_there_is_an_answer(written: list[str], expected: list[str], away: frozenset[int]) -> None:
    walk = ReplyContinuation(ExpectedReply(read_template("".join(expected)), away), WH, ("red cup", ""))
    for piece in written:
        walk.feed(piece)
        text, ends = walk.go_on()
        assert isinstance(text, str)
        assert isinstance(ends, bool)
        assert "\0" not in text


def test_long_prose_costs_no_more_than_its_length() -> None:
    def spent_s(count: int) -> float:
        walk = ReplyContinuation(None, WH)
        began_s = time.process_time()
        for _ in range(count):
            walk.feed("12 words ")
            walk.go_on()
        return time.process_time() - began_s

    spent_s(50)
    # Reading all of it again for each token is allowed, but nothing worse than that.
    assert spent_s(800) < 40 * max(spent_s(200), 1e-3)
