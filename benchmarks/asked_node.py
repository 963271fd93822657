"""The node as a process of its own, and a client that shows it pictures and clips and hears what it says of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String
from vision_msgs.msg import Detection2DArray

from benchmarks.paced_camera import child
from vlm_perception.ros.image_messages import image_message

READY_TIMEOUT_S = 600.0
ANSWER_TIMEOUT_S = 600.0
# A frame may be lost while the node still looks for its camera; then it is shown again, ever later, for slow models.
FIRST_WAIT_S = 5.0
# Frames of a clip come faster than their stamps say, so that nobody waits; not faster than the node takes them. Where
# one is lost on a busy machine they come slower the next time, as long as all of them come within the window.
FRAME_PERIOD_S, _SLOWER = 0.3, 1.5
_WATCH_RATE_HZ, _WINDOW_S = 5.0, 5.0
# Whatever is kept of the clip before lies outside of the window of the next.
_BETWEEN_CLIPS_S = 1000
_KEPT = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Published(NamedTuple):
    """Both messages about one frame: the boxes that robots use, and the fields of `~/answer`."""

    detections: Detection2DArray
    answer: Mapping[str, Any]


class AskingClient:
    """Types prompts, shows frames and hears answers; whoever makes the node spins it nowhere else."""

    def __init__(self, node: Node) -> None:
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._camera = node.create_publisher(Image, "/image", 10)
        self._prompt = node.create_publisher(String, "/vlm_perception/prompt", 1)
        self._active = ""
        self._answers: dict[int, dict[str, Any]] = {}
        self._detections: dict[int, Detection2DArray] = {}
        self._stamp_s = 0
        self._said = (
            node.create_subscription(String, "/vlm_perception/active_prompt", self._on_active, _KEPT),
            node.create_subscription(String, "/vlm_perception/answer", self._on_answer, 50),
            node.create_subscription(Detection2DArray, "/vlm_perception/detections", self._on_detections, 50),
        )

    def wait_ready(self) -> None:
        """Wait until the node hears prompts and frames, and is heard.

        Raises:
            TimeoutError: It does not within `READY_TIMEOUT_S`.
        """

        def connected() -> bool:
            hears, says = (self._camera, self._prompt), self._said
            return all(p.get_subscription_count() for p in hears) and all(s.get_publisher_count() for s in says)

        if not self._until(connected, READY_TIMEOUT_S):
            raise TimeoutError(f"the node does not listen after {READY_TIMEOUT_S:.0f} s: see its log above")

    def ask(self, prompt: str, frames: Sequence[NDArray[np.uint8]], step_s: float = 0.0) -> Published:
        """Ask about a picture, or about a clip of several frames that are `step_s` apart.

        Args:
            prompt: What is typed.
            frames: (h, w, 3) uint8 RGB each, oldest first.
            step_s: Between the stamps of two frames.

        Raises:
            TimeoutError: No answer within `ANSWER_TIMEOUT_S`.
        """
        ends_s, wait_s, shown = time.monotonic() + ANSWER_TIMEOUT_S, FIRST_WAIT_S, set[int]()
        period_s = FRAME_PERIOD_S
        self._answers.clear()
        self._detections.clear()

        def answered() -> set[int]:
            return shown & self._answers.keys() & self._detections.keys()

        while time.monotonic() < ends_s:
            if self._active != prompt:
                self._prompt.publish(String(data=prompt))
                if not self._until(lambda: self._active == prompt, FIRST_WAIT_S):
                    continue
            shown.add(self._show(frames, step_s, period_s))
            self._until(lambda: bool(answered()), wait_s)
            for stamp_s in answered():
                answer = self._answers[stamp_s]
                if len(frames) == 1 or answer["clip"]["frames"] == len(frames):
                    return Published(self._detections[stamp_s], answer)
                # A frame was lost: the clip is shown again.
                shown.remove(stamp_s)
                period_s = min(period_s * _SLOWER, _WINDOW_S / len(frames))
            wait_s *= 2
        raise TimeoutError(f"no answer to {prompt!r} in {ANSWER_TIMEOUT_S:.0f} s: see the node's log above")

    def _show(self, frames: Sequence[NDArray[np.uint8]], step_s: float, period_s: float) -> int:
        """Publish frames; returns the last one's stamp in seconds, which no other frame of a whole second has."""
        self._stamp_s += _BETWEEN_CLIPS_S
        for number, rgb in enumerate(frames, start=1 - len(frames)):
            # Before the first one too: to the node it is the next of those that came before.
            if len(frames) > 1:
                self._until(lambda: False, period_s)
            sec, share = divmod(self._stamp_s + number * step_s, 1.0)
            header = Header(frame_id="camera")
            header.stamp.sec, header.stamp.nanosec = int(sec), round(share * 1e9)
            self._camera.publish(image_message(rgb, header))
        return self._stamp_s

    def _until(self, condition: Callable[[], bool], limit_s: float) -> bool:
        ends_s = time.monotonic() + limit_s
        while not condition():
            left_s = ends_s - time.monotonic()
            if left_s <= 0:
                return False
            self._executor.spin_once(timeout_sec=min(left_s, 0.1))
        return True

    def _on_active(self, message: String) -> None:
        self._active = message.data

    def _on_answer(self, message: String) -> None:
        answer = json.loads(message.data)
        self._answers[answer["stamp"]["sec"]] = answer

    def _on_detections(self, message: Detection2DArray) -> None:
        self._detections[message.header.stamp.sec] = message


@contextmanager
def asked_node(model: str, clip_s: float, **parameters: Any) -> Iterator[AskingClient]:
    """Start the node on a model, and end it with the block; within `benchmark_domain`.

    Args:
        model: As the parameter `model`.
        clip_s: From the first frame of a clip to its last, by their stamps.
        parameters: Further parameters of the node.
    """
    values = {"model": model, "max_age_s": ANSWER_TIMEOUT_S, "timeout_s": ANSWER_TIMEOUT_S, "max_rate_hz": 100.0}
    values["no_image_warning_s"] = ANSWER_TIMEOUT_S
    values |= {"watch_window_s": max(_WINDOW_S, clip_s), "watch_rate_hz": _WATCH_RATE_HZ, **parameters}
    arguments = [part for name, value in values.items() for part in ("-p", f"{name}:={json.dumps(value)}")]
    node = rclpy.create_node("asking_client")
    try:
        with child("-m", "vlm_perception.ros.node", "--ros-args", "--log-level", "warn", *arguments):
            client = AskingClient(node)
            client.wait_ready()
            yield client
    finally:
        node.destroy_node()
