"""One question to one server, and everything that a server may write instead of an answer."""

from __future__ import annotations

import email.utils
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_engine import PATIENCE_S
from scripted_server import Body, Reply, image_of, serving

from vlm_perception.engines.openai.chat import OPTIONAL_FIELDS, Delta, Question, ServerError, list_models, stream_answer
from vlm_perception.engines.openai.image import encode_image
from vlm_perception.engines.probe_card import draw_card

FRAME = draw_card().frame
QUESTION = Question("find it", encode_image(FRAME, (64, 48), "png"), "image/png", (64, 48), 7)


def ask(url: str, stall_s: float | None = PATIENCE_S, **body: Any) -> list[Delta]:
    async def run() -> list[Delta]:
        async with httpx.AsyncClient() as client:
            asked = QUESTION.body("model") | body
            return [delta async for delta in stream_answer(client, url, asked, stall_s=stall_s)]

    return anyio.run(run)


def test_a_question_is_greedy_streamed_and_about_exactly_the_planned_pixels() -> None:
    with serving(lambda _: Reply(["a", "b"], usage={"prompt_tokens": 5})) as server:
        deltas = ask(server.url)
    (body,) = server.asked
    assert image_of(body).size == (64, 48)
    assert (body["temperature"], body["repetition_penalty"], body["max_tokens"], body["stream"]) == (0.0, 1.0, 7, True)
    assert [delta.content for delta in deltas] == ["a", "b", "", ""]
    assert [delta.finish_reason for delta in deltas] == [None, None, "stop", None]
    assert [token.logprob for delta in deltas for token in delta.tokens] == [-0.25, -0.25]
    assert deltas[-1].prompt_tokens == 5
    assert set(OPTIONAL_FIELDS) <= set(body)
    assert not set(OPTIONAL_FIELDS) & set(QUESTION.body("model", frozenset(OPTIONAL_FIELDS)))
    # What logs may print of a question is not its image.
    assert len(repr(QUESTION)) < 200


@pytest.mark.parametrize(
    ("told", "tokens"),
    [({"image": 48, "audio": 2}, 48), (48, 48), (None, None), ({"audio": 2}, None)],
)
def test_image_tokens_are_read_in_every_form(told: object, tokens: int | None) -> None:
    counts = {"prompt_tokens": 60, "prompt_tokens_details": {"multimodal_tokens": told}}
    with serving(lambda _: Reply(["a"], usage=counts)) as server:
        assert ask(server.url)[-1].image_tokens == tokens


# So far off that a slow run of all tests makes no difference.
DAY_S = 86_400.0
TOMORROW = email.utils.formatdate(time.time() + DAY_S, usegmt=True)


@pytest.mark.parametrize(
    ("status", "headers", "blames_question", "retry_after_s"),
    [
        (400, {}, True, None), (413, {}, True, None), (422, {}, True, None),
        (401, {}, False, None), (404, {}, False, None), (500, {}, False, None), (502, {}, False, None),
        (429, {"Retry-After": "3"}, False, 3.0), (503, {"Retry-After": "0.5"}, False, 0.5),
        (503, {"Retry-After": TOMORROW}, False, DAY_S), (503, {"Retry-After": "soon"}, False, None),
        (429, {"Retry-After": "-5"}, False, 0.0), (302, {"Location": "http://127.0.0.1:1/"}, False, None),
    ],
)  # fmt: skip
def test_a_refusal_tells_who_is_to_blame_and_for_how_long(
    status: int, headers: dict[str, str], blames_question: bool, retry_after_s: float | None
) -> None:
    with serving(lambda _: Reply(["no\nnot today"], status, headers)) as server:
        with pytest.raises(ServerError, match=f"HTTP {status}: no not today") as raised:
            ask(server.url)
        assert server.url in str(raised.value)
    assert raised.value.blames_question is blames_question
    assert raised.value.retry_after_s == (None if retry_after_s is None else pytest.approx(retry_after_s, rel=0.1))


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([], "broke off"),
        (['{"choices": [{"delta": {"content": "a"}}]}'], "broke off"),
        (["{"], "something else"), (["[]"], "something else"), (['{"choices": [{"delta": 7}]}'], "something else"),
        (['{"error": {"message": "out of memory"}}'], "out of memory"),
        (['{"object": "error", "message": "shutting down"}'], "shutting down"),
        (['{"choices": [{"delta": {}, "finish_reason": "content_filter"}]}'], "content_filter"),
        (['{"choices": [{"delta": {}, "finish_reason": "abort"}]}'], "abort"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_told(events: list[str], words: str) -> None:
    with pytest.raises(ServerError, match=words) as raised:
        read_events([f"data: {event}" for event in events])
    assert raised.value.status == 0
    assert not raised.value.blames_question


def read_events(lines: list[str]) -> list[Delta]:
    """What is read of a body of these lines; httpx with its own transport for what no server should write."""

    async def run() -> list[Delta]:
        content = "\n\n".join(lines).encode("utf-8", "surrogatepass")
        transport = httpx.MockTransport(lambda _: httpx.Response(200, content=content))
        async with httpx.AsyncClient(transport=transport) as client:
            return [delta async for delta in stream_answer(client, "http://host/v1", {})]

    return anyio.run(run)


def test_lines_that_are_no_data_are_passed_over() -> None:
    event = json.dumps({"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]})
    assert [
        each.content for each in read_events([": ping", "event: x", f"data:{event}", "data: [DONE]", "data: {"])
    ] == ["a"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["choices", "delta", "content", "logprobs", "token", "logprob", "finish_reason", "usage", "prompt_tokens",
         "prompt_tokens_details", "multimodal_tokens", "error", "message"]
    ), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=150)
@given(st.lists(JSON.map(json.dumps) | st.text(max_size=20), max_size=4))
def test_whatever_is_written_is_an_answer_or_a_server_error(events: list[str]) -> None:
    try:
        deltas = read_events([f"data: {event}" for event in events])
    except ServerError:
        return
    assert deltas[-1].finish_reason is not None or any(delta.finish_reason for delta in deltas)


def test_a_server_that_is_not_there_cannot_be_reached() -> None:
    with serving(lambda _: Reply()) as server:
        pass
    for call in (lambda: ask(server.url), lambda: models_of(server.url)):
        with pytest.raises(ServerError, match=r"cannot be reached") as raised:
            call()
        assert (raised.value.status, raised.value.blames_question) == (0, False)


def test_a_server_that_stalls_is_not_waited_for() -> None:
    held = threading.Event()
    with serving(lambda _: Reply(["a", held.wait])) as server:
        with pytest.raises(ServerError, match="too long"):
            ask(server.url, stall_s=0.05)
        held.set()


@pytest.mark.parametrize("script", [lambda _: Reply(), lambda _: Reply(finish=None)])
def test_models_are_named_in_the_servers_order(script: Callable[[Body], Reply]) -> None:
    with serving(script, models=("b", "a")) as server:
        assert models_of(server.url) == ["b", "a"]
    with serving(script, models=()) as server, pytest.raises(ServerError, match="404"):
        models_of(server.url)


def models_of(url: str) -> list[str]:
    async def run() -> list[str]:
        async with httpx.AsyncClient() as client:
            return await list_models(client, url)

    return anyio.run(run)


def test_a_kept_connection_that_is_dead_is_not_the_servers_fault() -> None:
    """`transformers serve` closes it after an error, and only who asks next sees that."""
    answer = b'HTTP/1.1 200 OK\r\n\r\ndata: {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}\n\n'
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for reply in (b"", answer):
                connection, _ = listening.accept()
                with connection, connection.makefile("rb") as read:
                    length = 0
                    while (line := read.readline().strip().lower()) != b"":
                        length = int(line.split(b":")[1]) if line.startswith(b"content-length") else length
                    # What is not read is answered by a reset, which may overtake the reply.
                    read.read(length)
                    connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        deltas = ask(f"http://127.0.0.1:{listening.getsockname()[1]}/v1")
        thread.join(PATIENCE_S)
    assert [delta.content for delta in deltas] == ["a"]
