"""Which frame and which prompt is next, with a clock that is moved by hand."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from scheduler_bench import SchedulerBench as Bench

from vlm_perception.engines.base import EngineState
from vlm_perception.scheduling.turns import OnceRequest

TWO, THREE = '["cup", "mug"]', '["cup", "mug", "jug"]'


def test_newest_keeps_one_frame_a_camera() -> None:
    b = Bench("ab")
    for number in (1, 2, 3):
        b.put("a", number)
    b.put("b", 4)
    assert sorted(b.picked() + b.picked()) == [("a", 3, ""), ("b", 4, "")]
    assert b.picked() == []
    assert b.drops == [("a", "replaced")] * 2


def test_every_keeps_all_in_order_and_drops_the_oldest_when_full() -> None:
    b = Bench(frame_policy="every", queue_length=3, max_age_s=1.0)
    for number in range(1, 6):
        b.put("a", number)
    b.now_s += 60.0
    assert [b.picked() for _ in range(4)] == [[("a", 3, "")], [("a", 4, "")], [("a", 5, "")], []]
    b.news()
    assert b.drops == [("a", "queue_full")] * 2


def test_every_puts_all_prompts_to_a_frame_before_the_next() -> None:
    b = Bench(prompts=TWO, frame_policy="every")
    b.put("a", 1)
    b.put("a", 2)
    asked = [b.picked()[0][1:] for _ in range(4)]
    assert [number for number, _ in asked] == [1, 1, 2, 2]
    assert set(asked) == {(1, "1"), (1, "2"), (2, "1"), (2, "2")}


def test_the_rate_gate_delays_every_and_drops_nothing() -> None:
    b = Bench(frame_policy="every", max_rate_hz=1.0)
    for number in (1, 2):
        b.put("a", number)
    assert b.picked() == [("a", 1, "")]
    assert b.picked() == []
    assert b.turns.wait_s() == pytest.approx(0.98)
    b.now_s += 1.0
    assert b.picked() == [("a", 2, "")]
    assert (b.drops, b.turns.wait_s()) == ([], None)


def test_on_demand_keeps_the_newest_and_answers_only_who_asks() -> None:
    b = Bench(frame_policy="on_demand")
    for number in (1, 2):
        b.put("a", number)
    assert (b.picked(), b.turns.wait_s()) == ([], None)
    b.turns.ask_once(OnceRequest(None))
    assert b.picked() == [("a", 2, "")]
    b.turns.ask_once(OnceRequest(None))
    assert b.picked() == [], "no frame twice"
    b.put("a", 3)
    assert b.picked() == [("a", 3, "")]
    assert b.drops == [("a", "not_asked")]


def test_one_answer_on_demand_is_about_the_newest_frame_of_all_or_of_the_camera_named() -> None:
    b = Bench("abc", frame_policy="on_demand")
    for number, camera in enumerate("abc"):
        b.put(camera, number)
        b.now_s += 0.1
    b.turns.ask_once(OnceRequest("a"))
    b.turns.ask_once(OnceRequest(None))
    assert b.picked() == [("c", 2, "")]
    assert b.picked() == [("a", 0, "")]
    assert b.picked() == []


def test_one_answer_does_not_wait_for_the_gate_but_takes_no_stale_frame() -> None:
    b = Bench(max_rate_hz=0.01)
    b.put("a", 1)
    assert b.picked() == [("a", 1, "")]
    b.put("a", 2)
    assert b.picked() == []
    b.turns.ask_once(OnceRequest(None))
    assert b.picked() == [("a", 2, "")]
    b.put("a", 3)
    b.now_s += 2.1
    b.turns.ask_once(OnceRequest(None))
    assert b.picked() == []
    assert b.drops == [("a", "stale")]


def test_prompts_take_turns_on_the_newest_frame() -> None:
    """With a fast camera each prompt sees a frame of its own: none is asked about an old one."""
    b = Bench(prompts=THREE)
    asked = []
    for number in range(6):
        b.put("a", number)
        asked += b.picked()
    assert [number for _, number, _ in asked] == list(range(6))
    assert [prompt for *_, prompt in asked] == ["1", "2", "3", "1", "2", "3"]
    assert b.drops == [], "a frame that was asked about is not counted as dropped"


def test_a_frame_is_asked_the_rest_while_no_newer_one_waits_each_prompt_once() -> None:
    b = Bench(prompts=THREE)
    b.put("a", 1)
    assert [b.picked() for _ in range(4)] == [[("a", 1, "1")], [("a", 1, "2")], [("a", 1, "3")], []]


def test_a_frame_is_asked_the_rest_while_the_gate_keeps_newer_ones_back() -> None:
    b = Bench(prompts=TWO, max_rate_hz=1.0)
    b.put("a", 1)
    assert b.picked() == [("a", 1, "1")]
    b.put("a", 2)
    assert b.picked() == [("a", 1, "2")]
    assert b.picked() == []
    b.now_s += 1.0
    assert b.picked() == [("a", 2, "1")]


def test_a_frame_over_the_age_limit_is_not_asked_the_rest_and_who_was_left_out_comes_first() -> None:
    b = Bench(prompts=TWO)
    for number in (1, 2):
        b.put("a", number)
        assert b.picked() == [("a", number, str(number))]
        b.now_s += 2.1
        assert b.picked() == []


def test_cameras_and_prompts_share_turns_evenly() -> None:
    b = Bench("abc", prompts=TWO)
    served: Counter[tuple[str, str]] = Counter()
    for number in range(60):
        for camera in "abc":
            b.put(camera, number)
        served.update((camera, prompt) for camera, _, prompt in b.picked())
    assert set(served.values()) == {10}


def test_one_pass_takes_all_cameras_and_all_prompts_up_to_its_limit() -> None:
    b = Bench("ab", prompts=TWO)
    b.put("a", 1)
    b.put("b", 2)
    assert sorted(b.picked(3)) != sorted(b.picked(3))
    b.put("a", 3)
    b.put("b", 4)
    assert sorted(b.picked(8)) == [("a", 3, "1"), ("a", 3, "2"), ("b", 4, "1"), ("b", 4, "2")]


def test_frames_that_pass_the_gate_together_close_it_for_each() -> None:
    b = Bench("ab", max_rate_hz=1.0)
    for number in (1, 2):
        for camera in "ab":
            b.put(camera, number)
        if number == 1:
            assert len(b.picked(8)) == 2
    assert b.turns.wait_s() == pytest.approx(1.99)


def test_a_turn_is_over_only_if_its_own_prompt_camera_or_policy_goes() -> None:
    b = Bench("ab", prompts=TWO)
    b.put("a", 1)
    b.put("b", 2)
    turns = b.pick(4)
    assert not b.ask(TWO)
    assert not any(t.over for t in turns)
    assert b.ask('["cup", "jug"]')
    assert {(t.camera, t.prompt.text): t.over and t.over.value for t in turns} == {
        ("a", "cup"): None,
        ("a", "mug"): "prompt_changed",
        ("b", "cup"): None,
        ("b", "mug"): "prompt_changed",
    }
    b.turns.set_cameras({"a": 1.0})
    assert [t.over.value for t in turns if t.camera == "b" and t.prompt.text == "cup" and t.over] == ["camera_gone"]
    b.turns.apply(b.settings(frame_policy="on_demand"))
    assert all(t.over for t in turns)


def test_a_prompt_that_comes_back_does_not_revive_its_old_answer() -> None:
    b = Bench(prompts="cup")
    b.put("a", 1)
    (turn,) = b.pick()
    b.ask("mug")
    b.ask("cup")
    assert turn.over is not None


def test_who_waits_for_one_answer_gets_the_next_when_the_prompt_changes() -> None:
    b = Bench(frame_policy="on_demand")
    once = OnceRequest(None)
    b.turns.ask_once(once)
    b.put("a", 1)
    (turn,) = b.pick()
    b.ask("mug")
    b.turns.done([turn])
    b.put("a", 2)
    (turn,) = b.pick()
    assert (turn.prompt.text, turn.once) == ("mug", (once,))


def test_a_request_that_is_withdrawn_is_forgotten() -> None:
    b = Bench(frame_policy="on_demand")
    once = OnceRequest(None)
    b.turns.ask_once(once)
    once.future.cancel()
    b.news()
    b.put("a", 1)
    assert b.picked() == []


def test_frames_meanwhile_are_counted_under_what_kept_them() -> None:
    b = Bench("ab")
    b.put("a", 1)
    b.turns.pause()
    b.put("a", 2)
    b.turns.resume()
    b.put("b", 3)
    b.turns.set_cameras({"a": 1.0})
    b.put("b", 4)
    b.put("a", 5)
    b.ask("")
    b.put("a", 6)
    assert b.picked() == []
    b.turns.engine_state = EngineState.LOADING
    b.put("a", 7)
    b.turns.pause()
    b.turns.deactivate()
    b.turns.activate()
    b.put("a", 8)  # a pause goes on beside it
    b.turns.deactivate()
    b.put("a", 9)
    b.turns.stop()
    b.put("a", 10)
    b.news()
    assert b.drops == [
        ("a", "paused"),
        ("a", "paused"),
        ("b", "camera_gone"),
        ("b", "camera_gone"),
        ("a", "no_prompt"),
        ("a", "not_ready"),
        ("a", "paused"),
        ("a", "paused"),
        ("a", "inactive"),
        ("a", "stopped"),
    ]


def test_another_policy_trims_what_waits() -> None:
    b = Bench(frame_policy="every")
    for number in (1, 2, 3):
        b.put("a", number)
    b.turns.apply(b.settings(frame_policy="newest"))
    assert b.picked() == [("a", 3, "")]
    assert b.drops == [("a", "replaced")] * 2


def test_cameras_that_stay_keep_their_frames_and_their_place() -> None:
    b = Bench("ab")
    b.put("a", 1)
    b.turns.set_cameras({"a": 1.0, "c": 1.0})
    assert b.picked() == [("a", 1, "")]


def test_a_new_prompt_opens_the_gate_and_one_that_goes_does_not() -> None:
    b = Bench(prompts=TWO, max_rate_hz=0.01)
    b.put("a", 1)
    b.picked()
    b.put("a", 2)
    b.ask('[{"id": "2", "prompt": "mug"}]')
    assert b.picked() == [("a", 1, "2")]
    assert b.picked() == []
    b.ask("jug")
    assert b.picked() == [("a", 2, "")]


def test_what_was_chosen_before_a_wish_does_not_serve_it() -> None:
    """As `~/detect_once` after an answer has been heard, while the turn that gave it is not through yet."""
    b = Bench()
    assert b.turns.last_asked_s("a") == 0.0
    b.put("a", 1)
    turns, picked_s = b.pick(), b.now_s
    b.now_s += 1.0
    wished_s = b.now_s
    assert b.turns.last_asked_s("a") == math.inf
    b.now_s += 1.0
    b.turns.done(turns)
    assert b.turns.last_asked_s("a") == picked_s < wished_s
