"""What must be got over: no memory, a lost device, and two thousand answers."""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import psutil
import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from benchmarks.domains import claimed_domain
from benchmarks.gpu.exact import TINY, bitwise, opened
from benchmarks.gpu.sections import Deadline, Report
from benchmarks.gpu.subject import BUDGET, Subjects, noise_frame
from benchmarks.videos import come_and_go, video
from vlm_perception.engines.base import never_stop
from vlm_perception.errors import ModelMemoryError
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.types import PixelBudget, Request

# What `vlm_perception/ros/spin.py` ends the process with.
RESPAWN_EXIT_CODE = 75
_LARGE_WH = (1288, 1288)
_SAMPLE_EVERY = 50


class Failures:
    """Sections that break something.

    Args:
        subjects: Where models run, and how much is done.
    """

    def __init__(self, subjects: Subjects) -> None:
        self._subjects, self._device, self._effort = subjects, subjects.device, subjects.effort

    def out_of_memory(self, report: Report, deadline: Deadline) -> None:
        """Ask about a large image on a full card; then about a small one with room again.

        Raises:
            ValueError: It did not fail as it has to, or the answer is another one afterwards.
        """
        card = self._device == "cuda"
        small = Request(next(video("slow", 2, 1, seed=8)), build_prompt("all objects"), PixelBudget(3136, 224**2), 200)
        large = Request(noise_frame(_LARGE_WH, 1), build_prompt("all objects"), BUDGET, 200)
        with opened(self._subjects.folder, self._device, dtype="bfloat16") as engine:
            before = engine.answer(small, never_stop)
            engine.forget()
            with full_card() if card else shortage():
                errors = [_memory_error(lambda: engine.answer(large, never_stop)) for _ in range(2)]
            after = engine.answer(small, never_stop)
        if None in errors or not bitwise(before, after):
            raise ValueError(f"on a full card: {errors}; then {before.text!r} became {after.text!r}")
        method = "for real" if card else "played, the card is missing"
        report.add(TINY, "out of memory, and the same answer afterwards", method, identical=True, note=errors[0])

    def lost_device(self, report: Report, deadline: Deadline) -> None:
        """Lose the device in a process of its own, which has to end for respawn.

        Raises:
            ValueError: It ended otherwise.
        """
        by = "node" if importlib.util.find_spec("rclpy") else "worker"
        command = [sys.executable, "-m", "benchmarks.gpu.lost_device", self._device, str(self._subjects.folder), by]
        with ExitStack() as stack:
            domain = {"ROS_DOMAIN_ID": str(stack.enter_context(claimed_domain()))} if by == "node" else {}
            environment = {**os.environ, **domain}
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=max(10.0, deadline.left_s)
            )
        told = done.stdout + done.stderr
        lines = [line for line in told.splitlines() if "DeviceLostError" in line]
        if done.returncode != RESPAWN_EXIT_CODE or not lines:
            raise ValueError(f"the {by} ended with {done.returncode}: {told[-1500:]}")
        method = f"{by}, {'for real' if self._device == 'cuda' else 'played, the card is missing'}"
        report.add(TINY, "device assert, exit code 75", method, identical=True, note=lines[0][:300])

    def flat(self, report: Report, deadline: Deadline) -> None:
        """Watch the memory over many answers, each about a frame that was never seen before."""
        scenes = list(come_and_go(40, seed=9))
        memory: list[tuple[int, int]] = []
        process, card = psutil.Process(), self._device == "cuda"
        count, step = 0, min(_SAMPLE_EVERY, max(1, self._effort.answers // 8))
        with opened(TINY, self._device, dtype="bfloat16") as engine:
            for count in range(1, self._effort.answers + 1):
                if deadline.over:
                    break
                scene = scenes[count % len(scenes)]
                frame = replace(scene, rgb=scene.rgb.copy(), received_s=float(count))
                engine.answer(Request(frame, build_prompt("all objects"), BUDGET, 200), never_stop)
                if count % step == 0:
                    memory.append((torch.cuda.memory_allocated() if card else 0, process.memory_info().rss))
        # The first tenth fills what is kept.
        watched = memory[len(memory) // 10 :]
        for name, values in zip(("of the card", "of the process"), zip(*watched, strict=True), strict=True):
            if name == "of the card" and not card:
                report.skip(TINY, f"memory {name}", "slope", "needs CUDA")
                continue
            note = f"{_slope(values, step):.0f} bytes an answer over {count}, {_span(values)}"
            report.add(TINY, f"memory {name}", "slope", note=note)


def _slope(values: Any, answers: int) -> float:
    """Return how much values grow with an answer: the median between all pairs, which no outlier moves."""
    pairs = [
        (later - earlier) / (answers * (j - i))
        for i, earlier in enumerate(values)
        for j, later in enumerate(values)
        if j > i
    ]
    return statistics.median(pairs) if pairs else 0.0


def _span(values: Any) -> str:
    return f"{min(values) / 1e6:.2f} to {max(values) / 1e6:.2f} MB"


def _memory_error(ask: Callable[[], object]) -> str | None:
    try:
        ask()
    except ModelMemoryError as error:
        return str(error)[:300]
    return None


@contextmanager
def full_card() -> Iterator[None]:
    """Hold all memory of the card."""
    torch.cuda.empty_cache()
    held, size = [], torch.cuda.mem_get_info()[0]
    while size >= 2**21:
        try:
            held.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
        except torch.OutOfMemoryError:
            size //= 2
    try:
        yield
    finally:
        held.clear()
        torch.cuda.empty_cache()


@contextmanager
def shortage() -> Iterator[None]:
    """Let the vision tower fail as on a full card."""

    def fail(module: torch.nn.Module, _: object) -> None:
        if type(module).__name__ == "VisionTower":
            raise torch.OutOfMemoryError("CUDA out of memory: played")

    hook = register_module_forward_pre_hook(fail)
    try:
        yield
    finally:
        hook.remove()
