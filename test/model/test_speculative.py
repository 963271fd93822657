"""Drafts change the number of passes and nothing else, held against transformers' own `generate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from told import Told

from benchmarks.lossless import PROMPTS, judge
from benchmarks.plain import TIE, PlainAnswer, PlainModel, first_difference
from benchmarks.videos import come_and_go, video
from vlm_perception.engines.base import never_stop
from vlm_perception.engines.drafting.drafter import NoDraft
from vlm_perception.engines.transformers.detokenizer import ByteVocabulary
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.engines.transformers.prefill import PrefilledPrompt
from vlm_perception.engines.transformers.reply_stream import ReplyStream
from vlm_perception.engines.transformers.speculative import decode_speculatively
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.types import Frame, PixelBudget, Request

BUDGET = PixelBudget(224 * 224, 1024 * 1024)


def ask(frame: Frame, prompt: str = "all objects", max_new_tokens: int = 256) -> Request:
    return Request(frame, build_prompt(prompt), BUDGET, max_new_tokens)


@pytest.fixture(scope="module")
def question(plain: PlainModel) -> Request:
    return ask(next(video("slow", 3, 1, 40)))


@pytest.fixture(scope="module")
def expected(plain: PlainModel, question: Request) -> PlainAnswer:
    return plain.answer(question, logits=True)


@torch.inference_mode()
def read(plain: PlainModel, request: Request) -> PrefilledPrompt:
    """Read a question in the model's own way."""
    inputs = plain.prepare(request)
    seen = plain.model(**inputs, use_cache=True)
    length = inputs["input_ids"].shape[1]
    start = length + int(plain.model.model.rope_deltas[0, 0])
    return PrefilledPrompt(seen.past_key_values, seen.logits[0, -1:].float(), start)


class Script:
    """A drafter that proposes what it is told, in turn, whatever was written."""

    def __init__(self, drafts: Sequence[Sequence[int]]) -> None:
        self.drafts = list(drafts)
        self.written: list[int] = []
        self.limits: list[int] = []

    def propose(self, limit: int) -> Sequence[int]:
        self.limits.append(limit)
        return self.drafts[(len(self.limits) - 1) % len(self.drafts)] if self.drafts else ()

    def accept(self, written: Sequence[int], agreed: int) -> None:
        assert 0 <= agreed <= len(written)
        self.written += written


class Oracle(Script):
    """A drafter that knows the answer, and gets every n-th token wrong if it is told to."""

    def __init__(self, ids: Sequence[int], wrong_every: int = 0) -> None:
        super().__init__(())
        self.ids = [token ^ (wrong_every > 0 and place % wrong_every == 0) for place, token in enumerate(ids)]

    def propose(self, limit: int) -> Sequence[int]:
        self.limits.append(limit)
        return self.ids[len(self.written) :]


@torch.inference_mode()
def write(plain: PlainModel, request: Request, drafter: Any, told: Told | None = None) -> tuple[Any, int]:
    """Decode with a drafter; what the reply is, and its passes."""
    told = told or Told()
    ends = plain.model.generation_config.eos_token_id
    reply = ReplyStream(ByteVocabulary(plain.processor.tokenizer), ends, told.should_stop, told.on_text)
    passes = decode_speculatively(
        plain.model, read(plain, request), reply, drafter, max_new_tokens=request.max_new_tokens
    )
    return reply.finish(), passes


@pytest.mark.parametrize("prompt", PROMPTS)
def test_answers_are_those_of_generate(plain: PlainModel, tiny: TransformersEngine, prompt: str) -> None:
    passes, tokens = 0, 0
    for frame in come_and_go(4, seed=700 + PROMPTS.index(prompt)):
        request = ask(replace(frame, camera=f"/{prompt}"), prompt)
        expected, answer = plain.answer(request), tiny.answer(request, never_stop)
        verdict = judge(answer, request, plain, expected)
        assert verdict == "same" or verdict.startswith("tie"), verdict
        passes, tokens = passes + answer.passes, tokens + len(answer.tokens)
    assert passes < tokens


def test_the_pass_that_reads_the_question_verifies_the_first_draft(tiny: TransformersEngine) -> None:
    answers = [tiny.answer(ask(replace(f, camera="/first")), never_stop) for f in video("static", 1, 3, seed=300)]
    assert [answer.passes for answer in answers[1:]] == [1, 1]
    assert len(answers[-1].tokens) > 10


@pytest.mark.parametrize("kind", ["static", "slow", "fast", "cuts"])
def test_videos_of_all_kinds_take_fewer_passes_for_the_same_tokens(
    plain: PlainModel, tiny: TransformersEngine, kind: str
) -> None:
    passes, plain_passes = 0, 0
    for index, frame in enumerate(video(kind, 4, 6, seed=31)):
        request = ask(replace(frame, camera=f"/{kind}"))
        expected, answer = plain.answer(request), tiny.answer(request, never_stop)
        verdict = judge(answer, request, plain, expected)
        assert verdict == "same" or verdict.startswith("tie"), verdict
        if index >= 2:
            passes, plain_passes = passes + answer.passes, plain_passes + expected.passes
    assert passes * {"static": 8, "slow": 4, "fast": 2, "cuts": 1}[kind] <= plain_passes


def test_log_probabilities_are_those_of_the_plain_passes(
    plain: PlainModel, question: Request, expected: PlainAnswer
) -> None:
    for drafter in (NoDraft(), Oracle(expected.ids), Oracle(expected.ids, wrong_every=5)):
        (_, tokens, reason), _ = write(plain, question, drafter)
        assert reason == "stop"
        mine, its = [t.logprob for t in tokens], [t.logprob for t in expected.tokens]
        assert mine == pytest.approx(its, abs=1e-3)


def test_a_draft_that_is_right_takes_one_pass_behind_the_question(
    plain: PlainModel, question: Request, expected: PlainAnswer
) -> None:
    told = Told()
    (text, tokens, _), passes = write(plain, question, Oracle(expected.ids), told)
    count = len(expected.ids)
    assert passes == 2
    assert (text, len(tokens)) == (expected.text, count)
    assert (told.text, told.tokens) == (text, tokens), "all is streamed, in order"
    _, plainly = write(plain, question, NoDraft())
    assert plainly == count == expected.passes


@pytest.mark.parametrize("wrong_every", [1, 2, 3, 7])
def test_wrong_tokens_in_a_draft_change_nothing(
    plain: PlainModel, question: Request, expected: PlainAnswer, wrong_every: int
) -> None:
    drafter = Oracle(expected.ids, wrong_every)
    (text, tokens, reason), passes = write(plain, question, drafter)
    assert first_difference(text, tokens, expected) is None
    assert tuple(drafter.written) == expected.ids
    assert reason == "stop"
    assert 1 < passes <= len(expected.ids)


def test_adversarial_drafts_change_nothing(plain: PlainModel, question: Request, expected: PlainAnswer) -> None:
    tokenizer = plain.processor.tokenizer
    other = plain.answer(replace(question, prompt=build_prompt("how many circles are there?"))).ids
    drafts = {
        "the answer to another prompt": [other],
        "another language": [tokenizer.encode("图中有三个红色的圆。", add_special_tokens=False)],
        "longer than the limit": [list(expected.ids) * 50],
        "special tokens": [[tokenizer.convert_tokens_to_ids(t) for t in tokenizer.all_special_tokens]],
        "the end": [[tokenizer.eos_token_id] * 5],
        "ids that the model does not know": [[10**9, 5], [-1], [5, -7, 5]],
        "one token for ever": [[7] * 64],
    }
    for name, script in drafts.items():
        drafter = Script(script)
        (text, tokens, reason), _ = write(plain, question, drafter)
        assert first_difference(text, tokens, expected) is None, name
        assert tuple(drafter.written) == expected.ids, name
        assert reason == "stop", name


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drafts=st.lists(st.lists(st.integers(-2, 515), max_size=40), min_size=1, max_size=8))
def test_random_drafts_change_nothing(
    plain: PlainModel, question: Request, expected: PlainAnswer, drafts: list[list[int]]
) -> None:
    drafter = Script(drafts)
    write(plain, question, drafter)
    assert tuple(drafter.written) == expected.ids


@pytest.mark.parametrize("limit", [1, 2, 3, 17])
def test_the_limit_is_exact(plain: PlainModel, question: Request, expected: PlainAnswer, limit: int) -> None:
    for drafter in (NoDraft(), Oracle(expected.ids)):
        (_, tokens, reason), _ = write(plain, replace(question, max_new_tokens=limit), drafter)
        assert (len(tokens), reason) == (limit, "length")
    assert all(0 < asked < limit for asked in drafter.limits)


@pytest.mark.parametrize("stop_after", [0, 1, 10])
def test_a_stop_ends_the_reply_within_its_pass(
    plain: PlainModel, question: Request, expected: PlainAnswer, stop_after: int
) -> None:
    for drafter, passes in ((NoDraft(), stop_after + 1), (Oracle(expected.ids), 1 + (stop_after > 0))):
        told = Told(stop_asked=stop_after)
        (text, tokens, reason), taken = write(plain, question, drafter, told)
        assert reason == "aborted"
        # The token during whose reading the stop was asked for is the last one.
        assert len(tokens) == stop_after + 1
        assert taken == passes
        assert text == told.text


def test_the_tie_is_far_below_what_tells_tokens_apart(expected: PlainAnswer) -> None:
    assert sorted(expected.gaps)[0] > TIE
