"""What a server tells of its tokens, placed in its text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.engines.base import ignore_text
from vlm_perception.engines.openai.chat import Delta, ServedToken
from vlm_perception.engines.openai.reply import ServedReply
from vlm_perception.types import Token


def delta(content: str, *names: str, finish: str | None = None) -> Delta:
    return Delta(content, tuple(ServedToken(name, -1.0) for name in names), finish)  # type: ignore[arg-type]


# What servers wrote (vLLM 0.32 but the last two): each event, and the (start, end) of each token.
CASES = {
    "one a piece": ([delta("ab", "ab"), delta("c", "c"), delta("", "<|im_end|>", finish="stop")],
                    [(0, 2), (2, 3), (3, 3)]),
    "several a piece": ([delta("abc", "a", "bc", finish="length")], [(0, 1), (1, 3)]),
    "a character over tokens": ([delta("a", "a"), delta("", ""), delta("色小", "\ufffd小"), delta("x", "x")],
                                [(0, 1), (1, 3), (1, 3), (3, 4)]),
    "its parts, named": ([delta("", "\\xe8"), delta("色", "\\x89\\xb2")], [(0, 1), (0, 1)]),
    "a cut character": ([delta("a", "a"), delta("", ""), delta("", finish="length")], [(0, 1), (1, 1)]),
    "a control token that is text": ([delta("<|box|>", "<|box|>")], [(0, 7)]),
    "no tokens told": ([delta("ab"), delta("c", finish="stop")], []),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_tokens_lie_where_their_text_is(name: str) -> None:
    deltas, places = CASES[name]
    told: list[tuple[str, tuple[Token, ...]]] = []
    reply = ServedReply(lambda chunk, tokens: told.append((chunk, tokens)))
    for each in deltas:
        reply.read(each)
    text, tokens, _ = reply.finish()
    assert text == "".join(each.content for each in deltas)
    assert [(token.start, token.end) for token in tokens] == places
    # What was told on the way is all of it, and nothing else.
    assert "".join(chunk for chunk, _ in told) == text
    assert tuple(token for _, tokens in told for token in tokens) == tokens


@given(st.lists(st.tuples(st.text(max_size=4), st.lists(st.text(max_size=4), max_size=3)), max_size=12))
def test_whatever_a_server_tells_tokens_lie_in_the_text_and_in_order(events: list[tuple[str, list[str]]]) -> None:
    reply = ServedReply(ignore_text)
    for content, names in events:
        reply.read(delta(content, *names))
    text, tokens, reason = reply.finish()
    assert text == "".join(content for content, _ in events)
    assert all(0 <= token.start <= token.end <= len(text) for token in tokens)
    assert [token.end for token in tokens] == sorted(token.end for token in tokens)
    assert reason == "aborted"


def test_a_loop_is_ended_early() -> None:
    reply = ServedReply(ignore_text)
    for _ in range(200):
        reply.read(delta("the same again and again, "))
        if reply.over:
            break
    assert reply.over
    assert reply.finish()[2] == "repetition"


@pytest.mark.parametrize("reason", ["stop", "length"])
def test_the_server_says_why_it_ended(reason: str) -> None:
    reply = ServedReply(ignore_text)
    reply.read(delta("a", finish=reason))
    assert reply.finish()[2] == reason
