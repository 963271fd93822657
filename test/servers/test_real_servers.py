"""The engine for servers, held to real ones: their answers are those of the same checkpoint in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from benchmarks.real_servers import Server, serve_transformers
from benchmarks.served_tiny import open_served, request_about
from vlm_perception.engines.base import Engine, never_stop
from vlm_perception.errors import ModelLoadError
from vlm_perception.pipeline import perceive
from vlm_perception.types import Result, Token

SEEDS = range(9000, 9003)
# The checkpoint writes boxes, points, sentences and Chinese, and characters of several tokens.
PROMPTS = ("red circle", "all objects", "how many circles?", "point: every square", "红色的圆形", "鑫龘")
# Passes of other shapes sum the same float32 numbers in another order.
SAME_LOGPROB = 1e-4


@pytest.fixture(scope="module")
def served(server: Server) -> Iterator[Engine]:
    engine = open_served(server)
    yield engine
    engine.close()


@pytest.mark.parametrize("prompt", PROMPTS)
def test_answers_are_those_in_this_process(server: Server, served: Engine, tiny: Engine, prompt: str) -> None:
    for seed in SEEDS:
        request = request_about(seed, prompt)
        theirs, ours = perceive(served, request), perceive(tiny, request)
        assert theirs.answer.text == ours.answer.text
        assert theirs.answer.finish_reason == ours.answer.finish_reason == "stop"
        assert [found.xyxy for found in theirs.objects] == [found.xyxy for found in ours.objects]
        assert theirs.count == ours.count
        if server.name == "transformers":
            assert all(found.score is None for found in theirs.objects)
        else:
            told, own = ([token.logprob for token in result.answer.tokens] for result in (theirs, ours))
            assert told == pytest.approx(own, abs=SAME_LOGPROB)


def test_thinking_is_off(server: Server, served: Engine) -> None:
    messages = [{"role": "user", "content": "red circle"}]
    body = {"model": server.model, "messages": messages, "max_tokens": 1}
    lengths = [
        httpx.post(f"{server.url}/chat/completions", json={**body, **switch}, timeout=60.0).json()["usage"]
        for switch in ({}, {"chat_template_kwargs": {"enable_thinking": False}})
    ]
    # Its template would let the model think: answers as in this process are those of one that was told not to.
    assert lengths[0]["prompt_tokens"] > lengths[1]["prompt_tokens"]


def test_objects_come_while_it_writes(served: Engine) -> None:
    partial: list[Result] = []
    result = perceive(served, request_about(9001, "all objects"), on_partial=partial.append)
    assert len(result.objects) > 1
    assert partial[0].objects == result.objects[:1]


def test_a_stopped_answer_ends_at_once_and_leaves_the_server_free(served: Engine) -> None:
    request, pieces = request_about(9001, "all objects"), list[str]()

    def collect(chunk: str, tokens: tuple[Token, ...]) -> None:
        pieces.append(chunk)

    whole = served.answer(request, never_stop)
    stopped = served.answer(request, lambda: len(pieces) >= 5, collect)
    assert stopped.finish_reason == "aborted"
    assert len(stopped.text) < len(whole.text) / 2
    assert whole.text.startswith(stopped.text)
    assert served.answer(request, never_stop).text == whole.text


def test_many_answers_at_a_time_are_each_their_own(served: Engine, tiny: Engine) -> None:
    requests = [request_about(seed, "all objects") for seed in SEEDS]
    with ThreadPoolExecutor(len(requests)) as pool:
        texts = list(pool.map(lambda request: served.answer(request, never_stop).text, requests))
    assert texts == [tiny.answer(request, never_stop).text for request in requests]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        # The checkpoint takes 38,416 pixels: it would shrink the image, and its boxes would be of the small one.
        ({"min_pixels": 50_176, "max_pixels": 1_048_576}, "image tokens"),
        ({"served_model": "of-nobody"}, "of-nobody"),
    ],
    ids=["size", "name"],
)
def test_what_cannot_be_asked_right_is_refused(server: Server, parameters: dict[str, object], said: str) -> None:
    with pytest.raises(ModelLoadError, match=said):
        open_served(server, **parameters)


def test_an_answer_of_a_killed_server_comes_from_another(server: Server, tiny: Engine) -> None:
    requests = [request_about(seed, "all objects") for seed in SEEDS]
    has_begun = threading.Event()
    with serve_transformers(Path(server.model)) as mortal:
        # On a busy machine answers take seconds, and only what was killed is to be given up.
        engine = open_served(server, mortal, max_age_s=60.0, server_stall_s=60.0)

        def ask(number: int) -> str:
            def begin(chunk: str, tokens: tuple[Token, ...]) -> None:
                has_begun.set()

            return engine.answer(requests[number], never_stop, begin).text

        with ThreadPoolExecutor(len(requests)) as pool:
            answers = [pool.submit(ask, number) for number in range(len(requests))]
            assert has_begun.wait(60.0)
            mortal.kill()
            texts = [answer.result() for answer in answers]
    assert texts == [tiny.answer(request, never_stop).text for request in requests]
    assert engine.describe()["servers"].startswith("1 of 2")
    engine.close()
