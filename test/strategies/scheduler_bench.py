"""A scheduler, frames for it, and what it reports, with a clock that is moved by hand."""

from __future__ import annotations

from worker_bench import pending_frame

from vlm_perception.engines.base import EngineState
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.prompts.standing import parse_prompts
from vlm_perception.scheduling.scheduler import Scheduler
from vlm_perception.scheduling.turns import Turn
from vlm_perception.settings import Settings


class SchedulerBench:
    """Cameras `a`, `b` ... of which each frame has a number."""

    def __init__(self, cameras: str = "a", prompts: str = "cup", **settings: object) -> None:
        self.now_s = 100.0
        self.turns = Scheduler(self.settings(**settings), lambda: self.now_s)
        self.turns.engine_state = EngineState.READY
        self.turns.set_cameras(dict.fromkeys(cameras, 1.0))
        self.ask(prompts)
        self.drops: list[tuple[str, str]] = []

    def settings(self, **changed: object) -> Settings:
        return Settings.from_mapping({"max_rate_hz": 1000.0, "max_age_s": 2.0, **changed})

    def ask(self, text: str) -> bool:
        return self.turns.set_prompts(parse_prompts(text, build_prompt))

    def put(self, camera: str, number: int) -> None:
        self.turns.put(pending_frame(camera, number, self.now_s))

    def pick(self, limit: int = 1) -> list[Turn]:
        picked = self.turns.pick(limit)
        self.turns.mark_passed(picked)
        self.news()
        return picked

    def picked(self, limit: int = 1) -> list[tuple[str, int, str]]:
        turns = self.pick(limit)
        self.turns.done(turns)
        self.now_s += 0.01
        return [(turn.camera, turn.pending.read().header.stamp_sec, turn.prompt.id) for turn in turns]

    def news(self) -> None:
        self.drops += [(camera, cause.value) for camera, cause in self.turns.take_news().drops]
