"""Wherever supervision reads a reply rightly, our parser reads the same."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import supervision as sv
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.answers import parse_answer

MODEL_WH, IMAGE_WH = (644, 476), (1280, 720)

items = st.lists(
    st.builds(
        lambda x, y, w, h, label: {"bbox_2d": [x, y, x + w, y + h], "label": label},
        st.integers(0, 600),
        st.integers(0, 440),
        st.integers(1, 44),
        st.integers(1, 36),
        st.text(alphabet="abcdef 红圆", min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda item: (item["label"], *item["bbox_2d"]),
)


def theirs(text: str) -> sv.Detections:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # supervision announces renamed things
        return sv.Detections.from_vlm(sv.VLM.QWEN_2_5_VL, text, input_wh=MODEL_WH, resolution_wh=IMAGE_WH)


@given(items, st.sampled_from([None, 4, "\t"]))
def test_well_formed_replies_are_read_alike(boxes: list[dict[str, object]], indent: str | int | None) -> None:
    text = f"```json\n{json.dumps(boxes, indent=indent, ensure_ascii=False)}\n```"
    ours = parse_answer(text, model_wh=MODEL_WH, image_wh=IMAGE_WH)
    detections = theirs(text)
    assert ours.rejects == ()
    np.testing.assert_allclose([found.xyxy for found in ours.objects], detections.xyxy, rtol=1e-5, atol=0.01)
    assert [found.label for found in ours.objects] == list(detections.data["class_name"])


CAT = '{"bbox_2d": [1, 2, 30, 40], "label": "cat"}'


@pytest.mark.parametrize("text", [CAT, f"See [here]: [{CAT}]", f"[[{CAT}]]"])
def test_forms_that_supervision_loses_are_read(text: str) -> None:
    # When supervision learns one of these, this test tells, and the comparison above can grow.
    assert len(theirs(text)) == 0
    assert len(parse_answer(text, model_wh=MODEL_WH, image_wh=IMAGE_WH).objects) == 1
