"""Prompts in a flood, and prompts that are far too long; docs/troubleshooting.md lists all faults."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
import rclpy
from hypothesis import given
from hypothesis import strategies as st
from rclpy.qos import QoSProfile
from robot import KEPT, RELIABLE, VOLATILE, flood
from std_msgs.msg import String

from benchmarks.domains import claimed_domain
from vlm_perception.ros.inputs.prompt_subscription import PromptSubscription

HUGE = 10**7
PACED, ENDS_WITH = 2000, 4000


@pytest.fixture(scope="module")
def quiet_node() -> Iterator[Any]:
    """A node that nobody spins."""
    context = rclpy.Context()
    with claimed_domain() as number:
        rclpy.init(context=context, domain_id=number)
        node = rclpy.create_node("quiet", context=context, start_parameter_services=False)
        yield node
        node.destroy_node()
        context.shutdown()


@pytest.mark.parametrize("durability", [VOLATILE, KEPT])
def test_a_thousand_prompts_a_second_and_the_last_one_wins(talk, scripted, durability):
    t = talk(scripted, prompt_qos=QoSProfile(depth=10, reliability=RELIABLE, durability=durability))
    t.ask("before")
    t.show_until(t.answers)
    scripted.thinking.set()
    told = len(t.logs.messages)

    def send(number: int) -> None:
        t.prompt_publisher.publish(String(data=f"cup number {number}"))
        if number % 50 == 0:
            t.show(1000 + number)

    # A thousand a second for two seconds, and then as fast as they can be sent, which no executor keeps up with.
    flood(1000.0, PACED, send)
    flood(1e9, ENDS_WITH - PACED, lambda number: send(PACED + number))
    last = f"cup number {ENDS_WITH}"
    t.active.wait_for(lambda m: m.data == last)
    scripted.thinking.clear()
    # Whoever had waited in a queue would come after it now.
    t.ask("  ")
    t.ask("after")
    lives = t.lives(900, "prompts received")
    assert lives["prompt"] == "after"
    echoed = [m.data for m in t.active.messages]
    numbers = [int(text.rpartition(" ")[2]) for text in echoed if text.startswith("cup number")]
    assert numbers[-1] == ENDS_WITH
    if durability == VOLATILE:
        assert numbers == sorted(set(numbers))
    assert echoed[echoed.index(last) + 1 :].count(last) <= 1, "nothing but a copy follows the last one"
    assert echoed[-2:] == ["", "after"]
    assert int(lives["diagnostics"]["prompts received"]) <= (ENDS_WITH + 3) * (2 if durability == KEPT else 1)
    lines = [m.msg for m in t.logs.messages[told:] if m.msg.startswith("looking for 'cup")]
    # Two a second, and a slow machine takes longer.
    assert len(lines) < ENDS_WITH / 20
    t.logs.wait_for(lambda m: m.msg == "looking for 'after' (detect)")
    t.logs.wait_for(lambda m: "prompts were replaced by the next one" in m.msg)
    assert t.told()[-1]["prompt"] == "after"


@pytest.mark.parametrize(
    "text", ["x" * HUGE, "[" * HUGE, json.dumps(["cup"] * (HUGE // 7)), "杯" * (HUGE // 3)], ids=lambda text: text[:4]
)
def test_a_prompt_of_10_mb_is_refused_and_the_old_one_stays(talk, scripted, text):
    t = talk(scripted)
    t.ask("red cup")
    for count in ("1", "2", "3"):
        t.prompt_publisher.publish(String(data=text))
        t.later(lambda values, n=count: values.get("errors: prompt") == n)
    (said,) = [m.msg for m in t.logs.messages if "characters" in m.msg]
    for part in (f"prompt has {len(text)} characters", "the limit is 2000", "send a shorter one", "'red cup'"):
        assert part in said
    assert len(said) < 1000
    lives = t.lives(900, "errors: prompt")
    assert lives["prompt"] == lives["diagnostics"]["prompt"] == "red cup"
    assert {m.data for m in t.active.messages} <= {"", "red cup"}


@given(st.data())
def test_whatever_two_subscriptions_lose_the_last_prompt_wins(quiet_node, data):
    """Each keeps the last few when prompts come too fast; the executor takes from both in any order."""
    sent = [f"cup {number}" for number in range(data.draw(st.integers(1, 30)))]
    lost = [
        data.draw(st.sets(st.integers(0, len(sent) - 1)), label=name) - {len(sent) - 1} for name in ("live", "kept")
    ]
    waiting = [[place for place in range(len(sent)) if place not in gone] for gone in lost]
    said: list[str] = []
    inbox = PromptSubscription(quiet_node, "~/prompt", said.append)
    hear = (inbox._on_live, inbox._on_kept)
    while any(waiting):
        side = data.draw(st.sampled_from([side for side in (0, 1) if waiting[side]]))
        place = waiting[side].pop(0)
        hear[side](String(data=sent[place]), {"source_timestamp": 1000 + place})
    assert said[-1] == sent[-1]
    if not any(lost):
        assert said == sent, "each once, in order"


def test_prompts_that_were_handled_are_not_kept(quiet_node):
    """Of those that are remembered to tell copies apart, 64 could take 640 MB."""
    inbox = PromptSubscription(quiet_node, "~/prompt", len)
    text = "x" * HUGE
    tracemalloc.start()
    for number in range(1, 20):
        inbox._on_live(String(data=text + str(number)), {"source_timestamp": number})
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held_bytes < HUGE
