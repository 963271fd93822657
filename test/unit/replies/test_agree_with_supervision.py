"""Wherever supervision reads a reply rightly, our parser reads the same; and where it does not."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import supervision as sv
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.replies.reader import parse_answer

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
    unique_by=lambda item: item["label"],
)


def theirs(text: str) -> sv.Detections:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # supervision announces renamed things
        return sv.Detections.from_vlm(sv.VLM.QWEN_2_5_VL, text, input_wh=MODEL_WH, resolution_wh=IMAGE_WH)


@given(
    items,
    st.sampled_from([None, 4, "\t"]),
    st.sampled_from(["```json\n{}\n```", "{}", "{}\n", "Here:\n```json\n{}\n```"]),
)
def test_well_formed_replies_are_read_alike(
    boxes: list[dict[str, object]], indent: str | int | None, around: str
) -> None:
    text = around.replace("{}", json.dumps(boxes, indent=indent, ensure_ascii=False))
    ours = parse_answer(text, model_wh=MODEL_WH, image_wh=IMAGE_WH)
    detections = theirs(text)
    assert ours.rejects == ()
    np.testing.assert_allclose([found.xyxy for found in ours.objects], detections.xyxy, rtol=1e-5, atol=0.01)
    assert [found.label for found in ours.objects] == list(detections.data["class_name"])


CAT = '{"bbox_2d": [1, 2, 30, 40], "label": "cat"}'
DOG = '{"bbox_2d": [5, 6, 70, 80], "label": "dog"}'

# reply, objects in it, what supervision 0.31.2 makes of it; docs/answers.md tells the same in words.
# When supervision learns one of these, its row fails and can go.
NOT_RIGHT: list[tuple[str, int, int | type[Exception]]] = [
    (CAT, 1, 0),  # a lone object
    (f"[{CAT}]\n[{DOG}]", 2, 0),  # several lists
    (f"See [here]: [{CAT}]", 1, 0),  # brackets in prose
    (f"[[{CAT}]]", 1, 0),  # a list in a list
    (f'{{"a": [1], "objects": [{CAT}]}}', 1, 0),  # a wrapper with another list in it
    ('[{"point_2d": [7, 8], "label": "eye"}]', 1, 0),  # points
    ('[{"bbox": [1, 2, 30, 40], "label": "cat"}]', 1, 0),  # another key
    ('[{"bbox_2d": [1, 2, 30, 40]}]', 1, 0),  # no label
    (f'[{CAT}, {{"bbox_2d": [5, 6, }}, {DOG}]', 2, 0),  # one broken item
    ('[{"bbox_2d": [1, 2, 30, 40], "label": "a "big" cat"}]', 1, 0),  # quotes nobody escaped
    (f'[{CAT}, {{"bbox_2d": ["1a", 2, 3, 4], "label": "x"}}]', 1, ValueError),  # a word for a number
    (f'[{CAT}, {{"bbox_2d": [1, 2, 3], "label": "x"}}]', 1, Exception),  # three numbers
    (f'[{CAT}, {{"bbox_2d": null, "label": "x"}}]', 1, Exception),  # no numbers
    (f'[{CAT}, {{"bbox_2d": [NaN, 2, 3, 4], "label": "x"}}]', 1, ValueError),  # not a number
    (f'[{CAT}, {{"bbox_2d": [9, 9, 9, 9], "label": "x"}}]', 1, 2),  # no area
    (f"[{CAT}, {CAT}]", 1, 2),  # a repetition
]


@pytest.mark.parametrize(("text", "objects", "supervision"), NOT_RIGHT)
def test_where_supervision_is_not_right(text: str, objects: int, supervision: int | type[Exception]) -> None:
    assert len(parse_answer(text, model_wh=MODEL_WH, image_wh=IMAGE_WH).objects) == objects
    if isinstance(supervision, int):
        assert len(theirs(text)) == supervision
    else:
        with pytest.raises(supervision):
            theirs(text)


def test_supervision_does_not_clip() -> None:
    text = '[{"bbox_2d": [600, 400, 900, 900], "label": "cat"}]'
    assert theirs(text).xyxy[0, 2] > IMAGE_WH[0]
    assert parse_answer(text, model_wh=MODEL_WH, image_wh=IMAGE_WH).objects[0].xyxy is not None
    assert (parse_answer(text, model_wh=MODEL_WH, image_wh=IMAGE_WH).objects[0].xyxy or ())[2:] == IMAGE_WH
