"""Processes that are ended and started again, and two nodes of one name; docs/troubleshooting.md lists all faults.

Signals in mid-generation and while the model loads: test_processes.py.
"""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
from robot import LATCHED, header
from scripted_engine import PATIENCE_S
from scripted_node import PROGRAM

from vlm_perception.apps.demo.demo import _save
from vlm_perception.errors import OutputError
from vlm_perception.ros.image_messages import image_message

ENDS = {signal.SIGTERM: 0, signal.SIGINT: 0, signal.SIGKILL: -signal.SIGKILL}


def test_a_restarted_node_hears_the_latched_prompt_and_answers(robot, talk):
    node = robot.start(PROGRAM, "quick")
    t = talk(prompt_qos=LATCHED)
    t.ask("red cup")
    assert t.lives(900)["prompt"] == "red cup"
    for number, (sent, exit_code) in enumerate(ENDS.items(), start=901):
        node.send_signal(sent)
        _, errors = node.communicate(timeout=PATIENCE_S)
        assert (node.returncode, "Traceback" in errors) == (exit_code, False)
        node = robot.start(PROGRAM, "quick")
        assert t.lives(number, "prompts received", "answers")["prompt"] == "red cup"
        assert t.later(lambda values: values["prompt"] == "red cup")["engine name"] == "quick"


def test_two_nodes_of_one_name_are_noticed_by_both(robot, talk, scripted):
    t = talk(scripted, prompt="red cup")
    t.later(lambda values: values["level"] == "0")
    other = robot.start(PROGRAM, "quick")
    told = {
        name: t.later(lambda values, n=name: values["engine name"] == n and "named" in values["message"])
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
    assert t.node.get_node_names().count("vlm_perception") == 1
    values = t.lives(900, "errors: same_name")["diagnostics"]
    assert "named" not in values["message"]
    assert len([m for m in t.logs.messages if "named /vlm_perception, too" in m.msg]) <= 2, "once each"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device that is always full")
def test_the_demo_tells_that_the_disk_is_full(tmp_path):
    picture = image_message(np.zeros((28, 42, 3), np.uint8), header(1))
    full = tmp_path / "1_red_cup.png"
    full.symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left on device"):
        _save(full, picture)
    full.unlink()
    _save(full, picture)
    assert [path.name for path in tmp_path.iterdir()] == ["1_red_cup.png"]
    assert full.stat().st_size > 0
