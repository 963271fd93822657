"""A process that loses its device: `python -m benchmarks.gpu.lost_device cuda FOLDER worker`.

The real engine answers a first frame; in its second answer an index out of bounds reaches the card,
as a real fault would: in a kernel that nobody waits for. Behind it is the real node, or, where there
is no ROS, the real worker, and this process then ends as the node would.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from benchmarks.gpu.failures import RESPAWN_EXIT_CODE
from benchmarks.videos import video
from vlm_perception.engines.base import EngineState, OnText, ShouldStop, ignore_text
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scheduling.frame_queue import PendingFrame
from vlm_perception.settings import Settings
from vlm_perception.types import Answer, Frame, Request
from vlm_perception.worker.listener import Deliver
from vlm_perception.worker.worker import Worker

_PATIENCE_S = 60.0


class BreakingEngine:
    """The real engine, whose device breaks in its second answer; see `Engine`.

    Args:
        own: The engine.
        device: Where it runs; on a CPU the fault is played.
    """

    def __init__(self, own: TransformersEngine, device: str) -> None:
        self._own, self._device = own, device
        self._answers = 0
        self.blank_answer, self.describe, self.close = own.blank_answer, own.describe, own.close

    @property
    def name(self) -> str:
        """See `Engine.name`."""
        return self._own.name

    def load(self) -> None:
        """See `Engine.load`."""
        self._own.load()
        register_module_forward_pre_hook(self._break)

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        """See `Engine.answer`."""
        self._answers += 1
        try:
            answer = self._own.answer(request, should_stop, on_text)
        except Exception as error:
            print(f"answer {self._answers}: {type(error).__name__}: {error}".replace("\n", " "), flush=True)
            raise
        print(f"answer {self._answers}: {answer.finish_reason}", flush=True)
        return answer

    def _break(self, module: torch.nn.Module, _: object) -> None:
        if self._answers < 2 or type(module).__name__ != "VisionTower":
            return
        if self._device != "cuda":
            raise RuntimeError("CUDA error: device-side assert triggered (played)")
        place = torch.tensor([2**20], device=self._device)
        torch.zeros(4, device=self._device)[place]


class Told:
    """What the worker reports; see `WorkerListener`."""

    def __init__(self) -> None:
        self.failed, self.turned = "", threading.Event()
        self.state = EngineState.WAITING

    def on_state(self, state: EngineState, detail: str) -> None:
        """Note it."""
        self.state, self.failed = state, detail
        print(f"{state.value} {detail}".replace("\n", " "), flush=True)
        self.turned.set()

    def on_result(self, result: Any, deliver: Deliver) -> None:
        """Deliver to nobody."""
        deliver(self.turned.set)

    def on_partial(self, result: Any, deliver: Deliver) -> None:
        """Wait for the whole one."""

    def on_drop(self, camera: str, cause: str, error: Exception | None) -> None:
        """Tell."""
        print(f"dropped: {cause}", flush=True)

    def on_asked(self, frame: Frame) -> None:
        """Tell nothing."""

    def on_out_of_memory(self, text: str) -> None:
        """Tell."""
        print(text, flush=True)

    def on_more_pixels(self, text: str) -> None:
        """Tell."""
        print(text, flush=True)


def by_worker(engine: BreakingEngine, settings: Settings) -> int:
    """Show a worker two frames; it has to fail at the second one."""
    told = Told()
    worker = Worker(engine, settings, told)
    worker.set_cameras({"/image": 1.0})
    worker.set_prompts((build_prompt(settings.prompt),))
    worker.start()
    deadline_s = time.monotonic() + _PATIENCE_S
    frames = iter(video("slow", 2, 1000, seed=4))
    while told.state not in (EngineState.FAILED, EngineState.STOPPED) and time.monotonic() < deadline_s:
        if told.state is EngineState.READY:
            frame = next(frames)
            worker.offer(PendingFrame("/image", time.monotonic(), lambda f=frame: f))  # type: ignore[misc]
        told.turned.wait(0.2)
        told.turned.clear()
    return RESPAWN_EXIT_CODE if told.state is EngineState.FAILED and told.failed else 1


def by_node(engine: BreakingEngine, settings: Settings) -> int:
    """Show a node the frames of a camera; it has to end this process."""
    from rclpy.parameter import Parameter
    from sensor_msgs.msg import Image

    from vlm_perception.ros.node import VlmPerceptionNode
    from vlm_perception.ros.spin import run

    frames = iter(video("slow", 2, 1000, seed=4))

    def make() -> VlmPerceptionNode:
        names = ("model", "device", "dtype", "prompt")
        values = [Parameter(name, value=getattr(settings, name)) for name in names]
        node = VlmPerceptionNode(engine, parameter_overrides=values)
        publisher = node.create_publisher(Image, "image", 1)
        deadline_s = time.monotonic() + _PATIENCE_S

        def publish() -> None:
            if time.monotonic() > deadline_s:
                os._exit(1)
            frame = next(frames)
            message = Image(encoding="rgb8", width=frame.image_wh[0], height=frame.image_wh[1])
            message.step = 3 * message.width
            message.header.stamp = node.get_clock().now().to_msg()
            message.data.frombytes(frame.rgb.tobytes())
            publisher.publish(message)

        node.create_timer(0.3, publish)
        return node

    return run("vlm_perception", make, [])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("device", choices=("cuda", "cpu"))
    parser.add_argument("folder")
    parser.add_argument("by", choices=("worker", "node"))
    args = parser.parse_args()
    settings = Settings.from_mapping({"model": args.folder, "device": args.device, "prompt": "all objects"})
    engine = BreakingEngine(TransformersEngine(lambda: settings), args.device)
    code = {"worker": by_worker, "node": by_node}[args.by](engine, settings)
    sys.stdout.flush()
    # As the node: nothing more is asked of a device that is gone, which unloading it would.
    os._exit(code)


if __name__ == "__main__":
    main()
