"""A model that fails or talks nonsense, and images of extreme sizes on a real one.

docs/troubleshooting.md lists all faults.

A model that hangs: test_recovery.py. One that cannot be loaded: test_node.py.
"""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import Image
from small_memory import TINY
from visualization_msgs.msg import ImageMarker

from vlm_perception.engines.factory import open_engine
from vlm_perception.errors import GeometryError, InferenceError, VlmPerceptionError

BOX = '[{"bbox_2d": [2, 4, 11, 20], "label": "cup"}]'


class PanicException(BaseException):
    """What a panic in a library's Rust code becomes in Python; tokenizers and safetensors have such code."""


FAILURES = {
    "bug": (RuntimeError("index 7 is out of bounds"), "internal_error"),
    "inference": (InferenceError("tiny failed on a (42, 28) frame"), "inference_error"),
    "geometry": (GeometryError("the image is too thin"), "bad_geometry"),
    "no memory": (MemoryError(), "internal_error"),
    "unicode": (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "internal_error"),
    "panic": (PanicException("called `Option::unwrap()` on a `None` value"), "inference_error"),
    "exit": (SystemExit(3), "inference_error"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_the_engine_raises(talk, scripted, name):
    error, cause = FAILURES[name]

    def fail(request, should_stop, on_text):
        on_text(BOX[:9], ())
        raise error

    good, scripted.answer = scripted.answer, fail
    t = talk(scripted, prompt="red cup")
    said = t.show_until(t.logs, lambda m: f"dropped ({cause}, " in m.msg).msg
    assert str(error) in said
    if not isinstance(error, VlmPerceptionError):
        assert type(error).__name__ in said
    assert ("Traceback" in said) == (cause == "internal_error")
    scripted.answer = good
    t.lives(900, f"dropped: {cause}")
    assert len([m for m in t.logs.messages if f"dropped ({cause}, " in m.msg]) == 1, "throttled"


def test_the_engine_raises_when_it_is_freed(robot, talk, scripted):
    """Told, and no reason not to load it again."""
    good, scripted.close = scripted.close, lambda: (_ for _ in ()).throw(OSError("driver gone"))
    t = talk(scripted, prompt="red cup")

    def change(label: str) -> bool:
        return robot.call(ChangeState, "change_state", ChangeState.Request(transition=Transition(label=label))).success

    assert change("deactivate")
    assert not change("cleanup")
    t.logs.wait_for(lambda m: "driver gone" in m.msg)
    scripted.close = good
    robot.until(lambda: t.node.state.label in ("inactive", "unconfigured"), "a state to go on from")
    for label in ("cleanup", "configure") if t.node.state.label == "inactive" else ("configure",):
        assert change(label)
    assert change("activate")
    t.lives(900)


NOISE = {
    "NUL": "\0" * 1000 + BOX.replace("cup", "c\0u\\u0000p"),
    "lone surrogates": "\ud800\udfff" + BOX.replace("cup", "c\ud800\\udc00p"),
    "1 MB of bytes": random.Random(0).randbytes(10**6).decode("utf-8", "replace"),
    "1 MB of brackets": "".join(random.Random(1).choices("{}[]\"',:0123456789 bbox_2d", k=10**6)),
    "1 MB of one bracket": "[" * 10**6,
    "1 MB in a name": BOX.replace("cup", "x" * 10**6),
    "1 MB of words": "一 word " * 150_000,
}


@pytest.mark.parametrize("name", NOISE)
def test_the_engine_returns_noise(robot, talk, scripted, name):
    def say(request, should_stop, on_text):
        # In pieces, as a model writes, but not a million of them.
        for start in range(0, len(NOISE[name]), 997):
            on_text(NOISE[name][start : start + 997], ())
        return replace(scripted.blank_answer(request), text=NOISE[name], finish_reason="stop")

    good, scripted.answer = scripted.answer, say
    t = talk(scripted, prompt="red cup", publish_partial=True)
    pictures = robot.hear("/vlm_perception/annotated_image", Image)
    markers = robot.hear("/vlm_perception/markers", ImageMarker)
    message = t.show(7)
    answer = json.loads(t.answers.wait_for(lambda m: not json.loads(m.data)["partial"]).data)
    assert (answer["stamp"]["sec"], answer["finish_reason"]) == (7, "stop")
    assert len(answer["raw_text"]) == len(NOISE[name])
    assert t.detections.wait_for().header == message.header
    pictures.wait_for(lambda m: m.header == message.header)
    markers.wait_for(lambda m: m.header == message.header)
    scripted.answer = good
    values = t.lives(900)["diagnostics"]
    assert not [key for key in values if key.startswith("errors: ") or "error" in key]


@pytest.fixture(scope="module")
def senseless(tmp_path_factory) -> Path:
    """The tiny checkpoint with weights that were never trained: its replies are bytes of every kind."""
    import torch
    from transformers import AutoConfig, Qwen2_5_VLForConditionalGeneration

    folder = tmp_path_factory.mktemp("senseless") / "model"
    shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(AutoConfig.from_pretrained(TINY))
    with torch.no_grad():
        model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) * 5)
        for parameter in model.model.language_model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    model.config.tie_word_embeddings = False
    model.config.text_config.tie_word_embeddings = False
    model.save_pretrained(folder)
    return folder


def test_a_real_model_that_talks_nonsense(talk, senseless):
    t = talk(open_engine(senseless, device="cpu"), prompt="red cup", max_new_tokens=100)
    for number in range(1, 4):
        t.show(number, np.random.default_rng(number).integers(0, 256, (120, 160, 3), np.uint8))
        assert t.answer_to(number)["raw_text"]
    t.lives(900)


def test_images_of_1x1_and_8000x6000(robot, talk):
    t = talk(open_engine(TINY, device="cpu"), prompt="all objects", max_new_tokens=16)
    pictures = robot.hear("/vlm_perception/annotated_image", Image)
    for number, wh in enumerate([(1, 1), (8000, 6000), (1, 150), (1, 1)], start=1):
        message = t.show(number, np.full((wh[1], wh[0], 3), 90, np.uint8))
        answer = t.answer_to(number)
        assert answer["image_wh"] == list(wh)
        for item in answer["objects"]:
            left, top, right, bottom = item["bbox_xyxy"]
            assert 0 <= left < right <= wh[0]
            assert 0 <= top < bottom <= wh[1]
        drawn = pictures.wait_for(lambda m, wanted=message: m.header == wanted.header)
        assert drawn.width == wh[0]
        assert wh[1] <= drawn.height <= 1.25 * wh[1], "a bar with the words may be below"
    # Thinner than the family allows: no answer, and the reason.
    robot.until(
        lambda: (
            bool(t.show(5, np.zeros((1, 900, 3), np.uint8)))
            and any("aspect ratio" in m.msg and "900" in m.msg for m in t.logs.messages)
        ),
        "it is refused",
    )
    t.lives(900, "dropped: bad_geometry")
