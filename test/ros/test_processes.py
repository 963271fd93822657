"""Whole processes with a real Qwen2.5-VL: the tiny checkpoint, signals, and the demo."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

from vlm_perception.startup.arguments import resolve_model

TINY = Path(resolve_model("tiny"))
PATIENCE_S = 200.0


@pytest.fixture
def launch(domain_id):
    """Start installed commands in this test's domain; whatever still runs afterwards is killed."""
    running = []

    def start(command, *arguments, **options):
        line = [sys.executable, "-m", "vlm_perception.startup.commands", command, *map(str, arguments)]
        running.append(subprocess.Popen(line, **options))
        return running[-1]

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def endless_model(tmp_path_factory):
    """The tiny checkpoint's shape with random weights: it never ends its reply by itself."""
    import torch
    from transformers import AutoConfig, Qwen2_5_VLForConditionalGeneration

    folder = tmp_path_factory.mktemp("endless") / "model"
    shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(AutoConfig.from_pretrained(TINY))
    with torch.no_grad():
        # Nothing but one token ever wins.
        model.lm_head.weight = torch.nn.Parameter(torch.zeros_like(model.lm_head.weight))
    model.config.tie_word_embeddings = False
    model.config.text_config.tie_word_embeddings = False
    model.save_pretrained(folder)
    return folder


def values_of(message: DiagnosticArray) -> dict[str, str]:
    return {value.key: value.value for value in message.status[0].values}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_mid_generation_ends_the_node_cleanly(robot, talk, launch, endless_model, number):
    node = launch(
        "vlm_perception_node",
        *("--ros-args", "-p", f"model:={endless_model}", "-p", "max_new_tokens:=32768", "-p", "prompt:=red cup"),
        *("-p", "diagnostics_period_s:=0.1", "-p", "max_rate_hz:=100.0"),
        stderr=subprocess.PIPE,
        text=True,
    )
    t = talk()
    frame = np.zeros((112, 112, 3), np.uint8)
    # Frames are replaced only while the model is busy with another one.
    robot.until(
        lambda: (
            bool(t.show(1, frame))
            and bool(t.diagnostics.messages)
            and "dropped: replaced" in values_of(t.diagnostics.messages[-1])
        ),
        "the model is busy",
    )
    assert t.detections.messages == []
    node.send_signal(number)
    _, errors = node.communicate(timeout=PATIENCE_S)
    assert node.returncode == 0
    assert "Traceback" not in errors


def test_a_signal_while_the_model_loads_ends_the_node_cleanly(robot, launch):
    logs = robot.hear_log()
    node = launch("vlm_perception_node", "--ros-args", "-p", f"model:={TINY}", stderr=subprocess.PIPE, text=True)
    logs.wait_for(lambda m: "loading the model" in m.msg)
    node.send_signal(signal.SIGINT)
    _, errors = node.communicate(timeout=PATIENCE_S)
    assert node.returncode == 0
    assert "Traceback" not in errors


def test_a_parameter_that_cannot_be_used_ends_the_start_with_one_message(launch):
    node = launch("vlm_perception_node", "--ros-args", "-p", "max_rate_hz:=-1.0", stderr=subprocess.PIPE, text=True)
    _, errors = node.communicate(timeout=PATIENCE_S)
    assert node.returncode == 1
    assert "max_rate_hz" in errors
    assert "Traceback" not in errors


def test_the_tiny_model_answers_the_drawn_camera(robot, talk, launch):
    """The main path on real parts: camera, DDS, node, a real Qwen2.5-VL, and back."""
    launch("scene_camera", "--ros-args", *("-p", "seed:=1748", "-p", "n_objects:=4", "-p", "rate_hz:=5.0"))
    launch(
        "vlm_perception_node",
        *("--ros-args", "-p", f"model:={TINY}", "-r", "image:=/scene_camera/image", "-p", "prompt:=all objects"),
    )
    truths = robot.hear("/scene_camera/truth_json", String)
    detections = robot.hear("/vlm_perception/detections", Detection2DArray)
    answers = robot.hear("/vlm_perception/answer", String)
    active = robot.hear("/vlm_perception/active_prompt", String)
    first = detections.wait_for(timeout_s=PATIENCE_S)
    assert first.header.frame_id == "scene_camera"
    stamp = {"sec": first.header.stamp.sec, "nanosec": first.header.stamp.nanosec}
    answer = json.loads(answers.wait_for(lambda m: json.loads(m.data)["stamp"] == stamp).data)
    assert answer["prompt"] == "all objects"
    assert answer["image_wh"] == [640, 480]
    assert answer["raw_text"]
    assert len(answer["objects"]) == len(first.detections)
    for item in answer["objects"]:
        left, top, right, bottom = item["bbox_xyxy"]
        assert 0 <= left < right <= 640
        assert 0 <= top < bottom <= 480
        assert 0.0 < item["score"] < 1.0
    truths.wait_for(lambda m: json.loads(m.data)["stamp"] == stamp)
    publisher = robot.client.create_publisher(String, "/vlm_perception/prompt", 1)
    robot.until(lambda: publisher.get_subscription_count() > 0, "prompt connected")
    publisher.publish(String(data="how many carts are there?"))
    active.wait_for(lambda m: m.data == "how many carts are there?")
    counted = json.loads(answers.wait_for(lambda m: json.loads(m.data)["task"] == "count").data)
    assert isinstance(counted["count"], int)


def test_the_demo_leaves_pictures_a_summary_and_no_processes(launch, tmp_path, domain_id):
    demo = launch(
        "vlm-perception-demo", "--output", tmp_path, "--domain-id", domain_id, stdout=subprocess.PIPE, text=True
    )
    output, _ = demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == 0, output
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert len({row["prompt"] for row in summary}) == 4
    assert len(list(tmp_path.glob("*.png"))) == 4
    for row in summary:
        assert set(row) == {"prompt", "found", "mean_iou", "frame_age_ms", "latency_ms"}
        assert row["prompt"] in output
        assert row["latency_ms"] > 0
        assert row["frame_age_ms"] >= row["latency_ms"] - 50
    assert sum(row["found"] for row in summary) > 0


def test_an_interrupted_demo_ends_its_children(launch, robot, tmp_path, domain_id):
    demo = launch("vlm-perception-demo", "--output", tmp_path, "--domain-id", domain_id)
    robot.until(lambda: bool(robot.client.count_publishers("/scene_camera/image")), "the camera is up")
    demo.send_signal(signal.SIGTERM)
    assert demo.wait(PATIENCE_S) == 130
    robot.until(lambda: not robot.client.count_publishers("/scene_camera/image"), "the camera is gone")
