"""Whole processes with real models: the tiny checkpoints, signals, and the demo."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from checkout import SHIPPED
from scripted_engine import PATIENCE_S
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

from vlm_perception.startup.arguments import resolve_model

TINY = Path(resolve_model("tiny"))
COMMAND = ("-m", "vlm_perception.startup.commands")


def end(process, number):
    """Send a signal, and return the exit code and what was said."""
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE_S)
    return process.returncode, errors


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


def test_a_signal_in_mid_generation_ends_the_node_cleanly(robot, talk, endless_model):
    node = robot.start(
        *COMMAND,
        *("vlm_perception_node", "--ros-args", "-p", f"model:={endless_model}", "-p", "max_new_tokens:=32768"),
        *("-p", "prompt:=red cup", "-p", "diagnostics_period_s:=0.1", "-p", "max_rate_hz:=100.0"),
    )
    t = talk()
    frame = np.zeros((112, 112, 3), np.uint8)
    # Frames are replaced only while the model is busy with another one.
    robot.until(lambda: t.show(1, frame) and t.dropped("replaced"), "the model is busy")
    assert t.detections.messages == []
    code, said = end(node, signal.SIGTERM)
    assert (code, "Traceback" in said) == (0, False), said


def test_an_interrupt_while_the_model_loads_ends_a_node_that_a_shell_has_put_in_the_background(robot):
    logs = robot.hear_log()
    line = [*COMMAND, "vlm_perception_node", "--ros-args", "-p", f"model:={TINY}"]
    node = robot.start(*line, in_background=True)
    logs.wait_for(lambda m: "loading the model" in m.msg)
    code, said = end(node, signal.SIGINT)
    assert (code, "Traceback" in said) == (0, False), said


def test_a_parameter_that_cannot_be_used_ends_the_start_with_one_message(robot):
    node = robot.start(*COMMAND, "vlm_perception_node", "--ros-args", "-p", "max_rate_hz:=-1.0")
    _, errors = node.communicate(timeout=PATIENCE_S)
    assert (node.returncode, "max_rate_hz" in errors, "Traceback" in errors) == (1, True, False)


@pytest.mark.parametrize("model", SHIPPED, ids=lambda folder: folder.name)
def test_the_tiny_model_answers_the_drawn_camera(robot, model):
    """The main path on real parts: camera, DDS, node, a real model, and back."""
    robot.start(
        *COMMAND, "scene_camera", "--ros-args", *("-p", "seed:=1748", "-p", "n_objects:=4", "-p", "rate_hz:=5.0")
    )
    robot.start(
        *(*COMMAND, "vlm_perception_node", "--ros-args"),
        *("-p", f"model:={model}", "-r", "image:=/scene_camera/image", "-p", "prompt:=all objects"),
    )
    truths = robot.hear("/scene_camera/truth_json", String)
    detections = robot.hear("/vlm_perception/detections", Detection2DArray)
    answers = robot.hear("/vlm_perception/answer", String)
    active = robot.hear("/vlm_perception/active_prompt", String)
    first = detections.wait_for()
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


@pytest.mark.parametrize("model", [folder.name for folder in SHIPPED])
def test_the_demo_leaves_pictures_a_summary_and_no_processes(robot, tmp_path, model):
    line = [*COMMAND, "vlm-perception-demo", "--output", tmp_path, "--domain-id", robot.domain_id, "--model", model]
    demo = robot.start(*line, stdout=subprocess.PIPE)
    output, errors = demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == 0, output + errors
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert len({row["prompt"] for row in summary}) == 5
    assert len(list(tmp_path.glob("*.png"))) == 5
    for row in summary:
        assert set(row) == {"prompt", "found", "mean_iou", "frame_age_ms", "latency_ms", "place_error_m"}
        assert row["prompt"] in output
        assert row["latency_ms"] > 0
        assert row["frame_age_ms"] >= row["latency_ms"] - 50
    assert sum(row["found"] for row in summary) > 0
    # Whatever is answered late was placed by the depth and the transform of its own image.
    errors_m = [row["place_error_m"] for row in summary if row["place_error_m"] is not None]
    assert errors_m
    assert max(errors_m) < 0.05


def test_a_demo_in_the_background_that_is_interrupted_ends_its_children(robot, tmp_path):
    line = [*COMMAND, "vlm-perception-demo", "--output", tmp_path, "--domain-id", robot.domain_id]
    demo = robot.start(*line, in_background=True)
    robot.until(lambda: robot.client.count_publishers("/scene_camera/image"), "the camera is up")
    assert end(demo, signal.SIGINT)[0] == 130
    robot.until(lambda: not robot.client.count_publishers("/scene_camera/image"), "the camera is gone")
