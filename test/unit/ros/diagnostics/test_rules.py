"""Every rule of /diagnostics: it applies when it should, and stops when that has passed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from checkout import ROOT

from vlm_perception.engines.base import EngineState
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.ros.counters import Counters
from vlm_perception.ros.diagnostics.rules import RULES, StatusLevel, assess
from vlm_perception.ros.diagnostics.snapshot import MemoryReport, NodeSnapshot
from vlm_perception.ros.lifecycle.states import State
from vlm_perception.types import PixelBudget
from vlm_perception.worker.memory_backoff import PixelLimit

PAGE = ROOT / "docs" / "troubleshooting.md"


class Patient:
    """A node that is well, with counters that time can be moved on for."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.counters = Counters(lambda: self.now_s)
        self.snapshot = NodeSnapshot(
            lifecycle=State.ACTIVE,
            problem="",
            engine_state=EngineState.READY,
            engine={"name": "x"},
            prompts=(build_prompt("cup"),),
            silent_s={"/image": 0.1},
            total=self.counters.report(),
            cameras={},
            policy="newest",
            paused=False,
            max_age_s=2.0,
            no_image_warning_s=5.0,
            budget=PixelBudget(3136, 10**6),
        )

    def look(self, **changes: object) -> tuple[StatusLevel, str]:
        found = assess(replace(self.snapshot, total=self.counters.report(), **changes))
        return found.level, found.message

    def drop(self, **causes: int) -> None:
        for cause, count in causes.items():
            for _ in range(count):
                self.counters.count_drop(cause)

    def remark(self, *kinds: str) -> dict[str, object]:
        self.counters.count_answer(0.1, 0.1, n_objects=1)
        for kind in kinds:
            self.counters.count_remark(kind)
        return {}

    def fail(self, **kinds: int) -> None:
        for kind, count in kinds.items():
            self.counters.count_error(kind, count)


# Rule, what brings it on, part of what is said.
CASES: list[tuple[str, Callable[[Patient], dict[str, object]], str]] = [
    ("transition failed", lambda p: {"problem": "configure failed: no such folder"}, "no such folder"),
    ("model hangs", lambda p: {"hang": "the model has not come back for 99 s"}, "99 s"),
    ("model fails", lambda p: p.drop(inference_error=2, internal_error=1) or {}, "none of the last 3 requests"),
    ("images unreadable", lambda p: p.drop(truncated=3) or {}, "truncated 3 in the last 10 s"),
    (
        "loading",
        lambda p: {"lifecycle": State.CONFIGURING, "engine": {"loading": "weights: 3 of 9"}},
        "weights: 3 of 9",
    ),
    ("impaired", lambda p: {"engine": {"impaired": "of the servers 1 of 2 can be asked"}}, "1 of 2"),
    ("same name", lambda p: {"namesakes": "another node is named /eyes, too"}, "named /eyes"),
    ("camera QoS", lambda p: {"qos_mismatches": {"/image": "/cam offers less"}}, "/cam offers less"),
    ("no image", lambda p: {"silent_s": {"/front": 0.1, "/rear": 5.1}}, "no image on /rear"),
    ("stale frames", lambda p: p.drop(stale=3) or {}, "3 were dropped after max_age_s 2"),
    (
        "out of memory",
        lambda p: {"lowered": PixelLimit(1000, 4000), "budget": PixelBudget(900, 1000)},
        "looking at 1000 px instead of 4000",
    ),
    ("QoS", lambda p: {"qos_mismatches": {"/vlm_perception/detections": "/log wants more"}}, "/log wants more"),
    ("memory", lambda p: {"memory": MemoryReport(3, "places.db: the disk is full")}, "the disk is full"),
    ("rejects", lambda p: p.counters.count_answer(0.1, 0.1, 5, 0, 5) or {}, "5 of 10 pieces"),
    ("coordinates", lambda p: p.remark("other_frame", "width_height"), "another frame? In 1 of 1 answers"),
    ("failures", lambda p: p.fail(prompt=2) or {}, "2 failures in the last 10 s: prompt 2"),
]


def test_a_node_that_is_well_says_what_it_does() -> None:
    patient = Patient()
    assert patient.look() == (StatusLevel.OK, "detecting")
    assert patient.look(prompts=()) == (StatusLevel.OK, "waiting for a prompt")
    assert patient.look(paused=True) == (StatusLevel.OK, "paused by ~/enable")
    for state in (State.UNCONFIGURED, State.INACTIVE, State.FINALIZED):
        assert patient.look(lifecycle=state, silent_s={}) == (StatusLevel.OK, f"the node is {state.label}")


def test_every_rule_has_a_case() -> None:
    assert [name for name, _, _ in CASES] == [rule.name for rule in RULES]


@pytest.mark.parametrize(("name", "bring_on", "said"), CASES, ids=[name for name, _, _ in CASES])
def test_a_rule_applies_alone_with_its_level_and_passes(name: str, bring_on, said: str) -> None:
    patient = Patient()
    rule = next(rule for rule in RULES if rule.name == name)
    changes = bring_on(patient)
    assert rule.check(replace(patient.snapshot, total=patient.counters.report(), **changes))
    level, message = patient.look(**changes)
    assert (level, said in message) == (rule.level, True), message
    patient.now_s += 10.1
    assert patient.look() == (StatusLevel.OK, "detecting"), "what has passed is not shown for ever"


@pytest.mark.parametrize(
    "bring_on",
    [
        lambda p: p.drop(inference_error=2),
        lambda p: p.drop(stale=2),
        lambda p: p.drop(truncated=2),
        lambda p: p.drop(replaced=500, no_prompt=50, inactive=9, paused=9, camera_gone=1, not_ready=3),
        lambda p: p.counters.count_answer(0.1, 0.1, 4, 0, 5),
        lambda p: p.counters.count_answer(0.1, 0.1, 9, 9, 1),
    ],
)
def test_few_failures_are_a_warning_at_most_and_normal_drops_nothing(bring_on) -> None:
    patient = Patient()
    bring_on(patient)
    level, message = patient.look()
    assert (level, message.partition(" in the last")[0]) in [
        (StatusLevel.OK, "detecting"),
        (StatusLevel.WARN, "2 failures"),
    ]


def test_answers_between_failures_make_them_a_warning() -> None:
    patient = Patient()
    patient.drop(inference_error=9, truncated=9, stale=3)
    for _ in range(4):
        patient.counters.count_answer(0.1, 0.1, 0, 0, 1)
    assert patient.look() == (StatusLevel.WARN, "21 failures in the last 10 s: inference_error 9, stale 3, truncated 9")


def test_the_worst_is_the_message_and_the_others_are_not_lost() -> None:
    patient = Patient()
    patient.drop(inference_error=3)
    found = assess(replace(patient.snapshot, total=patient.counters.report(), silent_s={"/image": 9.0}))
    assert (found.level, found.message.startswith("the model fails")) == (StatusLevel.ERROR, True)
    assert [text.partition(":")[0] for text in found.symptoms] == ["model fails", "no image", "failures"]


def test_rules_stand_worst_first() -> None:
    levels = [rule.level for rule in RULES]
    assert levels == sorted(levels, reverse=True)


def test_the_page_has_every_rule_with_its_level_and_condition() -> None:
    rows = re.findall(r"^\| (.+?) \| (ERROR|WARN) \| (.+?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(rule.name, rule.level.name, rule.when) for rule in RULES]
