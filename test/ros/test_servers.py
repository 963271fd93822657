"""The node with its model on servers, over real DDS and real HTTP."""

from __future__ import annotations

import threading

import pytest
from scripted_engine import PATIENCE_S
from scripted_server import Body, Reply, ScriptedServer, boxes_text, image_of, serving, usage

from vlm_perception.engines.factory import make_engine
from vlm_perception.settings import Settings

FAST = {"max_rate_hz": 1000.0, "max_age_s": 60.0, "tracking": "off"}


def boxed(body: Body) -> Reply:
    """One box: the left upper quarter."""
    width, height = image_of(body).size
    return Reply([boxes_text([[0, 0, width // 2, height // 2]], "cup")], usage=usage(body, 28))


def on_servers(robot, talk, *urls: str, **parameters: object):
    """The node with the engine that its parameters ask for, as `ros2 run` starts it."""
    robot.node(None, model=urls[0], **({"servers": list(urls[1:])} if urls[1:] else {}), **FAST, **parameters)
    return talk()


def test_the_node_answers_from_a_server_and_says_what_it_found_out(robot, talk):
    with serving(boxed) as server:
        t = on_servers(robot, talk, server.url)
        t.ask("cup")
        answer = t.lives(7)
        assert [found["label"] for found in answer["objects"]] == ["cup"]
        assert answer["objects"][0]["bbox_xyxy"] == [0.0, 0.0, 21.0, 14.0]
        values = answer["diagnostics"]
        assert values["engine family"] == "Qwen2.5-VL"
        assert "3 of 3" in values["engine probe"]
        assert "1 of 1 can be asked" in values["engine servers"]


def test_two_frames_are_asked_about_at_once_and_each_answer_has_its_own_header(robot, talk):
    both, held = threading.Barrier(2), threading.Event()

    def script(body: Body) -> Reply:
        return Reply([lambda: both.wait(PATIENCE_S), lambda: held.wait(PATIENCE_S), *boxed(body).texts])

    with serving(script) as server:
        t = on_servers(robot, talk, server.url, frame_policy="every")
        t.ask("cup")
        t.show(1)
        t.show(2)
        robot.until(lambda: len(server.asked) == 2, "both frames are asked about")
        held.set()
        assert [t.answer_to(number)["stamp"]["sec"] for number in (1, 2)] == [1, 2]
        # A camera's answers come in the order of its frames.
        assert [told["stamp"]["sec"] for told in t.told()] == [1, 2]


def test_a_server_that_dies_costs_no_answer_while_another_lives(robot, talk):
    first = ScriptedServer(boxed)
    with serving(boxed) as second:
        t = on_servers(robot, talk, first.url, second.url)
        t.ask("cup")
        t.lives(1)
        first.close()
        for number in range(2, 6):
            t.lives(number)
        values = t.later(lambda values: "1 of 2 can be asked" in values["engine servers"])
        assert first.url in values["engine servers"]
        assert "impaired: of the servers 1 of 2 can be asked" in values["symptoms"]
        assert "errors: inference_error" not in values
        stamps = [told["stamp"]["sec"] for told in t.told()]
        assert len(stamps) == len(set(stamps))


def test_the_node_outlives_all_its_servers_and_goes_on_when_one_is_back(robot, talk):
    gone = ScriptedServer(boxed)
    t = on_servers(robot, talk, gone.url, max_failures=1)
    t.ask("cup")
    t.lives(1)
    gone.close()
    t.later(lambda values: values.get("dropped: inference_error", "0") != "0", lambda: t.show(2))
    values = t.later(lambda values: "0 of 1 can be asked" in values["engine servers"])
    assert (values["lifecycle state"], values["engine state"]) == ("active", "ready")
    with serving(boxed, port=gone.port):
        t.lives(9)


def test_a_new_prompt_ends_what_servers_are_writing(robot, talk):
    held = threading.Event()

    def script(body: Body) -> Reply:
        waits = [] if held.is_set() else [held.wait]
        return Reply(["[", *waits, *(" " * 100_000), "]"] if waits else boxed(body).texts)

    with serving(script) as server:
        t = on_servers(robot, talk, server.url)
        t.ask("cup")
        t.show_until(t.diagnostics, lambda _: len(server.asked) >= 1)
        t.ask("bottle")
        held.set()
        assert server.closed.wait(PATIENCE_S)
        assert t.lives(70)["prompt"] == "bottle"
        assert {told["prompt"] for told in t.told()} == {"bottle"}


def test_a_server_whose_boxes_would_be_wrong_leaves_the_node_unconfigured(robot, talk):
    with serving(
        boxed,
        about_card=lambda _: Reply(
            [boxes_text([[1, 2, 3, 4]])], usage={"prompt_tokens_details": {"multimodal_tokens": 5}}
        ),
    ) as server:
        robot.node(None, reaches=None, model=server.url, **FAST)
        t = talk()
        said = t.logs.wait_for(lambda m: "image tokens" in m.msg).msg
        assert server.url in said
        t.later(lambda values: values["lifecycle state"] == "unconfigured")


@pytest.mark.parametrize(("model", "kind"), [("http://127.0.0.1:1/v1", True), ("tiny", False)])
def test_the_kind_of_engine_follows_the_model(model: str, kind: bool) -> None:
    settings = Settings(model=model)
    assert hasattr(make_engine(lambda: settings), "max_in_flight") is kind
