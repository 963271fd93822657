"""Processes that are ended and started again, and two nodes of one name; docs/troubleshooting.md lists all faults.

Signals in mid-generation and while the model loads: test_processes.py.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from faults import PATIENCE_S, WATCHED, assert_lives, later
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from vlm_perception.apps.demo.demo import _save
from vlm_perception.errors import OutputError
from vlm_perception.ros.image_messages import image_message

QUICK = Path(__file__).with_name("quick_node.py")
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture
def start(domain_id):
    """Start nodes as processes of their own; those that still run afterwards are killed."""
    running = []

    def process() -> subprocess.Popen[str]:
        running.append(subprocess.Popen([sys.executable, str(QUICK)], stderr=subprocess.PIPE, text=True))
        return running[-1]

    yield process
    for each in running:
        if each.poll() is None:
            each.kill()
        each.communicate(timeout=PATIENCE_S)


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_restarted_node_hears_the_latched_prompt_and_answers(robot, talk, start, number, exit_code):
    first = start()
    t = talk(prompt_qos=LATCHED)
    t.ask("red cup")
    before = assert_lives(t, 900)
    first.send_signal(number)
    _, errors = first.communicate(timeout=PATIENCE_S)
    assert first.returncode == exit_code
    assert "Traceback" not in errors
    start()
    after = assert_lives(t, 901, counted=["prompts received", "answers"])
    assert (before["prompt"], after["prompt"]) == ("red cup", "red cup")
    assert later(t, lambda values: values["prompt"] == "red cup")["engine name"] == "quick"


def test_two_nodes_of_one_name_are_noticed_by_both(robot, talk, scripted, start):
    node = robot.node(scripted, prompt="red cup", **WATCHED)
    t = talk()
    assert later(t, lambda values: True)["level"] == "0"
    other = start()
    told = {
        name: later(t, lambda values, n=name: values["engine name"] == n and "named" in values["message"])
        for name in ("scripted", "quick")
    }
    for values in told.values():
        assert values["level"] == "1"
        assert "named /vlm_perception, too" in values["message"]
        assert "-r __node:=" in values["message"]
        assert values["errors: same_name"] == "1"
    other.send_signal(signal.SIGTERM)
    assert other.wait(PATIENCE_S) == 0
    t.logs.wait_for(lambda m: "no other node is named /vlm_perception any more" in m.msg)
    assert node.get_node_names().count("vlm_perception") == 1
    values = assert_lives(t, 900, counted=["errors: same_name"])["diagnostics"]
    assert "named" not in values["message"]
    assert len([m for m in t.logs.messages if "named /vlm_perception, too" in m.msg]) <= 2, "once each"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device that is always full")
def test_the_demo_tells_that_the_disk_is_full(tmp_path, header_of):
    picture = image_message(np.zeros((28, 42, 3), np.uint8), header_of(1))
    full = tmp_path / "1_red_cup.png"
    full.symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left on device"):
        _save(full, picture)
    full.unlink()
    _save(full, picture)
    assert [path.name for path in tmp_path.iterdir()] == ["1_red_cup.png"]
    assert full.stat().st_size > 0
