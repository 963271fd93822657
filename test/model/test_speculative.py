"""Drafts and company change the number of passes and nothing else, to the last bit and in any number format."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
import transformers
from checkout import TINY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.version import Version
from tiny_facts import HEAD_WIDTH, KEY_HEADS, LAYERS
from told import Told
from transformers import AutoModelForImageTextToText

from benchmarks.lossless import PROMPTS, judge
from benchmarks.plain import TIE, PlainModel
from benchmarks.videos import come_and_go, video
from vlm_perception.engines.base import never_stop
from vlm_perception.engines.drafting.drafter import NoDraft
from vlm_perception.engines.transformers.checkpoint import find_checkpoint
from vlm_perception.engines.transformers.cuda_graphs import Work
from vlm_perception.engines.transformers.decoder_cache import DecoderCache
from vlm_perception.engines.transformers.decoder_pass import Decoder, run_pass
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.engines.transformers.loading import load_checkpoint
from vlm_perception.engines.transformers.prefill import Prefill, Prefix
from vlm_perception.engines.transformers.preprocessor import Preprocessor
from vlm_perception.engines.transformers.reply_stream import ReplyStream
from vlm_perception.engines.transformers.speculative import ReplyStart, decode_speculatively
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.types import Frame, PixelBudget, Request, Token

BUDGET = PixelBudget(224 * 224, 1024 * 1024)


def ask(frame: Frame, prompt: str = "all objects", max_new_tokens: int = 256) -> Request:
    return Request(frame, build_prompt(prompt), BUDGET, max_new_tokens)


class Script:
    """A drafter that proposes what it is told, in turn, whatever was written."""

    def __init__(self, drafts: Sequence[Sequence[int]]) -> None:
        self.drafts = list(drafts)
        self.written: list[int] = []
        self.limits: list[int] = []

    def propose(self, limit: int) -> Sequence[int]:
        self.limits.append(limit)
        return self.drafts[(len(self.limits) - 1) % len(self.drafts)] if self.drafts else ()

    def accept(self, written: Sequence[int]) -> None:
        assert written
        self.written += written


class Oracle(Script):
    """A drafter that knows the answer, and gets every n-th token wrong if it is told to."""

    def __init__(self, ids: Sequence[int], wrong_every: int = 0) -> None:
        super().__init__(())
        self.ids = [token ^ (wrong_every > 0 and place % wrong_every == 0) for place, token in enumerate(ids)]

    def propose(self, limit: int) -> Sequence[int]:
        self.limits.append(limit)
        return self.ids[len(self.written) :]


Reply = tuple[str, tuple[Token, ...], str]


class Scripted:
    """The engine's own way from a request to a reply, with drafters that a test has written."""

    def __init__(self, dtype: str) -> None:
        self.loaded = load_checkpoint(find_checkpoint(str(TINY)), "cpu", dtype)
        self.decoder = Decoder(self.loaded.model)
        self.preprocessor = Preprocessor(self.loaded.processor, self.loaded.model.config.image_token_id)

    @torch.inference_mode()
    def write(self, request: Request, *rows: tuple[Any, Told]) -> list[tuple[Reply, int]]:
        """Write a reply for each drafter, in one batch; what the replies are, and their passes."""
        tokens = self.preprocessor.tokens(request.prompt.instruction)
        frame = request.frame, self.preprocessor.plan_wh(request), tokens
        prefix = Prefill(self.loaded.model).read(*frame, self.preprocessor.patches(request))
        starts = []
        for slot, (drafter, told) in enumerate(rows):
            self.decoder.load(slot, prefix)
            reply = ReplyStream(self.loaded.vocabulary, self.loaded.end_ids, told.should_stop, told.on_text)
            place = prefix.length, prefix.next_position
            starts.append(ReplyStart(slot, *place, tokens.after, reply, drafter, request.max_new_tokens))
        written = decode_speculatively(self.decoder, starts)
        return [(row.reply.finish(), each.passes) for row, each in zip(starts, written, strict=True)]


@dataclass(frozen=True)
class Case:
    """A question, and what is written without a draft."""

    scripted: Scripted
    request: Request
    ids: tuple[int, ...]
    reply: Reply
    passes: int

    @property
    def instruction_length(self) -> int:
        return len(self.scripted.preprocessor.tokens(self.request.prompt.instruction).after)

    def write(self, drafter: Any, told: Told | None = None, **changes: Any) -> tuple[Reply, int]:
        return self.scripted.write(replace(self.request, **changes), (drafter, told or Told()))[0]


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def case(request: pytest.FixtureRequest) -> Case:
    scripted, question, nothing = Scripted(request.param), ask(next(video("slow", 3, 1, 40))), Script([])
    reply, passes = scripted.write(question, (nothing, Told()))[0]
    assert reply[2] == "stop"
    return Case(scripted, question, tuple(nothing.written), reply, passes)


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


def test_without_a_draft_each_token_takes_a_pass(case: Case) -> None:
    assert case.passes == len(case.ids) == len(case.reply[1])


@pytest.mark.parametrize("wrong_every", [0, 1, 2, 3, 7])
def test_drafts_right_and_wrong_give_the_same_reply_to_the_last_bit(case: Case, wrong_every: int) -> None:
    drafter, told = Oracle(case.ids, wrong_every), Told()
    reply, passes = case.write(drafter, told)
    assert reply == case.reply, "log-probabilities included"
    assert tuple(drafter.written) == case.ids
    assert (told.text, told.tokens) == reply[:2], "all is streamed, in order"
    assert passes < len(case.ids) or wrong_every == 1
    if not wrong_every:
        # The pass that reads the end of the prompt has the first rows for a draft.
        rows = case.scripted.decoder.shape.rows
        first = 1 + -case.instruction_length % rows
        assert passes == 1 + -(-(len(case.ids) - first) // rows)


def test_adversarial_drafts_change_nothing(case: Case) -> None:
    tokenizer, other = case.scripted.loaded.processor.tokenizer, Script([])
    config = case.scripted.loaded.model.config
    case.write(other, prompt=build_prompt("how many circles are there?"))
    drafts = {
        "the answer to another prompt": [other.written],
        "another language": [tokenizer.encode("图中有三个红色的圆。", add_special_tokens=False)],
        "longer than the limit": [list(case.ids) * 50],
        "special tokens": [[tokenizer.convert_tokens_to_ids(t) for t in tokenizer.all_special_tokens]],
        "what stands for images": [[config.image_token_id, config.video_token_id]],
        "the end": [[tokenizer.eos_token_id] * 5],
        "ids that the model does not know": [[10**9, 5], [-1], [5, -7, 5]],
        "one token for ever": [[7] * 64],
    }
    for name, script in drafts.items():
        drafter = Script(script)
        assert case.write(drafter)[0] == case.reply, name
        assert tuple(drafter.written) == case.ids, name


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drafts=st.lists(st.lists(st.integers(-2, 515), max_size=40), min_size=1, max_size=8))
def test_random_drafts_change_nothing(case: Case, drafts: list[list[int]]) -> None:
    assert case.write(Script(drafts))[0] == case.reply


@pytest.mark.parametrize("count", [2, 3, 5, 8, 11])
def test_replies_of_one_batch_are_those_alone(case: Case, count: int) -> None:
    """Each drafts something else, so they go on at different speeds; with more than 8 some wait for a lane."""
    rows = [(Oracle(case.ids, wrong_every), Told()) for wrong_every in range(count)]
    assert [reply for reply, _ in case.scripted.write(case.request, *rows)] == [case.reply] * count


class Counted:
    """Records work, as a device would, and counts."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, work: Work) -> Work:
        self.recorded += 1
        found = work()

        def again() -> torch.Tensor:
            self.replayed += 1
            return found.copy_(work())

        return again


def test_recorded_passes_write_what_eager_ones_do(case: Case) -> None:
    """A graph is one of these: what differs from pass to pass comes in through one tensor, and leaves through one."""
    scripted, counted = copy(case.scripted), Counted()
    scripted.decoder = Decoder(scripted.loaded.model, counted)
    for count, recorded in ((1, 1), (1, 1), (3, 2), (2, 2), (1, 3)):
        # With more slots what is there moves, and is recorded anew when it is needed again.
        rows = [(Oracle(case.ids, wrong_every), Told()) for wrong_every in range(count)]
        assert [reply for reply, _ in scripted.write(case.request, *rows)] == [case.reply] * count
        assert counted.recorded == recorded, count
    assert counted.replayed > 2 * counted.recorded


@pytest.mark.parametrize("bucket", [32, 48, 64])
def test_a_reply_goes_on_over_the_ends_of_buckets(case: Case, bucket: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bucket is part of a pass's shape: with another one the reply may round otherwise, drafted or not alike."""
    monkeypatch.setattr(case.scripted.decoder, "shape", replace(case.scripted.decoder.shape, bucket=bucket))
    nothing = Script([])
    reply, passes = case.write(nothing)
    assert passes == len(nothing.written)
    for drafter in (Oracle(nothing.written), Oracle(nothing.written, 4)):
        assert case.write(drafter)[0] == reply
    together = case.scripted.write(case.request, *((Oracle(nothing.written, wrong), Told()) for wrong in range(4)))
    assert [each for each, _ in together] == [reply] * 4


@pytest.mark.parametrize("limit", [1, 2, 3, 17])
def test_the_limit_is_exact(case: Case, limit: int) -> None:
    for drafter in (NoDraft(), Oracle(case.ids)):
        (_, tokens, reason), _ = case.write(drafter, max_new_tokens=limit)
        assert (tokens, reason) == (case.reply[1][:limit], "length")
    assert all(0 < asked < limit for asked in drafter.limits)


@pytest.mark.parametrize("stop_after", [0, 1, 10])
def test_a_stop_ends_the_reply_within_its_pass(case: Case, stop_after: int) -> None:
    # Each pass over a part of the instruction asks once.
    parts = -(-case.instruction_length // case.scripted.decoder.shape.rows) - 1
    for drafter in (NoDraft(), Oracle(case.ids)):
        told = Told(stop_asked=parts + stop_after)
        (text, tokens, reason), passes = case.write(drafter, told)
        assert reason == "aborted"
        # The token during whose reading the stop was asked for is the last one.
        assert tokens == case.reply[1][: stop_after + 1]
        assert passes <= stop_after + 1
        assert text == told.text


def test_a_stop_between_the_parts_of_the_instruction_writes_nothing(case: Case) -> None:
    (text, tokens, reason), passes = case.write(NoDraft(), Told(stop_asked=0))
    assert (text, tokens, reason, passes) == ("", (), "aborted", 0)


@pytest.mark.skipif(
    Version(transformers.__version__) < Version("5.17"), reason="its own rotary embedding asks `meta` for an autocast"
)
def test_a_pass_waits_for_nothing_on_the_device(case: Case) -> None:
    """A tensor on `meta` has no values, so reading one back raises; on a GPU it would wait, and end a recording."""
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(case.scripted.loaded.model.config)
        Decoder(model)
        cache, states = DecoderCache(), torch.zeros(1, KEY_HEADS, 30, HEAD_WIDTH, dtype=model.dtype)
        cache.load(1, Prefix(((states, states),) * LAYERS, 30, 30))
        cache.reserve(2, 272)
        rows = torch.zeros(4, 16, dtype=torch.int64)
        for alone in (True, False):
            assert run_pass(model, cache, rows, 256, alone).shape == (2, 16)


def test_the_tie_is_far_below_what_tells_tokens_apart(plain: PlainModel, case: Case) -> None:
    assert sorted(plain.answer(case.request, logits=True).gaps)[0] > TIE
