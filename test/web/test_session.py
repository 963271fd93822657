"""Controls in, contents of the page out; one model, one question at a time, and no failure ends anything."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_perception.apps.web.session import Controls, Session
from vlm_perception.apps.web.show import NO_ANSWER, Shown
from vlm_perception.engines.base import OnText, ignore_text
from vlm_perception.errors import InferenceError, ModelLoadError
from vlm_perception.prompts.builder import MAX_PROMPT_CHARS
from vlm_perception.settings import Settings
from vlm_perception.types import Answer, FinishReason, Request, Timings, Token

TIMEOUT_S = 20
CAT = '{"bbox_2d": [10, 20, 30, 40], "label": "cat"}'
DOG = '{"bbox_2d": [50, 60, 70, 80], "label": "dog", "sub_label": "<b>wet</b>"}'
BAD = '{"bbox_2d": [1, 2], "label": "fox"}'


class WritingEngine:
    """Writes given pieces; can be held before each of them, and notes when two questions meet in it."""

    name = "writing"

    def __init__(self, *pieces: str) -> None:
        self.pieces = pieces
        self.may_load, self.may_write = threading.Event(), threading.Event()
        self.may_load.set()
        self.may_write.set()
        self.writing = threading.Event()
        self.failure: Exception | None = None
        self.reason: FinishReason = "stop"
        self.requests: list[Request] = []
        self.users = 0
        self.most_users = 0

    def load(self) -> None:
        assert self.may_load.wait(TIMEOUT_S)
        if isinstance(self.failure, ModelLoadError):
            raise self.failure

    def blank_answer(self, request: Request) -> Answer:
        return Answer("", (100, 100), "absolute", "unfinished", (), Timings(0.01, 0.2, 0.0))

    def answer(self, request: Request, should_stop: Callable[[], bool], on_text: OnText = ignore_text) -> Answer:
        self.users += 1
        self.most_users = max(self.most_users, self.users)
        self.requests.append(request)
        text, tokens = "", []
        if self.failure is not None:
            self.users -= 1
            raise self.failure
        for piece in self.pieces:
            if should_stop():
                break
            token = Token(len(text), len(text) + len(piece), -0.05 if not tokens else -3.0)
            text += piece
            tokens.append(token)
            on_text(piece, (token,))
            self.writing.set()
            assert self.may_write.wait(TIMEOUT_S)
        reason = "aborted" if should_stop() else self.reason
        self.users -= 1
        return replace(self.blank_answer(request), text=text, tokens=tuple(tokens), finish_reason=reason)

    def describe(self) -> dict[str, str]:
        return {"device": "cpu", "dtype": "float32", "parameters": "1.0 M"}

    def close(self) -> None: ...


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.fromarray(np.full((100, 200, 3), 120, np.uint8)).save(path)
    return path


@pytest.fixture
def open_session() -> Iterator[Callable[[WritingEngine], Session]]:
    opened: list[tuple[WritingEngine, Session]] = []

    def make(engine: WritingEngine) -> Session:
        opened.append((engine, Session(engine, Settings())))
        return opened[-1][1]

    yield make
    for engine, session in opened:
        engine.may_load.set()
        engine.may_write.set()
        assert session.close(TIMEOUT_S)


OpenSession = Callable[[WritingEngine], Session]


def question(picture: Path | None, prompt: str = "the animals", **more: object) -> Controls:
    controls: dict[str, object] = {"task": "auto", "score_threshold": 0, "max_pixels": 1024 * 1024} | more
    return Controls(picture, "picture.png", prompt, **controls)  # type: ignore[arg-type]


def last(session: Session, asked: Controls) -> Shown:
    return list(session.ask(asked, "me"))[-1]


def test_everything_of_an_answer_is_shown(open_session: OpenSession, picture: Path) -> None:
    engine = WritingEngine(f"[{CAT}, ", f"{DOG}, ", f"{BAD}]")
    shown = last(open_session(engine), question(picture))
    assert shown.notice == ""
    assert shown.picture is not None
    # The words stand in a bar below.
    assert shown.picture.shape == (100 + 16, 200, 3)
    assert (shown.picture[:100] != 120).any(axis=2).sum() > 200, "boxes have to be drawn"
    assert "<td>cat</td>" in shown.objects
    assert "box 20, 20, 60, 40" in shown.objects
    assert re.search(r'<td class="number">0\.\d\d</td>', shown.objects)
    assert "&lt;b&gt;wet&lt;/b&gt;" in shown.objects
    assert shown.reply.count('<mark class="object"') == 2
    assert shown.reply.count('<mark class="reject"') == 1
    assert "fox" in shown.rejects
    assert "200 x 100 px" in shown.facts
    assert "100 x 100 px" in shown.facts
    assert "objects <b>2</b>" in shown.answer
    assert shown.picture_alt == "2 objects: cat, dog."
    told = json.loads(shown.json)
    assert (told["source"], told["model"], told["prompt"]) == ("picture.png", "writing", "the animals")
    assert told["objects"][0]["bbox_xyxy"] == [20, 20, 60, 40]


def test_text_that_was_read_is_shown(open_session: OpenSession, picture: Path) -> None:
    """In words above the list, in the list, and to a screen reader; whatever it says, it is text."""
    document = '<h2 data-bbox="10 10 30 20">Note &lt;i&gt;</h2>', '<p data-bbox="10 30 90 40">one<br>two</p>'
    shown = last(open_session(WritingEngine(*document)), question(picture, "read: document"))
    assert shown.answer.endswith('<p class="spoken">Note &lt;i&gt;\none\ntwo</p>')
    assert "<th>text</th>" in shown.objects
    assert "<td>one\ntwo</td>" in shown.objects
    assert shown.spoken == "2 objects: heading, paragraph. Note &lt;i&gt;\none\ntwo"
    assert 'title="object 1: Note &lt;i&gt;"' in shown.reply
    assert [found["text"] for found in json.loads(shown.json)["objects"]] == ["Note <i>", "one\ntwo"]


def test_an_answer_in_words_counts_no_objects(open_session: OpenSession, picture: Path) -> None:
    shown = last(open_session(WritingEngine("There are two carts.")), question(picture, "describe the scene"))
    assert shown.answer == '<div class="chips"></div><p class="spoken">There are two carts.</p>'
    assert shown.spoken == "Answered in words. There are two carts."
    assert (shown.objects, shown.title) == ("", "describe the scene: Answered in words.")
    listed = last(open_session(WritingEngine(f"[{CAT}]")), question(picture, "describe the scene"))
    assert "objects <b>1</b>" in listed.answer
    silent = last(open_session(WritingEngine("[]")), question(picture, "describe the scene"))
    assert silent.spoken == "No objects."


@pytest.mark.parametrize(
    ("reason", "remark"), [("length", "raise --max-new-tokens"), ("timeout", "took too long"), ("stop", "")]
)
def test_a_truncated_answer_says_so(
    open_session: OpenSession, picture: Path, reason: FinishReason, remark: str
) -> None:
    engine = WritingEngine(f"[{CAT}, ")
    engine.reason = reason
    shown = last(open_session(engine), question(picture))
    assert remark in shown.notice
    assert (f"{reason}, truncated" in shown.facts) == (reason != "stop")


@pytest.mark.parametrize(("number", "agrees"), [(1, "agrees with the list"), (3, "differs from the list")])
def test_a_count_is_shown_with_whether_it_agrees(
    open_session: OpenSession, picture: Path, number: int, agrees: str
) -> None:
    shown = last(open_session(WritingEngine(f"[{CAT}]\nThere are {number} cats.")), question(picture, "how many cats?"))
    assert all(part in shown.answer for part in (f"count <b>{number}</b>", agrees, f"There are {number} cats."))


def test_words_of_a_user_are_never_html(open_session: OpenSession, picture: Path) -> None:
    prompt = "raw: <script>alert(1)</script>"
    engine = WritingEngine(f"<img src=x onerror=alert(1)> [{CAT}] <script>")
    shown = last(open_session(engine), question(picture, prompt))
    everything = shown.notice + shown.answer + shown.objects + shown.reply + shown.rejects + shown.facts
    assert "<script" not in everything
    assert "<img" not in everything
    assert "&lt;script&gt;alert(1)" in shown.facts


def test_a_film_is_asked_about_as_a_whole(
    open_session: OpenSession, picture: Path, tmp_path: Path, write_video: Callable[..., Path]
) -> None:
    """With its own times and its own name, whatever picture of it, or of something else, is there beside it."""
    film = write_video(tmp_path / "street.mp4", [np.full((48, 64, 3), grey, np.uint8) for grey in range(40)])
    engine = WritingEngine("A <cat> comes in 00:01.00 - 00:02.50.")
    shown = last(open_session(engine), question(picture, "watch: what happened?", film=film))
    (request,) = engine.requests
    assert request.clip is not None
    assert request.clip.times_s == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5], abs=0.11)
    assert request.frame is request.clip.frames[-1]
    assert re.findall(r"<td[^>]*>([^<]*)</td>", shown.objects)[:2] == ["1.00", "2.50"]
    assert "&lt;cat&gt;" in shown.objects
    told = json.loads(shown.json)
    assert (told["source"], told["clip"]["frames"]) == ("street.mp4", 8)
    assert str(tmp_path) not in shown.json + shown.objects + shown.facts
    assert "8 frames, 3.50 s" in shown.facts


def test_a_film_that_ends_early_is_answered_with_a_remark(
    open_session: OpenSession, tmp_path: Path, write_video: Callable[..., Path]
) -> None:
    whole = write_video(tmp_path / "whole.avi", [np.full((48, 64, 3), grey, np.uint8) for grey in range(0, 240, 4)])
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    shown = last(open_session(WritingEngine("Nothing happened.")), question(None, "watch: what happened?", film=cut))
    assert 'class="notice remark"' in shown.notice
    assert "cut.avi" in shown.notice
    assert str(tmp_path) not in shown.notice


def test_objects_appear_as_they_are_written(open_session: OpenSession, picture: Path) -> None:
    engine = WritingEngine(f"[{CAT}, ", f"{DOG}]")
    engine.may_write.clear()
    answers = open_session(engine).ask(question(picture), "me")
    first = next(answers)
    while "waits" in first.notice:
        first = next(answers)
    assert "cat" in first.objects
    assert "dog" not in first.objects
    assert "still writing" in first.notice
    assert first.spoken == first.json == "", "said and kept once it is whole"
    engine.may_write.set()
    assert "dog" in list(answers)[-1].objects


@pytest.mark.parametrize(
    ("wrong", "says", "kept"),
    [
        ({"picture": None}, "there is no image", False),
        ({"picture": Path("/no/such.png")}, "upload the image again", False),
        ({"prompt": "   "}, "names nothing to look for", True),
        ({"prompt": "x" * (MAX_PROMPT_CHARS + 1)}, f"characters, the limit is {MAX_PROMPT_CHARS}", True),
        ({"task": "dance"}, "task is", True),
        ({"prompt": "watch: what happened?"}, "is asked about a whole video: upload one", True),
        ({"prompt": "watch: what happened?", "film": Path("/no/such.mp4")}, "such.mp4", False),
        ({"score_threshold": 2.0}, "score_threshold is 2.0", True),
        ({"score_threshold": "high"}, "numbers", True),
        ({"max_pixels": 10}, "max_pixels is 10", True),
        ({"max_pixels": float("inf")}, "numbers", True),
    ],
)
def test_wrong_input_is_refused_and_the_next_question_answered(
    open_session: OpenSession, picture: Path, wrong: dict[str, object], says: str, kept: bool
) -> None:
    session = open_session(WritingEngine(f"[{CAT}]"))
    given = {"picture": picture, **wrong}
    refused = last(session, question(**given))  # type: ignore[arg-type]
    assert says in refused.notice
    assert 'role="alert"' in refused.notice
    # A result before stays when nothing was asked, and not when it shows another picture.
    assert refused.kept is kept
    assert refused.picture is None
    assert refused.objects == refused.answer == ""
    assert refused.reply == refused.rejects == refused.facts == NO_ANSWER
    assert "cat" in last(session, question(picture)).objects


def test_a_failure_of_the_model_is_shown_and_over(open_session: OpenSession, picture: Path) -> None:
    engine = WritingEngine(f"[{CAT}]")
    engine.failure = InferenceError("out of memory with max_pixels 9; lower it")
    session = open_session(engine)
    assert "out of memory with max_pixels 9; lower it" in last(session, question(picture)).notice
    engine.failure = None
    assert "cat" in last(session, question(picture)).objects


def test_a_model_that_cannot_be_loaded_says_why_every_time(
    open_session: OpenSession, picture: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = WritingEngine()
    engine.failure = ModelLoadError("no such folder: /models/none; name an existing one")
    session = open_session(engine)
    states = list(session.model_states())
    assert "no such folder: /models/none; name an existing one" in states[-1]
    assert "no such folder" in last(session, question(picture)).notice
    assert "no such folder" in caplog.text


@pytest.mark.parametrize(
    ("engine_name", "called"),
    [("Qwen/Qwen2.5-VL-3B-Instruct", "Qwen/Qwen2.5-VL-3B-Instruct"), ("/robot/models/mine", "mine"), ("HERE", "kept")],
)
def test_the_model_is_called_by_its_name_and_not_by_its_place(
    open_session: OpenSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine_name: str, called: str
) -> None:
    (tmp_path / "kept").mkdir()
    monkeypatch.chdir(tmp_path)
    engine = WritingEngine()
    engine.name = "./kept" if engine_name == "HERE" else engine_name
    engine.may_load.clear()
    states = open_session(engine).model_states()
    assert f">{called} is being loaded" in next(states)
    engine.may_load.set()
    assert f">{called} · " in list(states)[-1]


def test_a_question_waits_for_a_model_that_is_still_loading(open_session: OpenSession, picture: Path) -> None:
    engine = WritingEngine(f"[{CAT}]")
    engine.may_load.clear()
    session = open_session(engine)
    states = session.model_states()
    assert "writing is being loaded" in next(states)
    answers = session.ask(question(picture), "me")
    assert "still loading" in next(answers).notice
    engine.may_load.set()
    assert "cat" in list(answers)[-1].objects
    assert "1.0 M parameters" in list(states)[-1]


def test_what_alone_a_model_knows_is_said(open_session: OpenSession, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = WritingEngine(f"[{CAT}]")
    facts = engine.describe() | {"knows": "drawn scenes only"}
    monkeypatch.setattr(engine, "describe", lambda: facts)
    assert "knows drawn scenes only" in list(open_session(engine).model_states())[-1]


def test_questions_at_the_same_time_do_not_meet_in_the_model(open_session: OpenSession, picture: Path) -> None:
    engine = WritingEngine(f"[{CAT}, ", f"{DOG}]")
    session = open_session(engine)
    prompts = [f"animal {number}" for number in range(6)]
    with ThreadPoolExecutor(len(prompts)) as pool:
        shown = list(pool.map(lambda prompt: last(session, question(picture, prompt)), prompts))
    assert engine.most_users == 1
    assert sorted(request.prompt.text for request in engine.requests) == prompts
    assert all(f"Locate {prompt} " in answer.facts for prompt, answer in zip(prompts, shown, strict=True))


def begun(session: Session, picture: Path) -> Iterator[Shown]:
    """Ask, and come back once the first object is there."""
    answers = session.ask(question(picture), "me")
    while "cat" not in next(answers).objects:
        pass
    return answers


def test_stop_ends_the_answers_of_its_owner_only(open_session: OpenSession, picture: Path) -> None:
    engine = WritingEngine(f"[{CAT}, ", f"{DOG}]")
    engine.may_write.clear()
    session = open_session(engine)
    mine = begun(session, picture)
    session.stop("somebody else")
    session.stop("me")
    engine.may_write.set()
    shown = list(mine)[-1]
    assert "stopped early" in shown.notice
    assert "cat" in shown.objects
    assert "dog" not in shown.objects
    assert "dog" in last(session, question(picture)).objects


def test_a_browser_that_goes_away_frees_the_model(open_session: OpenSession, picture: Path) -> None:
    engine = WritingEngine(*[f"[{CAT}, "] * 1000)
    engine.may_write.clear()
    session = open_session(engine)
    begun(session, picture).close()  # type: ignore[attr-defined]
    engine.may_write.set()
    engine.pieces = (f"[{DOG}]",)
    assert "dog" in last(session, question(picture)).objects


def test_close_ends_what_is_running(open_session: OpenSession, picture: Path) -> None:
    engine = WritingEngine(f"[{CAT}, ", f"{DOG}]")
    engine.may_write.clear()
    session = open_session(engine)
    answers = begun(session, picture)
    assert session.close(TIMEOUT_S)
    engine.may_write.set()
    assert "stopped early" in list(answers)[-1].notice
