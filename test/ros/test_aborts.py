"""The running answer of the real model ends within one decoder pass, and nothing of it is published, over DDS."""

from __future__ import annotations

import itertools
import json
import threading
from typing import Any

import pytest
from checkout import TINY
from goals import CANCELED, Goals
from rclpy.parameter import Parameter
from robot import header
from scripted_engine import PATIENCE_S
from std_srvs.srv import SetBool
from torch.nn import Module
from torch.nn.modules.module import register_module_forward_pre_hook

from vlm_perception.engines.base import OnText, ShouldStop, ignore_text
from vlm_perception.engines.factory import open_engine
from vlm_perception.ros.image_messages import image_message
from vlm_perception.scenes import MovingScene
from vlm_perception.types import Answer, Request, Token


class HeldEngine:
    """The real model, held after a few pieces of its reply, with every pass of its decoder counted."""

    name = "held"

    def __init__(self) -> None:
        self._real = open_engine(TINY, device="cpu", dtype="float32")
        self.held, self.release, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.passes = self.passes_when_held = 0
        self.first: Answer | None = None

    def load(self) -> None:
        self._real.load()
        self._counter = register_module_forward_pre_hook(self._count)

    def _count(self, module: Module, _: Any) -> None:
        self.passes += type(module).__name__ == "Qwen2_5_VLTextModel"

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        pieces = itertools.count(1)

        def read(text: str, tokens: tuple[Token, ...]) -> None:
            on_text(text, tokens)
            if next(pieces) == 3 and self.first is None:
                self.passes_when_held = self.passes
                self.held.set()
                assert self.release.wait(PATIENCE_S)

        answer = self._real.answer(request, should_stop, read)
        if self.first is None:
            self.first, self.passes_after = answer, self.passes - self.passes_when_held
            self.ended.set()
        return answer

    def blank_answer(self, request: Request) -> Answer:
        return self._real.blank_answer(request)

    def describe(self) -> dict[str, str]:
        return self._real.describe()

    def close(self) -> None:
        self._counter.remove()
        self._real.close()


@pytest.mark.parametrize("how", ["prompt", "enable", "camera", "on_demand", "shutdown"])
def test_the_real_model_stops_within_one_pass_and_nothing_of_the_old_answer_comes(robot, talk, how):
    engine = HeldEngine()
    t = talk(engine, prompt="all objects", max_age_s=60.0, max_pixels=224 * 224)
    node = t.node
    scene = MovingScene(3, (224, 168), n_objects=3).at(0.0).rgb
    robot.until(lambda: bool(t.show(1, scene)) and engine.held.wait(0.5), "the model is writing")
    if how == "prompt":
        t.ask("red square")
    elif how == "enable":
        robot.call(SetBool, "enable", SetBool.Request(data=False))
    elif how == "shutdown":
        assert not node._worker.stop(0.0)
    else:
        change = {"camera": ("image_topics", ["/other"]), "on_demand": ("frame_policy", "on_demand")}[how]
        assert node.set_parameters([Parameter(change[0], value=change[1])])[0].successful
    engine.release.set()
    assert engine.ended.wait(PATIENCE_S)
    assert engine.first is not None
    assert engine.first.finish_reason == "aborted"
    assert engine.passes_after <= 1
    node._worker.stop(PATIENCE_S)
    with robot.changed:
        assert not [m for m in t.answers.messages if json.loads(m.data)["prompt"] == "all objects"]


def test_a_goal_that_is_cancelled_ends_within_one_pass_and_keeps_what_was_whole(robot, talk) -> None:
    engine = HeldEngine()
    talk(engine, max_pixels=224 * 224)
    client = Goals(robot)
    scene = MovingScene(3, (224, 168), n_objects=3).at(0.0).rgb
    asked = client.send("all objects", image=image_message(scene, header(1)))
    assert engine.held.wait(PATIENCE_S)
    asked.cancel()
    engine.release.set()
    status, result = asked.result()
    assert (status, result.problem, engine.passes_after <= 1) == (CANCELED, "it was cancelled", True)
    client.close()
