"""Which tokens speak for an object: exact to the character, in every form of a reply."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from evidence_forms import EVIDENCE_FORMS
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.replies.reader import parse_answer
from vlm_perception.replies.token_evidence import Evidence, gather_evidence
from vlm_perception.types import Answer, DetectedObject, Timings, Token

WH = (1000, 1000)


def objects_of(text: str) -> tuple[DetectedObject, ...]:
    return tuple(sorted(parse_answer(text, model_wh=WH, image_wh=WH).objects, key=lambda item: item.span))


def answer_of(pieces: list[str], logprobs: list[float] | None = None) -> Answer:
    """One token per piece; without log-probabilities, token n has -n, so that each can be told."""
    at, tokens = 0, []
    for number, piece in enumerate(pieces):
        logprob = -float(number) if logprobs is None else logprobs[number]
        tokens.append(Token(at, at + len(piece), logprob))
        at += len(piece)
    return Answer("".join(pieces), WH, "absolute", "stop", tuple(tokens), Timings(0, 0, 0))


def evidence_of(answer: Answer) -> tuple[Evidence, ...]:
    return tuple(gather_evidence(item, answer) for item in objects_of(answer.text))


def pieces_of(answer: Answer, logprobs: tuple[float, ...]) -> list[str]:
    """The text of tokens made by `answer_of` without log-probabilities."""
    return [answer.text[answer.tokens[round(-value)].start : answer.tokens[round(-value)].end] for value in logprobs]


@pytest.mark.parametrize(
    ("text", "expected"), [form[1:] for form in EVIDENCE_FORMS], ids=[form[0] for form in EVIDENCE_FORMS]
)
def test_numbers_label_and_beginning_are_found_in_every_form(text: str, expected: list[tuple[str, str, str]]) -> None:
    got = []
    for item in objects_of(text):
        spans = item.evidence
        numbers = " ".join(text[slice(*part)] for part in spans.coordinates)
        label = "".join(text[slice(*part)] for part in spans.label)
        got.append((numbers, label, text[slice(*spans.begin)]))
    assert got == expected


# As the tokenizer of Qwen2.5 cuts it: digits alone, signs with the line end that follows them.
_QWEN = (
    '``` json \n [\n \t {" bbox _ 2 d ": ␣[ 1 5 , ␣ 4 , ␣ 6 8 , ␣ 9 ], ␣" label ": ␣" red ␣cup "},\n '
    '\t {" bbox _ 2 d ": ␣[ 7 , ␣ 8 , ␣ 9 , ␣ 9 0 ], ␣" label ": ␣" mug "}\n ]\n ```'
)
QWEN = [piece.replace("␣", " ") for piece in _QWEN.split(" ")]


def test_tokens_of_qwen() -> None:
    answer = answer_of(QWEN)
    first, second = evidence_of(answer)
    assert pieces_of(answer, first.coordinates) == ["1", "5", "4", "6", "8", "9"]
    assert pieces_of(answer, first.label) == ["red", " cup"]
    assert pieces_of(answer, first.begin) == ["[\n", "\t", '{"', "bbox", "_", "2", "d", '":', " ["]
    assert pieces_of(answer, second.coordinates) == ["7", "8", "9", "9", "0"]
    assert pieces_of(answer, second.label) == ["mug"]
    # The comma that goes on, where the list might have ended, stands in a token with the end of the first.
    assert pieces_of(answer, second.begin) == ['"},\n', "\t", '{"', "bbox", "_", "2", "d", '":', " ["]


def test_a_token_across_a_label_and_the_next_object_speaks_for_both() -> None:
    answer = answer_of(['[{"bbox_2d": [1, 2, 3, 4', '], "label": "c', 'up"}, {"bb', 'ox_2d": [5, 6, 7, 8]}]'])
    first, second = evidence_of(answer)
    assert pieces_of(answer, first.label) == ['], "label": "c', 'up"}, {"bb']
    assert pieces_of(answer, second.begin) == ['up"}, {"bb', 'ox_2d": [5, 6, 7, 8]}]']
    assert pieces_of(answer, second.coordinates) == ['ox_2d": [5, 6, 7, 8]}]']


def test_bytes_of_one_character_all_count() -> None:
    """Three byte tokens share 猫: each is one more chance to have written something else."""
    text = '{"bbox_2d": [1, 2, 3, 4], "label": "猫é"}'
    at = text.index("猫")
    tokens = [Token(index, index + 1, -9.0) for index in range(len(text)) if not at <= index < at + 2]
    tokens += [Token(at, at + 1, value) for value in (-0.1, -0.2, -0.3)] + [Token(at + 1, at + 2, -0.4)] * 2
    tokens.sort(key=lambda token: (token.start, token.end))
    answer = Answer(text, WH, "absolute", "stop", tuple(tokens), Timings(0, 0, 0))
    assert evidence_of(answer)[0].label == (-0.1, -0.2, -0.3, -0.4, -0.4)


def test_what_is_not_finite_is_no_evidence() -> None:
    pieces = ['{"bbox_2d": [', "1", ", 2, 3, 4", '], "label": "', "cup", '"}']
    broken = evidence_of(answer_of(pieces, [-0.1, -0.2, -0.3, -0.4, float("-inf"), -0.6]))
    assert broken == (Evidence((-0.2, -0.3), (), (-0.1,)),)
    assert evidence_of(answer_of(pieces, [float("nan")] * 6)) == (Evidence(),)


LABELS = st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), min_size=1, max_size=8)
BOXES = st.tuples(*[st.integers(1, 499)] * 2, *[st.integers(500, 999)] * 2)


@given(st.lists(st.tuples(BOXES, LABELS), min_size=1, max_size=4), st.data())
def test_only_own_tokens_speak_for_an_object(items: list[tuple[tuple[int, ...], str]], data: st.DataObject) -> None:
    """However the text is cut into tokens, other tokens may change at will."""
    listed = ",\n\t".join(json.dumps({"bbox_2d": box, "label": name}, ensure_ascii=False) for box, name in items)
    text = f"There is:\n```json\n[\n\t{listed}\n]\n```\nThat is all."
    cuts = sorted(data.draw(st.sets(st.integers(1, len(text) - 1), max_size=60)) | {0, len(text)})
    answer = answer_of([text[start:stop] for start, stop in pairwise(cuts)])
    for item, evidence in zip(objects_of(text), evidence_of(answer), strict=True):
        spans = item.evidence
        for kind, own in (("coordinates", spans.coordinates), ("label", spans.label), ("begin", (spans.begin,))):
            touched = [t.logprob for t in answer.tokens if any(t.start < end and t.end > start for start, end in own)]
            # Tokens that only hold the point of a decimal are left out; there are none here.
            assert set(getattr(evidence, kind)) == set(touched)


@given(st.text(st.sampled_from('[]{}":,0129 \n<>/xy=(box_2dlabelpoints|é猫：，“”\\'), max_size=80), st.integers(1, 5))
def test_no_text_raises(text: str, width: int) -> None:
    answer = answer_of([text[start : start + width] for start in range(0, len(text), width)] or [""])
    for item in objects_of(text):
        gather_evidence(item, answer)
        spans = [*item.evidence.coordinates, *item.evidence.label, item.evidence.begin]
        assert all(0 <= start <= stop <= len(text) for start, stop in spans)


def test_text_that_follows_changes_nothing() -> None:
    """A score that was told while the model still wrote stays what it was."""
    answer = answer_of(QWEN)
    whole = evidence_of(answer)[0]
    cut = QWEN.index('"},\n') + 1
    early = answer_of(QWEN[:cut])
    assert evidence_of(early) == (whole,)
