"""Qwen's real vocabulary with a small untrained model: bytes, evidence, drafts and streaming, to the character."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import tiktoken
from evidence_forms import EVIDENCE_FORMS
from hypothesis import example, given, settings
from hypothesis import strategies as st
from real_vocabulary import CONTROL, PLAIN, ROWS, read_ranks, save
from told import Told
from transformers import AutoTokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from benchmarks.lossless import judge
from benchmarks.plain import PlainModel
from vlm_perception.engines.base import never_stop
from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.transformers.detokenizer import Detokenizer
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.engines.transformers.vocabulary import ByteVocabulary
from vlm_perception.replies.reader import parse_answer
from vlm_perception.replies.token_evidence import gather_evidence
from vlm_perception.types import Answer, Request, Timings, Token

COUNT = 151_643
TEXTS = (
    '```json\n[\n\t{"bbox_2d": [1, 34, 67, 901], "label": "red cup"},\n\t{"point_2d": [1, 2], "label": "杯"}\n]\n```',
    "The wheels of the cart's left side: 3.",
    "图中有 17 个物体，其中三个是红色的圆形。",
    "猫🐈‍⬛ 和狗🐕‍🦺, 👨‍👩‍👧‍👦 🇩🇪 👍🏽",
    "𠮷野家で龘を書く 𓀀 ꧁",
    "Ünïcödé naïve façade Ελληνικά русский العربية עברית हिन्दी ไทย 한국어",
    "a  b   c\t\td\r\n\r\ne \u3000 \u00a0 f\n\n\n",
    "x1=11.5,y1=-2e3 0007 ½ ² Ⅷ ١٢٣ １２",
    "<|object_ref_start|>car 7<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>",
    "<tool_call>{}</tool_call> <point>7 8</point>",
)


@dataclass(frozen=True)
class Saved:
    folder: Path
    engine: TransformersEngine
    undrafted: TransformersEngine


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    folder = save(tmp_path_factory.mktemp("real_vocabulary"))
    engines = [cast(TransformersEngine, open_engine(folder, drafting=drafting)) for drafting in (True, False)]
    yield Saved(folder, *engines)
    for engine in engines:
        engine.close()


@pytest.fixture(scope="module")
def vocabulary(saved: Saved) -> ByteVocabulary:
    assert saved.engine._generator is not None
    found = saved.engine._generator._loaded.vocabulary
    assert isinstance(found, ByteVocabulary)
    return found


def pieces_of(vocabulary: ByteVocabulary, ids: list[int]) -> list[tuple[str, tuple[Token, ...]]]:
    """What is streamed of these tokens, of which number n has the log-probability -n."""
    writing = Detokenizer()
    written = enumerate(map(vocabulary.bytes_of, ids))
    return [*(writing.feed(each, -float(place)) for place, each in written), writing.finish()]


def test_ids_are_those_of_the_published_checkpoints(saved: Saved, vocabulary: ByteVocabulary) -> None:
    tokenizer = AutoTokenizer.from_pretrained(saved.folder)
    assert (len(read_ranks()), len(tokenizer)) == (COUNT, COUNT + len(CONTROL) + len(PLAIN))
    assert tokenizer.convert_tokens_to_ids([*CONTROL, *PLAIN]) == list(range(COUNT, COUNT + 22))
    assert vocabulary.end_id == 151_645
    # Digits one by one, and the first ids are those of single characters in the order of the bytes' alphabet.
    assert vocabulary.encode("9012") == [24, 15, 16, 17]
    assert tokenizer.convert_tokens_to_ids(["<|image_pad|>", "<|vision_start|>"]) == [151_655, 151_652]


def test_every_id_writes_its_bytes(vocabulary: ByteVocabulary) -> None:
    for written, token_id in read_ranks().items():
        assert vocabulary.bytes_of(token_id) == written
    marks = {name for name in CONTROL if name.startswith(("<|object_ref", "<|box", "<|quad"))}
    assert len(marks) == 6
    for place, name in enumerate((*CONTROL, *PLAIN)):
        expected = name.encode() if name in marks or name in PLAIN else b""
        assert vocabulary.bytes_of(COUNT + place) == expected, name
    assert vocabulary.bytes_of(COUNT + 22) == vocabulary.bytes_of(ROWS - 1) == b""


@pytest.mark.parametrize("text", TEXTS)
def test_texts_are_cut_as_qwens_own_reader_cuts_them_and_come_back(vocabulary: ByteVocabulary, text: str) -> None:
    whole = unicodedata.normalize("NFC", text)
    ids = vocabulary.encode(text)
    assert b"".join(map(vocabulary.bytes_of, ids)).decode() == whole
    own = tiktoken.Encoding(
        "qwen",
        pat_str=PRETOKENIZE_REGEX,
        mergeable_ranks=read_ranks(),
        special_tokens={name: COUNT + place for place, name in enumerate((*CONTROL, *PLAIN))},
    )
    assert ids == own.encode(whole, allowed_special="all")


@settings(deadline=None)
@given(st.text(max_size=40))
@example("a<|im_start|>b")
def test_any_text_comes_back_without_control_tokens(vocabulary: ByteVocabulary, text: str) -> None:
    silent = "|".join(re.escape(name) for name in CONTROL if not vocabulary.bytes_of(vocabulary.encode(name)[0]))
    whole = "".join(unicodedata.normalize("NFC", part) for part in re.split(silent, text))
    assert b"".join(map(vocabulary.bytes_of, vocabulary.encode(text))).decode() == whole


@pytest.mark.parametrize("text", TEXTS)
def test_characters_that_tokens_share_are_streamed_whole(vocabulary: ByteVocabulary, text: str) -> None:
    whole, ids = unicodedata.normalize("NFC", text), vocabulary.encode(text)
    pieces = pieces_of(vocabulary, ids)
    assert "".join(chunk for chunk, _ in pieces) == whole
    assert not any("\N{REPLACEMENT CHARACTER}" in chunk for chunk, _ in pieces)
    tokens = [token for _, ready in pieces for token in ready]
    assert [token.logprob for token in tokens] == [-float(place) for place in range(len(ids))]
    for token, token_id in zip(tokens, ids, strict=True):
        # A token spans the characters that it has a byte of, and no others.
        assert vocabulary.bytes_of(token_id) in whole[token.start : token.end].encode()


def test_some_of_these_texts_have_tokens_that_share_a_character(vocabulary: ByteVocabulary) -> None:
    def is_part(token_id: int) -> bool:
        return vocabulary.bytes_of(token_id).decode("utf-8", "replace").count("\N{REPLACEMENT CHARACTER}") > 0

    parts = [sum(map(is_part, vocabulary.encode(text))) for text in TEXTS]
    assert sum(parts) > 30
    assert parts[3] >= 5, "emoji"
    assert is_part(vocabulary.encode(" 猫")[0]), "a space and a third of a character are one token"


@pytest.mark.parametrize(
    ("text", "expected"), [form[1:] for form in EVIDENCE_FORMS], ids=[form[0] for form in EVIDENCE_FORMS]
)
def test_tokens_speak_for_their_objects_in_every_form(
    vocabulary: ByteVocabulary, text: str, expected: list[tuple[str, str, str]]
) -> None:
    pieces = pieces_of(vocabulary, vocabulary.encode(text))
    tokens = tuple(token for _, ready in pieces for token in ready)
    answer = Answer(text, (1000, 1000), "absolute", "stop", tokens, Timings(0, 0, 0))
    objects = sorted(parse_answer(text, model_wh=(1000, 1000), image_wh=(1000, 1000)).objects, key=lambda o: o.span)

    def written(logprobs: tuple[float, ...]) -> list[str]:
        return [text[tokens[round(-each)].start : tokens[round(-each)].end] for each in logprobs]

    assert len(objects) == len(expected)
    for item, (numbers, label, begin) in zip(objects, expected, strict=True):
        evidence = gather_evidence(item, answer)
        # One token a digit, and nothing else.
        assert written(evidence.coordinates) == [sign for sign in numbers if sign.isdigit()]
        named = "".join(written(evidence.label))
        # Signs beside a label may be in one token with it; its letters are all there, and no others.
        letters = [sign for sign in named if sign.isalnum()]
        assert letters == [sign for sign in label if sign.isalnum()]
        assert begin in "".join(written(evidence.begin))


def test_drafts_change_no_bit_and_streams_are_whole(saved: Saved, make_request: Callable[..., Request]) -> None:
    request, passes, tokens, plain = make_request(max_new_tokens=48), 0, 0, PlainModel(str(saved.folder))
    expected = saved.undrafted.answer(request, never_stop)
    assert len(expected.tokens) > 10
    verdict = judge(expected, request, plain, plain.answer(request))
    assert verdict == "same" or verdict.startswith("tie"), verdict
    for _ in range(3):
        told = Told()
        answer = saved.engine.answer(make_request(max_new_tokens=48), told.should_stop, told.on_text)
        assert (answer.text, answer.tokens) == (expected.text, expected.tokens)
        assert (told.text, told.tokens) == (answer.text, answer.tokens)
        passes, tokens = passes + answer.passes, tokens + len(answer.tokens)
    assert passes < tokens, "the same answer again is drafted"
