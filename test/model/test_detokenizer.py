"""Ids to text, on the tokenizer of the tiny checkpoints: exact places, whatever the model writes."""

from __future__ import annotations

from typing import Any

import pytest
from checkout import TINY
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from benchmarks.plain import align_tokens
from vlm_perception.engines.transformers.detokenizer import Detokenizer
from vlm_perception.engines.transformers.vocabulary import ByteVocabulary
from vlm_perception.types import Token

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@pytest.fixture(scope="module")
def shipped() -> Any:
    return AutoTokenizer.from_pretrained(TINY)


@pytest.fixture(scope="module")
def vocabulary(shipped: Any) -> ByteVocabulary:
    return ByteVocabulary(shipped)


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))


def pieces_of(vocabulary: ByteVocabulary, ids: list[int]) -> list[tuple[str, tuple[Token, ...]]]:
    writing = Detokenizer()
    written = enumerate(map(vocabulary.bytes_of, ids))
    return [*(writing.feed(each, -float(place)) for place, each in written), writing.finish()]


# Ids 12 to 267 are the single bytes, so most lists are no UTF-8; id 600 is not in the vocabulary.
# The bytes of a surrogate are three wrong characters, not one.
@example(ids=[181, 106, 3])
@example(ids=[181, 106, 181, 139, 140])
@given(st.lists(st.one_of(st.integers(0, 511), st.integers(130, 267), st.just(600)), max_size=40))
def test_any_ids_give_what_the_tokenizer_itself_decodes(
    shipped: Any, vocabulary: ByteVocabulary, ids: list[int]
) -> None:
    pieces = pieces_of(vocabulary, ids)
    text = "".join(chunk for chunk, _ in pieces)
    tokens = [token for _, tokens in pieces for token in tokens]
    written = [token_id for token_id in ids if vocabulary.bytes_of(token_id)]
    assert text == shipped.decode(written)
    # Every token comes, in its order, with its own log-probability, and together they cover the text.
    assert [token.logprob for token in tokens] == [-float(place) for place in range(len(ids))]
    covered = 0
    for token in tokens:
        assert token.start <= covered <= max(covered, token.end)
        covered = max(covered, token.end)
    assert covered == len(text)
    # No token comes before the characters it wrote, and none of them is held back longer.
    length = 0
    for chunk, ready in pieces:
        length += len(chunk)
        assert all(length - len(chunk) <= token.end <= length for token in ready)


# Hypothesis draws texts from our own source, too; the control tokens in it write nothing.
@given(st.text(max_size=30).filter(lambda text: "<|" not in text))
def test_text_of_any_script_comes_back_exactly(shipped: Any, vocabulary: ByteVocabulary, text: str) -> None:
    ids = ids_of(shipped, text)
    said, tokens = align_tokens(shipped, ids, [0.0] * len(ids))
    assert said == text
    for token_id, token in zip(ids, tokens, strict=True):
        # What a token wrote is the bytes of its characters, or a part of them at either end.
        assert vocabulary.bytes_of(token_id) in text[token.start : token.end].encode()
        assert token.end > token.start


def test_bytes_of_one_character_share_it_and_come_with_it(shipped: Any, vocabulary: ByteVocabulary) -> None:
    ids = ids_of(shipped, "a猫b")
    assert len(ids) == 5
    pieces = pieces_of(vocabulary, ids)
    assert [chunk for chunk, _ in pieces] == ["a", "", "", "猫", "b", ""]
    assert [len(tokens) for _, tokens in pieces] == [1, 0, 0, 3, 1, 0]
    assert {(token.start, token.end) for token in pieces[3][1]} == {(1, 2)}


def test_an_unfinished_character_ends_as_a_replacement(shipped: Any, vocabulary: ByteVocabulary) -> None:
    ids = ids_of(shipped, "猫")[:2]
    assert pieces_of(vocabulary, ids)[-1] == (REPLACEMENT, (Token(0, 1, 0.0), Token(0, 1, -1.0)))


def test_a_broken_character_does_not_belong_to_the_next_token(shipped: Any, vocabulary: ByteVocabulary) -> None:
    ids = [ids_of(shipped, "猫")[0], *ids_of(shipped, "a")]
    text, tokens = align_tokens(shipped, ids, [0.0, 0.0])
    assert text == f"{REPLACEMENT}a"
    assert [(token.start, token.end) for token in tokens] == [(0, 1), (1, 2)]


CONTROL = ("<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|vision_start|>", "<|image_pad|>", "<|video_pad|>")
PARTS = ("<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>")


@pytest.mark.parametrize("name", CONTROL)
def test_chat_control_tokens_write_nothing(shipped: Any, name: str) -> None:
    ids = [*ids_of(shipped, "ab"), shipped.convert_tokens_to_ids(name), *ids_of(shipped, "c")]
    text, tokens = align_tokens(shipped, ids, [0.0] * len(ids))
    assert text == "abc"
    assert (2, 2) in [(token.start, token.end) for token in tokens]


def test_a_control_token_inside_a_character_keeps_its_turn(shipped: Any, vocabulary: ByteVocabulary) -> None:
    first, *rest = ids_of(shipped, "猫")
    end = shipped.convert_tokens_to_ids("<|im_end|>")
    pieces = pieces_of(vocabulary, [first, end, *rest])
    assert "".join(chunk for chunk, _ in pieces) == "猫"
    assert [token.logprob for token in pieces[3][1]] == [0.0, -1.0, -2.0, -3.0]


@pytest.mark.parametrize("name", PARTS)
def test_tokens_that_mark_objects_and_boxes_stay_in_the_text(shipped: Any, name: str) -> None:
    assert name in shipped.all_special_tokens
    text, tokens = align_tokens(shipped, [shipped.convert_tokens_to_ids(name)], [-0.5])
    assert (text, tokens) == (name, (Token(0, len(name), -0.5),))


def test_all_marks_of_the_family_are_known() -> None:
    names = [f"<|{what}_{edge}|>" for what in ("object_ref", "box", "quad", "point") for edge in ("start", "end")]
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    tokenizer.add_tokens([*names, "<|vision_pad|>"], special_tokens=True)
    ids = [tokenizer.convert_tokens_to_ids(name) for name in (*names, "<|vision_pad|>")]
    assert align_tokens(tokenizer, ids, [0.0] * len(ids))[0] == "".join(names)


def test_a_tokenizer_that_does_not_write_bytes_is_refused() -> None:
    words = Tokenizer(models.WordLevel({"[unk]": 0, "red": 1, "cup": 2}, unk_token="[unk]"))
    with pytest.raises(ValueError, match="byte-level"):
        ByteVocabulary(PreTrainedTokenizerFast(tokenizer_object=words))
