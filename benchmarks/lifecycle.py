"""Memory and times of a managed node's life: `python -m benchmarks.lifecycle`.

The real node, as a process of its own, is taken through its states again and again as a lifecycle manager would do
it, and asked one question while it is active, because weights that nobody has used are not in memory. The checkpoint
has random weights: widths of the 3B language model, few layers, the tiny model's vision tower and tokenizer. The
process's resident memory is read from /proc in every state. While the model loads, `~/get_state` is asked
as fast as it answers; the slowest answer is shown. Writes build/benchmarks/lifecycle.json.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from std_srvs.srv import Trigger

from benchmarks.paced_camera import benchmark_domain, child
from benchmarks.report import print_table, write_json
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


def write_checkpoint(folder: Path, layers: int) -> float:
    """Write a checkpoint with random weights in bfloat16; return the size of its weights, MB."""
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    tiny = Path(resolve_model("tiny"))
    config = AutoConfig.from_pretrained(tiny)
    text = {"hidden_size": 2048, "intermediate_size": 11008, "num_attention_heads": 16, "num_key_value_heads": 2}
    rope = {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6}
    for name, value in {**text, "num_hidden_layers": layers, "rope_parameters": rope, "layer_types": None}.items():
        setattr(config.text_config, name, value)
    config.text_config.layer_types = ["full_attention"] * layers
    config.vision_config.out_hidden_size = 2048
    model = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    for file in tiny.iterdir():
        if file.name not in ("config.json", "generation_config.json", "model.safetensors"):
            shutil.copy(file, folder)
    return sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 1e6


class Manager:
    """Asks the node's lifecycle services."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._change = node.create_client(ChangeState, "/vlm_perception/change_state")
        self._state = node.create_client(GetState, "/vlm_perception/get_state")
        self._once = node.create_client(Trigger, "/vlm_perception/detect_once")
        self.slowest_s = 0.0
        self.asked = 0

    def wait(self) -> None:
        """Wait for the node."""
        if not (self._change.wait_for_service(TIMEOUT_S) and self._state.wait_for_service(TIMEOUT_S)):
            raise SystemExit("the node did not come up: see its log above")

    def ask(self) -> float:
        """Have one question answered; return the seconds it took."""
        began_s = time.monotonic()
        done = self._once.call_async(Trigger.Request())
        rclpy.spin_until_future_complete(self._node, done, timeout_sec=TIMEOUT_S)
        if not done.result().success:
            raise SystemExit(f"no answer: {done.result().message}")
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


def live(folder: Path, rounds: int) -> tuple[list[dict[str, Any]], Manager]:
    """Run the node through its states; one row a state."""
    command = ["-m", "vlm_perception.ros.node", "--ros-args", "--log-level", "warn", "-p", f"model:={folder}"]
    command += ["-p", "autostart:=false", "-p", "device:=cpu", "-p", "prompt:=all objects", "-p", "max_new_tokens:=2"]
    command += ["-p", "frame_policy:=on_demand", "-p", "no_image_warning_s:=60.0"]
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
        node.destroy_node()
    return rows, manager


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=12, help="75 million parameters each")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weights_mb = write_checkpoint(Path(folder), args.layers)
        rows, manager = live(Path(folder), args.rounds)
    print(f"weights {weights_mb:.0f} MB\n")
    print_table(rows)
    print(f"\nget_state, asked {manager.asked} times on the way: slowest answer {1e3 * manager.slowest_s:.0f} ms")
    figures = {"weights_mb": round(weights_mb), "rows": rows, "slowest_get_state_ms": round(1e3 * manager.slowest_s, 1)}
    write_json("lifecycle", figures)


if __name__ == "__main__":
    main()
