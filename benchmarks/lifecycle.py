"""Memory and times of a managed node's life: `python -m benchmarks.lifecycle [--true-3b --rounds 1]`.

The real node, as a process of its own, is taken through its states again and again as a lifecycle manager would do
it, and asked one prompt while it is active, because weights that nobody has used are not in memory. The checkpoint has
random weights in the shape of 3B with the tiny model's tokenizer, cut to few layers and vision blocks unless
`--true-3b` is given, which takes 9 GB. The process's resident memory is read from /proc in every state. While the
model loads, `~/get_state` is asked as fast as it answers; the slowest answer is shown. Writes
build/benchmarks/lifecycle.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from std_srvs.srv import Trigger
from transformers import AutoProcessor

from benchmarks.paced_camera import benchmark_domain, child
from benchmarks.report import print_table, silence_libraries, write_json
from benchmarks.shapes import SHAPE_3B, Shape, random_model
from benchmarks.soak import sample
from vlm_perception.startup.arguments import resolve_model

TIMEOUT_S = 300.0
STEPS = (
    ("configure", Transition.TRANSITION_CONFIGURE),
    ("activate", Transition.TRANSITION_ACTIVATE),
    ("an answer", None),
    ("deactivate", Transition.TRANSITION_DEACTIVATE),
    ("cleanup", Transition.TRANSITION_CLEANUP),
)


def write_checkpoint(folder: Path, shape: Shape) -> float:
    """Write a checkpoint with random weights in bfloat16; return the size of its weights, MB."""
    tiny = Path(resolve_model("tiny"))
    random_model(shape).save_pretrained(folder)
    processor = AutoProcessor.from_pretrained(tiny)
    # The bounds that the real checkpoints state.
    processor.image_processor.size = {"shortest_edge": 3136, "longest_edge": 12845056}
    processor.save_pretrained(folder)
    return sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 1e6


class Manager:
    """Asks the node's lifecycle services."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._change = node.create_client(ChangeState, "/vlm_perception/change_state")
        self._state = node.create_client(GetState, "/vlm_perception/get_state")
        self._once = node.create_client(Trigger, "/vlm_perception/detect_once")
        self.answer: dict[str, Any] = {}
        self.peak_mb, self.slowest_s = 0.0, 0.0
        self.asked = 0

    def wait(self) -> None:
        """Wait for the node."""
        if not (self._change.wait_for_service(TIMEOUT_S) and self._state.wait_for_service(TIMEOUT_S)):
            raise SystemExit("the node did not come up: see its log above")

    def ask(self) -> float:
        """Have one prompt answered; return the seconds it took."""
        began_s = time.monotonic()
        done = self._once.call_async(Trigger.Request())
        rclpy.spin_until_future_complete(self._node, done, timeout_sec=TIMEOUT_S)
        if not done.result().success:
            raise SystemExit(f"no answer: {done.result().message}")
        self.answer = json.loads(done.result().message)
        return time.monotonic() - began_s

    def change(self, number: int) -> float:
        """Take the node through one transition and ask for its state meanwhile; return the seconds it took."""
        began_s = time.monotonic()
        done = self._change.call_async(ChangeState.Request(transition=Transition(id=number)))
        while not done.done():
            asked_s = time.monotonic()
            state = self._state.call_async(GetState.Request())
            rclpy.spin_until_future_complete(self._node, state, timeout_sec=TIMEOUT_S)
            self.slowest_s = max(self.slowest_s, time.monotonic() - asked_s)
            self.asked += 1
        if not done.result().success:
            raise SystemExit(f"transition {number} failed: see the node's log above")
        return time.monotonic() - began_s


def live(folder: Path, rounds: int, max_new_tokens: int) -> tuple[list[dict[str, Any]], Manager]:
    """Run the node through its states; one row a state."""
    command = ["-m", "vlm_perception.ros.node", "--ros-args", "--log-level", "warn", "-p", f"model:={folder}"]
    command += [
        "-p",
        "autostart:=false",
        "-p",
        "device:=cpu",
        "-p",
        "prompt:=all objects",
        "-p",
        f"max_new_tokens:={max_new_tokens}",
    ]
    command += ["-p", "frame_policy:=on_demand", "-p", "no_image_warning_s:=60.0", "-p", "timeout_s:=280.0"]
    rows: list[dict[str, Any]] = []
    with benchmark_domain(), child("-m", "benchmarks.paced_camera"), child(*command) as process:
        node = rclpy.create_node("lifecycle_benchmark")
        manager = Manager(node)
        manager.wait()
        start_mb = sample(process.pid, 0.0, 0, 0.0).rss_mb
        rows.append({"round": 0, "after": "start", "resident_mb": round(start_mb), "seconds": None})
        for number in range(1, rounds + 1):
            for name, transition in STEPS:
                seconds = round(manager.ask() if transition is None else manager.change(transition), 3)
                resident_mb = round(sample(process.pid, 0.0, 0, 0.0).rss_mb)
                rows.append({"round": number, "after": name, "resident_mb": resident_mb, "seconds": seconds})
        manager.peak_mb = _peak_mb(process.pid)
        node.destroy_node()
    return rows, manager


def _peak_mb(pid: int) -> float:
    """Return the most memory that a process had resident, MB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=12, help="75 million parameters each")
    parser.add_argument("--true-3b", action="store_true", help="all layers and blocks")
    parser.add_argument("--max-new-tokens", type=int, default=2)
    args = parser.parse_args()
    silence_libraries()
    shape = SHAPE_3B if args.true_3b else SHAPE_3B.cut(args.layers, blocks=1)
    with tempfile.TemporaryDirectory() as folder:
        weights_mb = write_checkpoint(Path(folder), shape)
        rows, manager = live(Path(folder), args.rounds, args.max_new_tokens)
    print(f"weights {weights_mb:.0f} MB, peak {manager.peak_mb:.0f} MB\n")
    print_table(rows)
    told = {name: manager.answer[name] for name in ("model_wh", "passes", "timings")}
    print(f"\nthe last answer: {told}")
    print(f"\nget_state, asked {manager.asked} times on the way: slowest answer {1e3 * manager.slowest_s:.0f} ms")
    figures = {"weights_mb": round(weights_mb), "peak_mb": round(manager.peak_mb), "answer": told, "rows": rows}
    figures |= {"slowest_get_state_ms": round(1e3 * manager.slowest_s, 1)}
    write_json("lifecycle_3b" if args.true_3b else "lifecycle", figures)


if __name__ == "__main__":
    main()
