"""No camera starves: a clock that is moved while the model would answer, and any rates and weights.

Also where several answers of a camera are on their way at once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worker_bench import pending_frame

from vlm_perception.engines.base import EngineState
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scheduling.scheduler import Scheduler
from vlm_perception.scheduling.turns import Turn
from vlm_perception.settings import Settings

STEP_S = 0.01


@dataclass(frozen=True)
class Camera:
    """Sends a frame every `period_s`, between `from_s` and `until_s`; to answer one takes `cost_s`."""

    period_s: float
    cost_s: float = 0.1
    weight: float = 1.0
    from_s: float = 0.0
    until_s: float = 1e9


class Simulation:
    """Time passes in steps; in each the cameras send, and ages are taken."""

    def __init__(self, cameras: Sequence[Camera], end_s: float, room: int | None = None) -> None:
        self.cameras = {f"/{number}": camera for number, camera in enumerate(cameras)}
        self.now_s = 0.0
        self.answered_s = {name: camera.from_s for name, camera in self.cameras.items()}
        self.ages_s: dict[str, list[float]] = {name: [] for name in self.cameras}
        self.served: Counter[str] = Counter()
        self.frames: Counter[tuple[str, float]] = Counter()
        limits = Settings.from_mapping({"max_rate_hz": 1000.0, "max_age_s": 3600.0})
        self.scheduler = Scheduler(limits, lambda: self.now_s)
        self.scheduler.engine_state = EngineState.READY
        self.scheduler.set_cameras({name: camera.weight for name, camera in self.cameras.items()})
        self.scheduler.set_prompts((build_prompt("cup"),))
        self.scheduler.room = math.inf if room is None else room
        self.n_asked = 0
        self.asked: list[tuple[float, Turn]] = []
        self._step()
        while self.now_s < end_s:
            while (room or not self.asked) and (turns := self.scheduler.pick(1)):
                self.scheduler.mark_passed(turns)
                self.asked += [(self.now_s + self._cost_s(turn.camera), turn) for turn in turns]
            self._step()
            for answer in [each for each in self.asked if each[0] <= self.now_s]:
                self.asked.remove(answer)
                self._answer(answer[1])

    def worst_to_mean_age(self) -> float:
        means_s = [sum(ages_s) / len(ages_s) for ages_s in self.ages_s.values()]
        return max(means_s) * len(means_s) / sum(means_s)

    def _cost_s(self, camera: str) -> float:
        """Never twice the same, so that answers do not end together: there is one frame for the next then."""
        self.n_asked += 1
        return self.cameras[camera].cost_s * (0.75 + self.n_asked * 0.618 % 0.5)

    def _answer(self, turn: Turn) -> None:
        self.scheduler.done([turn])
        self.served[turn.camera] += 1
        self.answered_s[turn.camera] = turn.pending.received_s
        self.frames[turn.camera, turn.pending.received_s] += 1

    def _step(self) -> None:
        before_s, self.now_s = self.now_s, self.now_s + STEP_S
        for name, camera in self.cameras.items():
            if camera.from_s <= self.now_s < camera.until_s:
                if int(self.now_s / camera.period_s) > int(before_s / camera.period_s) or before_s == 0.0:
                    self.scheduler.put(pending_frame(name, 0, self.now_s))
                self.ages_s[name].append(self.now_s - self.answered_s[name])


@settings(max_examples=30)
@given(
    # Frames come faster than the model answers, at rates of their own.
    cameras=st.lists(st.builds(Camera, st.floats(0.02, 0.1), st.floats(0.1, 0.2)), min_size=2, max_size=8),
)
def test_at_equal_weights_the_worst_age_is_at_most_twice_the_mean(cameras: list[Camera]) -> None:
    s = Simulation(cameras, end_s=40.0)
    assert s.worst_to_mean_age() <= 2.0
    assert max(s.served.values()) - min(s.served.values()) <= 1
    assert max(s.frames.values()) == 1, "never twice"


@pytest.mark.parametrize("room", [None, 1, 2, 3])
def test_weights_are_shares_of_answers(room: int | None) -> None:
    cost_s = 0.1 * (room or 1)
    s = Simulation([Camera(0.01, cost_s, weight) for weight in (0.5, 1.0, 2.5)], end_s=40.0, room=room)
    answers = sum(s.served.values())
    assert [s.served[name] / answers for name in s.cameras] == pytest.approx([1 / 8, 1 / 4, 5 / 8], abs=0.01)


def test_a_slow_camera_gets_every_frame_answered_and_costs_the_others_no_more() -> None:
    s = Simulation([Camera(1.0), Camera(0.03), Camera(0.03)], end_s=30.0)
    assert s.served["/0"] >= 29
    assert abs(s.served["/1"] - s.served["/2"]) <= 1


def test_cameras_that_die_and_come_live_harm_nobody() -> None:
    s = Simulation([Camera(0.03, until_s=20.0), Camera(0.03), Camera(0.03, from_s=20.0)], end_s=40.0)
    assert s.served["/1"] == pytest.approx(sum(s.served.values()) / 2, abs=2)
    assert s.worst_to_mean_age() <= 2.0


def test_with_several_on_their_way_a_camera_with_slow_answers_holds_up_nobody() -> None:
    s = Simulation([Camera(0.03, cost_s=1.0), Camera(0.03), Camera(0.03)], end_s=30.0, room=2)
    assert s.served["/0"] == pytest.approx(2 * 30, abs=4)
    assert s.served["/1"] == pytest.approx(s.served["/2"], rel=0.02)
    assert s.served["/1"] > 8 * s.served["/0"]
