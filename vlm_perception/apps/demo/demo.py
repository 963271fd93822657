"""The demo: a camera that drives before drawn things, the node on the tiny model, and a client that asks five things.

Runs in a ROS domain of its own that does not leave this machine, so it neither disturbs nor hears
other robots, and ends by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

from vlm_perception.apps.demo.report import (
    DemoQuestion,
    PromptSummary,
    Sample,
    questions_about,
    row_of,
    summary_json,
    table,
)
from vlm_perception.errors import OutputError
from vlm_perception.frames.whole_files import whole_file
from vlm_perception.ros.image_messages import rgb_of
from vlm_perception.startup.arguments import DEMO_DEFAULTS, StartupError, plan_processes
from vlm_perception.startup.processes import ParameterValue, Processes, ProcessPlan

# A room whose things differ, two of them carts, and a base that moves before them.
SEED, N_OBJECTS, RATE_HZ = 3, 4, 10.0
BASE_SPEED_M_S, BASE_TURN_DEG_S = 0.3, 20.0
DEPTH_TOPIC, TARGET_FRAME = "/scene_camera/depth", "world"
# A machine with much else to do takes a minute or two to import torch and load the model.
READY_TIMEOUT_S = 180.0
PROMPT_TIMEOUT_S = 8.0
# A single answer is waited for as long as a busy machine may take for it.
FIRST_ANSWER_TIMEOUT_S = 60.0
ANSWERS_PER_PROMPT = 8
_KEPT_TRUTHS = 400

_Stamp = tuple[int, int]


class DemoError(Exception):
    """The demo cannot go on; the text says why and what to do."""


class DemoClient:
    """Sends prompts and gathers what belongs together by stamp: truth, answer, picture."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._node = rclpy.create_node("demo_client")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._truths: dict[_Stamp, Mapping[str, Any]] = {}
        self._pictures: dict[_Stamp, Image] = {}
        self._answers: list[Mapping[str, Any]] = []
        self._state: dict[str, str] = {}
        self._prompt = self._node.create_publisher(String, "/vlm_perception/prompt", 1)
        self._node.create_subscription(String, "/scene_camera/truth_json", self._on_truth, 50)
        self._node.create_subscription(String, "/vlm_perception/answer", self._on_answer, 50)
        self._node.create_subscription(Image, "/vlm_perception/annotated_image", self._on_picture, 5)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 5)
        # Whoever listens to tracks has ids that stay between answers, too.
        self._node.create_subscription(Detection2DArray, "/vlm_perception/tracks", lambda _: None, 1)

    def close(self) -> None:
        """Leave the ROS graph."""
        self._executor.shutdown()
        self._node.destroy_node()

    def wait_ready(self) -> list[str]:
        """Wait for the model and the camera; returns the labels of what the camera sees.

        Raises:
            DemoError: The model cannot be used, or something did not come up in time.
        """
        settled = self._spin_until(
            lambda: self._state.get("engine state") == "failed" or (self._is_active() and bool(self._truths)),
            READY_TIMEOUT_S,
        )
        if self._state.get("engine state") == "failed":
            raise DemoError(self._state["message"])
        if not settled:
            state = self._state.get("engine state", "silent")
            raise DemoError(f"not ready after {READY_TIMEOUT_S:.0f} s: the model is {state}; is the machine too busy?")
        newest = self._truths[max(self._truths)]
        return [item["label"] for item in newest["objects"]]

    def _is_active(self) -> bool:
        return self._state.get("lifecycle state") == "active"

    def ask(self, question: DemoQuestion) -> tuple[list[Sample], Image | None]:
        """Ask one thing; returns the answers to it and the picture of the last one that has a picture."""
        self._answers.clear()
        self._pictures.clear()
        if not self._spin_until(lambda: self._prompt.get_subscription_count() > 0, PROMPT_TIMEOUT_S):
            raise DemoError("the node does not listen to ~/prompt")
        self._prompt.publish(String(data=question.prompt))
        self._spin_until(lambda: len(self._pictured(question)) >= ANSWERS_PER_PROMPT, PROMPT_TIMEOUT_S)
        self._spin_until(lambda: bool(self._samples(question)), FIRST_ANSWER_TIMEOUT_S)
        pictured = self._pictured(question)
        samples = pictured or self._samples(question)
        return samples, self._pictures[_stamp(pictured[-1].answer)] if pictured else None

    def _samples(self, question: DemoQuestion) -> list[Sample]:
        return [
            Sample(answer, self._truths[_stamp(answer)])
            for answer in self._answers
            if answer["prompt"] == question.prompt and _stamp(answer) in self._truths
        ]

    def _pictured(self, question: DemoQuestion) -> list[Sample]:
        return [sample for sample in self._samples(question) if _stamp(sample.answer) in self._pictures]

    def _spin_until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline_s:
                return False
            code = self._processes.ended()
            if code is not None:
                raise DemoError(f"a process of the demo ended early with exit code {code}; its message is above")
            self._executor.spin_once(timeout_sec=0.05)
        return True

    def _on_truth(self, message: String) -> None:
        truth = json.loads(message.data)
        self._truths[_stamp(truth)] = truth
        if len(self._truths) > _KEPT_TRUTHS:
            del self._truths[min(self._truths)]

    def _on_answer(self, message: String) -> None:
        self._answers.append(json.loads(message.data))

    def _on_picture(self, message: Image) -> None:
        self._pictures[message.header.stamp.sec, message.header.stamp.nanosec] = message

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self._state = {"message": status.message, **{item.key: item.value for item in status.values}}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo.

    Returns:
        0 when boxes were found, 1 when none was, 2 when it could not run, 130 after Ctrl-C.
    """
    options = _parser().parse_args(argv)
    _leave_other_robots_alone(options.domain_id)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _empty(options.output)
        processes = Processes([plan.command() for plan in _plans(options)])
        processes.start()
    except (StartupError, OSError) as error:
        print(f"vlm-perception-demo: {error}", file=sys.stderr)
        return 2
    try:
        rows = _interview(processes, options.output)
    except (DemoError, OutputError, OSError) as error:
        print(f"vlm-perception-demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        # From here on nothing may keep us from ending the children.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        processes.stop()
    print(f"\n{table(rows)}\n\npictures and summary.json are in {options.output}/")
    if not any(row.found for row in rows):
        print("vlm-perception-demo: no box was found", file=sys.stderr)
        return 1
    return 0


def _interview(processes: Processes, output: Path) -> list[PromptSummary]:
    print("starting the drawn camera and the node on the tiny model ...", flush=True)
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        client = DemoClient(processes)
        labels = client.wait_ready()
        print(f"ready; the camera sees: {', '.join(labels)}", flush=True)
        rows = []
        for number, question in enumerate(questions_about(labels), start=1):
            print(f"asking: {question.prompt}", flush=True)
            samples, picture = client.ask(question)
            if not samples:
                patience_s = PROMPT_TIMEOUT_S + FIRST_ANSWER_TIMEOUT_S
                raise DemoError(f"no answer to {question.prompt!r} within {patience_s:.0f} s")
            if picture is not None:
                _save(output / f"{number}_{question.slug}.png", picture)
            rows.append(row_of(question, samples))
        client.close()
    finally:
        rclpy.try_shutdown()
    with whole_file(output / "summary.json") as part:
        part.write_text(summary_json(rows), encoding="utf-8")
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vlm-perception-demo", description="Show vlm_perception on drawn scenes.")
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="folder for pictures and summary.json")
    parser.add_argument("--model", default=DEMO_DEFAULTS["model"], help="tiny, a local folder or a hub id")
    parser.add_argument("--seed", type=int, default=SEED, help="which scene is drawn (default: %(default)s)")
    # Above 101 the ports of a domain may collide with those the system hands out.
    own = os.getpid() % 100 + 1
    parser.add_argument("--domain-id", type=int, default=own, help="ROS domain (default: one of its own)")
    return parser


def _leave_other_robots_alone(domain_id: int) -> None:
    """Choose domain and reach for this process and its children."""
    os.environ["ROS_DOMAIN_ID"] = str(domain_id)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    # Before Iron, which brought type hashes too, there was only this switch; later it is deprecated.
    if find_spec("rclpy.type_hash") is None:
        os.environ["ROS_LOCALHOST_ONLY"] = "1"


def _plans(options: argparse.Namespace) -> list[ProcessPlan]:
    values = {**DEMO_DEFAULTS, "model": options.model, "prompt": "", "log_level": "warn"}
    scene: dict[str, ParameterValue] = {"seed": options.seed, "n_objects": N_OBJECTS, "rate_hz": RATE_HZ, "world": True}
    scene |= {"base_speed": BASE_SPEED_M_S, "base_turn": BASE_TURN_DEG_S}
    space: dict[str, ParameterValue] = {"depth_topics": [DEPTH_TOPIC], "target_frame": TARGET_FRAME}
    more = {"scene_camera": scene, "vlm_perception_node": space}
    return [
        replace(plan, parameters={**plan.parameters, **more.get(plan.executable, {})})
        for plan in plan_processes(values)
    ]


def _empty(output: Path) -> None:
    """Make the folder and remove what an earlier demo wrote there, and nothing else."""
    output.mkdir(parents=True, exist_ok=True)
    for old in [*output.glob("[1-9]_*.png"), output / "summary.json"]:
        old.unlink(missing_ok=True)


def _save(path: Path, picture: Image) -> None:
    # Not imwrite: on a full disk it returns False and says nothing.
    _, png = cv2.imencode(path.suffix, cv2.cvtColor(rgb_of(picture), cv2.COLOR_RGB2BGR))
    with whole_file(path) as part:
        part.write_bytes(png.tobytes())


def _stamp(fields: Mapping[str, Any]) -> _Stamp:
    return int(fields["stamp"]["sec"]), int(fields["stamp"]["nanosec"])


if __name__ == "__main__":
    sys.exit(main())
