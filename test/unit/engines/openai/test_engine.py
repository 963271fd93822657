"""Servers as an engine: streamed, aborted, shared, failed over and come back, over real HTTP."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scripted_engine import PATIENCE_S, ScriptedEngine
from scripted_server import Body, Reply, ScriptedServer, boxes_text, card_reply, image_of, images_of, serving, usage

from vlm_perception.engines.base import Engine, never_stop
from vlm_perception.engines.fallback import FallbackEngine
from vlm_perception.engines.openai.address import KEY_VARIABLE
from vlm_perception.engines.openai.engine import OpenAIEngine
from vlm_perception.errors import InferenceError, ModelLoadError, ServerUnavailableError
from vlm_perception.pipeline import perceive
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.settings import Settings
from vlm_perception.types import Clip, Frame, FrameHeader, PixelBudget, Request, Result, Token

RGB = np.zeros((240, 320, 3), np.uint8)
# 280x280 px, of which a model sees as many.
BOX = boxes_text([[28, 28, 140, 112]])


def request(prompt: str = "cup", *, age_s: float = 0.0) -> Request:
    frame = Frame(RGB, FrameHeader(1, 2, "camera"), "/camera", time.monotonic() - age_s)
    return Request(frame, build_prompt(prompt))


def boxed(body: Body) -> Reply:
    return Reply(list(BOX), usage=usage(body, 28))


@contextmanager
def opened(*urls: str, has_fallback: bool = False, **settings: object) -> Iterator[OpenAIEngine]:
    chosen = Settings.from_mapping({"model": urls[0], "servers": list(urls[1:]), **settings})
    engine = OpenAIEngine(lambda: chosen, has_fallback=has_fallback)
    engine.load()
    try:
        yield engine
    finally:
        engine.close()


def test_an_answer_of_a_server_is_streamed_scored_and_in_image_pixels() -> None:
    parts: list[Result] = []
    with serving(boxed) as server, opened(server.url) as engine:
        result = perceive(engine, request(), on_partial=parts.append)
        facts = engine.describe()
    width, height = image_of(server.asked[0]).size
    (found,) = result.objects
    assert found.xyxy == pytest.approx((28 * 320 / width, 28 * 240 / height, 140 * 320 / width, 112 * 240 / height))
    assert (found.label, result.answer.finish_reason) == ("thing", "stop")
    assert found.score is not None
    assert len(result.answer.tokens) == len(BOX)
    assert [each.objects[0].xyxy for each in parts] == [found.xyxy]
    assert (facts["family"], facts["source"], facts["scores"]) == (
        "Qwen2.5-VL",
        "Qwen2.5-VL-test",
        "from log-probabilities",
    )
    assert "3 of 3" in facts["probe"]
    assert facts["drafting"].startswith("off")


def test_without_log_probabilities_scores_are_unknown_and_that_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    def bare(reply: Callable[[Body], Reply]) -> Callable[[Body], Reply]:
        return lambda body: replace(reply(body), logprobs=False)

    with serving(bare(boxed), about_card=bare(card_reply)) as server, opened(server.url) as engine:
        results = [perceive(engine, request()) for _ in range(3)]
        assert engine.describe()["scores"] == "unknown"
    assert [found.score for result in results for found in result.objects] == [None] * 3
    assert caplog.text.count("log-probabilities") == 1


def test_an_abort_closes_the_connection_within_one_token() -> None:
    reached, held, told = threading.Event(), threading.Event(), list[str]()

    def script(body: Body) -> Reply:
        return Reply(["a", "b", reached.set, held.wait, *"c" * 100_000])

    def on_text(chunk: str, _: tuple[Token, ...]) -> None:
        told.append(chunk)

    with serving(script) as server, opened(server.url) as engine:
        answer = engine.answer(request(), reached.is_set, on_text)
        assert (answer.finish_reason, answer.text) == ("aborted", "".join(told))
        assert answer.text in ("", "a", "ab")
        held.set()
        assert server.closed.wait(PATIENCE_S)


def test_a_loop_is_cut_and_the_server_stops_writing() -> None:
    with serving(lambda _: Reply(["the same again, "] * 100_000)) as server, opened(server.url) as engine:
        answer = engine.answer(request(), never_stop)
        assert answer.finish_reason == "repetition"
        assert server.closed.wait(PATIENCE_S)


def test_an_image_of_another_size_is_an_error_that_names_server_plan_and_count() -> None:
    def script(body: Body) -> Reply:
        return Reply(["[]"], usage=usage(body, 28, kind=lambda tokens: tokens + 9))

    with serving(script) as server, opened(server.url) as engine:
        with pytest.raises(InferenceError, match="planned are") as raised:
            engine.answer(request(), never_stop)
        assert server.url in str(raised.value)


def watched(body: Body, *, more: int = 0) -> Reply:
    """Say how many image tokens all images of a clip have, and `more`."""
    tokens = more + sum(image.size[0] * image.size[1] // 28**2 for image in images_of(body))
    counts = {"prompt_tokens": 40 + tokens, "prompt_tokens_details": {"multimodal_tokens": {"image": tokens}}}
    return Reply(list("It stops at 00:01.50."), usage=counts)


def watch(times_s: Sequence[float]) -> Request:
    """Frames of 100, 101, ... throughout; those before the last one are kept smaller."""
    sizes = [(120, 160)] * (len(times_s) - 1) + [(240, 320)]
    frames = tuple(
        Frame(np.full((*hw, 3), 100 + index, np.uint8), FrameHeader(9, 0, "camera"), "/camera", time.monotonic())
        for index, hw in enumerate(sizes)
    )
    clip = Clip(frames, tuple(times_s))
    return Request(frames[-1], build_prompt("watch: what happened?"), PixelBudget(3136, 78_400), clip=clip)


def test_a_clip_is_asked_as_images_with_the_times_between_them() -> None:
    with serving(watched) as server, opened(server.url, server_image="png") as engine:
        result = perceive(engine, watch([0.0, 0.4, 2.0]))
    (body,) = server.asked
    content = body["messages"][0]["content"]
    said = [part["text"] for part in content if part["type"] == "text"]
    assert [part["type"] for part in content] == [*["text", "image_url"] * 3, "text"]
    assert said == ["<0.0 seconds>", "<0.4 seconds>", "<2.0 seconds>", result.request.prompt.instruction]
    images = images_of(body)
    assert [image.getpixel((0, 0))[0] for image in images] == [100, 101, 102]
    assert {image.size for image in images} == {result.answer.model_wh}
    assert result.answer.model_wh[0] * result.answer.model_wh[1] <= 78_400 // 2, "no two frames share their tokens here"
    assert [(event.start_s, event.text) for event in result.events] == [(1.5, "It stops at 00:01.50.")]


def test_images_of_a_clip_in_another_size_are_told() -> None:
    refused = pytest.raises(InferenceError, match=r"image tokens of 2 images of \d+x\d+ pixels, planned are")
    with serving(partial(watched, more=9)) as server, opened(server.url) as engine, refused:
        engine.answer(watch([0.0, 1.0]), never_stop)


def test_a_question_that_a_server_finds_wrong_is_asked_nobody_else() -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(lambda _: Reply(["too long"], 400))) for _ in range(2)]
        engine = stack.enter_context(opened(*(server.url for server in servers)))
        with pytest.raises(InferenceError, match="too long"):
            engine.answer(request(), never_stop)
        assert sorted(len(server.asked) for server in servers) == [0, 1]
        assert "2 of 2 can be asked" in engine.describe()["servers"]


# How the first of two servers fails; the second one answers.
FAILURES: dict[str, Callable[[Body], Reply]] = {
    "error": lambda _: Reply(["broken"], 500),
    "busy": lambda _: Reply(["later"], 503, {"Retry-After": "100"}),
    "breaks off": lambda _: Reply(["`", "`"], finish=None),
    "in the middle of an object": lambda _: Reply(list(BOX[:30]), finish=None),
    "stalls": lambda _: Reply(["`", lambda: time.sleep(3.0)]),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failed_answer_is_asked_elsewhere_and_given_once(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    with ExitStack() as stack:
        bad = stack.enter_context(serving(FAILURES[kind]))
        good = stack.enter_context(serving(boxed))
        engine = stack.enter_context(opened(bad.url, good.url, server_stall_s=0.3))
        # The one that has answered less is asked first, so the bad one has its turn soon.
        results = [perceive(engine, request()) for _ in range(3)]
        assert [len(result.objects) for result in results] == [1, 1, 1]
        assert {result.answer.text for result in results} == {BOX}
        assert len(bad.asked) >= 1
        assert bad.url in caplog.text


def test_nothing_is_told_twice_when_an_answer_begins_anew() -> None:
    told: list[str] = []
    whole = boxes_text([[28, 28, 140, 112], [0, 0, 14, 14]])
    with ExitStack() as stack:
        bad = stack.enter_context(serving(lambda _: Reply([whole[:80]], finish=None)))
        good = stack.enter_context(serving(lambda _: Reply([whole])))
        engine = stack.enter_context(opened(bad.url, good.url))
        for _ in range(2):
            told.clear()
            answer = engine.answer(request(), never_stop, lambda chunk, _: told.append(chunk))
            assert answer.text == whole
            assert "".join(told) in (whole, whole[:80])
        assert bad.asked


def test_a_frame_that_is_too_old_is_asked_nobody_else() -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(lambda _: Reply(["broken"], 500))) for _ in range(2)]
        engine = stack.enter_context(opened(*(server.url for server in servers), max_age_s=5.0))
        with pytest.raises(ServerUnavailableError, match="too old"):
            engine.answer(request(age_s=6.0), never_stop)
        assert sum(len(server.asked) for server in servers) == 1


def test_servers_share_the_work_by_what_they_have_to_do() -> None:
    busy, held = threading.Semaphore(0), threading.Event()

    def script(body: Body) -> Reply:
        return Reply([busy.release, held.wait, "[]"])

    with ExitStack() as stack:
        servers = [stack.enter_context(serving(script)) for _ in range(3)]
        engine = stack.enter_context(opened(*(server.url for server in servers)))
        pool = stack.enter_context(ThreadPoolExecutor(6))
        stack.callback(held.set)
        answers = [pool.submit(engine.answer, request(), never_stop) for _ in range(6)]
        for _ in range(6):
            assert busy.acquire(timeout=PATIENCE_S)
        assert [len(server.asked) for server in servers] == [2, 2, 2]
        held.set()
        assert [answer.result(PATIENCE_S).text for answer in answers] == ["[]"] * 6


def test_without_a_server_every_question_fails_at_once_until_one_is_back() -> None:
    with ExitStack() as stack:
        server = ScriptedServer(boxed)
        engine = stack.enter_context(opened(server.url))
        assert engine.answer(request(), never_stop).text == BOX
        server.close()
        with pytest.raises(ServerUnavailableError, match="cannot be reached"):
            engine.answer(request(), never_stop)
        assert "0 of 1 can be asked" in engine.describe()["servers"]
        stack.enter_context(serving(boxed, port=server.port))
        deadline = time.monotonic() + PATIENCE_S
        while "1 of 1" not in engine.describe()["servers"]:
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)
        assert engine.answer(request(), never_stop).text == BOX


def test_one_server_of_two_is_enough_to_load_and_the_other_joins_later() -> None:
    with ExitStack() as stack:
        late = ScriptedServer(boxed)
        late.close()
        there = stack.enter_context(serving(boxed))
        engine = stack.enter_context(opened(late.url, there.url))
        assert "1 of 2" in engine.describe()["servers"]
        stack.enter_context(serving(boxed, port=late.port))
        deadline = time.monotonic() + PATIENCE_S
        while "2 of 2" not in engine.describe()["servers"]:
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)


def test_servers_of_two_families_are_not_mixed() -> None:
    with ExitStack() as stack:
        one = stack.enter_context(serving(boxed))
        other = stack.enter_context(
            serving(boxed, models=("Qwen3-VL-x",), about_card=lambda body: Reply(["?"], usage=usage(body, 32)))
        )
        facts = stack.enter_context(opened(one.url, other.url)).describe()
    assert "1 of 2" in facts["servers"]
    assert "only with the same model" in facts["servers"]


@pytest.mark.parametrize(
    ("status", "words"), [(401, "server_key_file"), (404, "HTTP 404"), (503, "HTTP 503"), (400, "HTTP 400")]
)
def test_a_server_that_refuses_at_first_is_told(status: int, words: str) -> None:
    refusing = serving(boxed, about_card=lambda _: Reply(["no"], status))
    with refusing as server, pytest.raises(ModelLoadError, match=words), opened(server.url):
        pass


def test_the_key_goes_to_the_server_and_nowhere_else(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret-key")
    caplog.set_level(logging.DEBUG)
    with serving(lambda _: Reply(["no secrets"], 500)) as server, opened(server.url) as engine:
        with pytest.raises(InferenceError) as raised:
            engine.answer(request(), never_stop)
        assert server.authorization == "Bearer secret-key"
        told = [caplog.text, str(raised.value), repr(raised.value.__cause__), str(engine.describe())]
    assert not any("secret-key" in text for text in told)


def test_it_can_be_closed_and_opened_again_and_says_when_it_is_not() -> None:
    with serving(boxed) as server, opened(server.url) as engine:
        engine.close()
        engine.close()
        with pytest.raises(InferenceError, match="not loaded"):
            engine.answer(request(), never_stop)
        assert "servers" not in engine.describe()
        engine.load()
        engine.load()
        assert engine.answer(request(), never_stop).text == BOX


def fallback(servers: Engine) -> tuple[FallbackEngine, ScriptedEngine]:
    local = ScriptedEngine(boxes_text([[1, 2, 3, 4]], "local"), name="local")
    return FallbackEngine(servers, local, 2), local


def test_while_no_server_answers_a_checkpoint_in_this_process_does(caplog: pytest.LogCaptureFixture) -> None:
    with ExitStack() as stack:
        server = ScriptedServer(boxed)
        engine, local = fallback(stack.enter_context(opened(server.url, has_fallback=True)))
        assert [found.label for found in perceive(engine, request()).objects] == ["thing"]
        server.close()
        # Its answer is in its own frame, and of its own size of image.
        results = [perceive(engine, request()) for _ in range(2)]
        assert [found.label for result in results for found in result.objects] == ["local"] * 2
        assert results[0].objects[0].xyxy == (1, 2, 3, 4)
        assert "answers now, 2 answers" in engine.describe()["fallback"]
        assert engine.describe()["impaired"].startswith("local answers: no server can be asked")
        assert caplog.text.count("local answers") == 1
        stack.enter_context(serving(boxed, port=server.port))
        deadline = time.monotonic() + PATIENCE_S
        while perceive(engine, request()).objects[0].label != "thing":
            assert time.monotonic() < deadline
        assert "not needed now" in engine.describe()["fallback"]
        assert "impaired" not in engine.describe()
        engine.close()
        assert local.closed


def test_with_a_fallback_no_server_need_be_there_at_the_start() -> None:
    late = ScriptedServer(boxed)
    late.close()
    with ExitStack() as stack:
        engine, _ = fallback(stack.enter_context(opened(late.url, has_fallback=True)))
        assert perceive(engine, request()).objects[0].label == "local"
        stack.enter_context(serving(boxed, port=late.port))
        deadline = time.monotonic() + PATIENCE_S
        while perceive(engine, request()).objects[0].label != "thing":
            assert time.monotonic() < deadline


def test_with_a_fallback_a_server_that_stalls_is_not_waited_for() -> None:
    held = threading.Event()
    with serving(lambda _: Reply([held.wait])) as server:
        with opened(server.url, has_fallback=True, server_stall_s=0.1) as servers:
            engine, _ = fallback(servers)
            assert perceive(engine, request()).objects[0].label == "local"
        held.set()


def test_who_waits_for_the_fallback_can_leave() -> None:
    gone = ScriptedServer(boxed)
    gone.close()
    with opened(gone.url, has_fallback=True) as servers, ThreadPoolExecutor(2) as pool:
        engine, local = fallback(servers)
        local.thinking.set()
        first = pool.submit(engine.answer, request(), never_stop)
        local.wait_asked(1)
        assert engine.answer(request(), lambda: True).finish_reason == "aborted"
        local.thinking.clear()
        assert first.result(PATIENCE_S).finish_reason == "stop"
        assert len(local.requests) == 1


def test_a_process_that_fails_with_an_engine_open_ends() -> None:
    fails = "import sys; from vlm_perception import open_engine; engine = open_engine(sys.argv[1]); 1 / 0"
    script = f"def main():\n    {fails}\nmain()"
    with serving(boxed) as server:
        ended = subprocess.run(
            [sys.executable, "-c", script, server.url],
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (1, "ZeroDivisionError: division by zero")


@pytest.mark.parametrize("same_text", [False, True])
def test_what_a_server_had_written_is_not_mixed_with_the_fallbacks_answer(same_text: bool) -> None:
    first, partial = "one", list[Result]()
    text = boxes_text([[28, 28, 140, 112]], first)
    with serving(lambda _: Reply([text], finish=None)) as server, opened(server.url, has_fallback=True) as servers:
        engine, local = fallback(servers)
        # The same words mean another place in an image of another size.
        local.reply = text if same_text else boxes_text([[1, 2, 3, 4]], "two")
        result = perceive(engine, request(), on_partial=partial.append)
    assert [found.label for each in partial for found in each.objects] == [first]
    (found,) = result.objects
    assert found.xyxy == ((28, 28, 140, 112) if same_text else (1, 2, 3, 4))
