"""Scores of the shipped tiny checkpoint's real answers, and of real byte-level tokens."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from checkout import TINY
from sklearn.metrics import roc_auc_score
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from benchmarks.plain import align_tokens
from benchmarks.score_formulas import FORMULAS, score_by
from training.evaluate import Case, make_cases
from training.scored import Asked, ask_all
from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.model_card import write_calibration
from vlm_perception.pipeline import perceive
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.replies.reader import parse_answer
from vlm_perception.replies.result_json import result_fields
from vlm_perception.replies.scores import FORMULA, calibrated, raw_score, score_objects
from vlm_perception.replies.token_evidence import gather_evidence
from vlm_perception.types import Answer, Calibration, Frame, FrameHeader, PixelBudget, Request, Result, Timings, Token

SCENES = 10
# 0.9 and more on 150 scenes; chance is 0.5.
AUROC_FLOOR = 0.7


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return make_cases(SCENES)


@pytest.fixture(scope="module")
def asked(cases: list[Case]) -> list[Asked]:
    return ask_all(TINY, cases)


def ask_for_all(folder: Path, cases: list[Case], score_threshold: float = 0.0) -> Result:
    """A real answer with several objects."""
    case = max(cases, key=lambda each: len(each.question.expected.boxes))
    frame = Frame(case.scene.rgb, FrameHeader(1, 2, "camera"), "/image", 0.0)
    request = Request(frame, build_prompt("all objects"), PixelBudget(224 * 224, 1024 * 1024), 300)
    engine = open_engine(folder)
    try:
        return perceive(engine, request, score_threshold=score_threshold)
    finally:
        engine.close()


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped checkpoint without its card."""
    folder = tmp_path_factory.mktemp("plain") / "tiny"
    shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("README.md"))
    return folder


@pytest.fixture(scope="module")
def result(plain_folder: Path, cases: list[Case]) -> Result:
    return ask_for_all(plain_folder, cases)


def test_every_object_has_all_three_kinds_of_evidence_and_a_score(asked: list[Asked]) -> None:
    found = [each for question in asked for each in question.found]
    assert len(found) > 30
    for each in found:
        evidence = each.evidence
        assert evidence.coordinates
        assert evidence.label
        assert evidence.begin
        scores = [score_by(formula, evidence) for formula in FORMULAS]
        assert all(score is not None and 0.0 <= score <= 1.0 for score in scores)


def test_right_boxes_score_above_wrong_ones(asked: list[Asked]) -> None:
    boxes = [each for question in asked for each in question.found if each.is_box]
    right = [each.right for each in boxes]
    assert 10 < sum(right) < len(right) - 2
    assert roc_auc_score(right, [raw_score(each.evidence) for each in boxes]) > AUROC_FLOOR


def test_what_stands_elsewhere_changes_no_score(result: Result) -> None:
    """Prose around the list, and tokens that tell nothing of an object, may be as unsure as they like."""
    answer = result.answer
    before, after = "Here they are:\n", "\nThese were [9] things, 1, 2, at least."
    noise = [Token(at, at + 1, -7.0) for at in range(len(before))]
    moved = [Token(t.start + len(before), t.end + len(before), t.logprob) for t in answer.tokens]
    end = len(before) + len(answer.text)
    noise_after = [Token(end + at, end + at + 1, -7.0) for at in range(len(after))]
    quoted = [i for i, t in enumerate(answer.tokens) if answer.text[t.start : t.end] == '], "label": "']
    assert len(quoted) == len(result.objects) > 1
    moved = [replace(token, logprob=-7.0) if index in quoted else token for index, token in enumerate(moved)]
    noisy = replace(answer, text=before + answer.text + after, tokens=(*noise, *moved, *noise_after))
    parsed = parse_answer(noisy.text, model_wh=answer.model_wh, image_wh=result.request.frame.image_wh)
    got = [item.score for item in score_objects(parsed.objects, noisy)]
    assert got == [item.score for item in result.objects]
    assert all(score is not None and math.isfinite(score) for score in got)


@pytest.fixture(scope="module")
def bytewise() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer without merges: every byte is a token."""
    vocabulary = {character: index for index, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def test_bytes_of_labels_are_counted_exactly(bytewise: PreTrainedTokenizerFast) -> None:
    labels = ["红色的猫", "é", "🐈 cat", "Ωμέγα"]
    items = [f'{{"bbox_2d": [{n}, 2, 30, 40], "label": "{label}"}}' for n, label in enumerate(labels, start=1)]
    text = "```json\n[\n\t" + ",\n\t".join(items) + "\n]\n```"
    ids = bytewise.encode(text, add_special_tokens=False)
    assert len(ids) == len(text.encode())
    # Each byte's log-probability tells its place in the reply.
    aligned, tokens = align_tokens(bytewise, ids, [-float(place) for place in range(len(ids))])
    assert aligned == text
    answer = Answer(text, (100, 100), "absolute", "stop", tokens, Timings(0, 0, 0))
    objects = parse_answer(text, model_wh=(100, 100), image_wh=(100, 100)).objects
    for label, item in zip(labels, objects, strict=True):
        evidence = gather_evidence(item, answer)
        first = len(text[: text.index(f'"{label}"') + 1].encode())
        own = range(first, first + len(label.encode()))
        assert evidence.label == tuple(-float(place) for place in own)
        opening = len(text[: item.span[0]].encode())
        assert evidence.begin[-1] == -float(opening + len('{"bbox_2d": [') - 1)
        assert len(evidence.coordinates) == len("123040")


def test_a_calibration_in_the_card_reaches_the_scores_and_is_said(
    plain_folder: Path, cases: list[Case], result: Result, tmp_path: Path
) -> None:
    folder = tmp_path / "calibrated"
    shutil.copytree(plain_folder, folder)
    (folder / "README.md").write_text("# Card\n")
    card = Calibration(FORMULA, 1.5, -0.5, "nothing: this is a test")
    write_calibration(folder, card)
    got = ask_for_all(folder, cases)
    assert (result.calibrated, got.calibrated) == (False, True)
    assert result_fields(result)["score"] == {"formula": FORMULA, "fitted_on": None}
    assert result_fields(got)["score"] == {"formula": FORMULA, "fitted_on": "nothing: this is a test"}
    assert [item.score for item in got.objects] == [calibrated(item.score or 0.0, card) for item in result.objects]


def test_objects_below_the_threshold_are_rejects_with_their_place(
    plain_folder: Path, cases: list[Case], result: Result
) -> None:
    scores = sorted(item.score for item in result.objects if item.score is not None)
    got = ask_for_all(plain_folder, cases, score_threshold=scores[1])
    (weak,) = got.rejects
    assert [item.score for item in got.objects] == [item.score for item in result.objects if item.score != scores[0]]
    assert weak.score == scores[0]
    assert weak.text == got.answer.text[slice(*weak.span)]
    assert "below score_threshold" in weak.reason
