from __future__ import annotations

import json

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from vlm_perception.apps.cameras.scene_camera import truth_message
from vlm_perception.errors import ImageError
from vlm_perception.frames.bag_detections import read_detections
from vlm_perception.frames.bags import BagMessage
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.ros.image_messages import image_message, pending_frame, rgb_of
from vlm_perception.ros.outputs.result_messages import answer_json, detections_message
from vlm_perception.scenes import MovingScene
from vlm_perception.types import (
    Answer,
    DetectedObject,
    Frame,
    FrameHeader,
    PixelBudget,
    Reject,
    Request,
    Result,
    Timings,
)

HEADER = Header(stamp=Time(sec=2**31 - 1, nanosec=999_999_999), frame_id="kamera/光学")


def result_with(*objects: DetectedObject, text: str = "") -> Result:
    header = FrameHeader(HEADER.stamp.sec, HEADER.stamp.nanosec, HEADER.frame_id)
    frame = Frame(np.zeros((4, 6, 3), np.uint8), header, "/image", 0.0)
    request = Request(frame, build_prompt("杯子"), PixelBudget(784, 1000), 10)
    answer = Answer(text, (28, 28), "absolute", "length", (), Timings(0.1, 0.2, 0.3))
    return Result(request, answer, objects, (Reject("no box", "{"),), text, 3)


def test_the_header_is_copied_exactly_and_survives_the_frame():
    rgb = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    arrival = pending_frame(image_message(rgb, HEADER), "/image", 1.5)
    frame = arrival.read()
    np.testing.assert_array_equal(frame.rgb, rgb)
    assert (frame.header.stamp_sec, frame.header.stamp_nanosec) == (HEADER.stamp.sec, HEADER.stamp.nanosec)
    assert frame.header.frame_id == HEADER.frame_id
    assert detections_message(result_with()).header == HEADER


def test_a_picture_that_is_not_contiguous_is_written_row_by_row():
    rgb = np.arange(144, dtype=np.uint8).reshape(4, 12, 3)[:, ::2]
    np.testing.assert_array_equal(rgb_of(image_message(rgb, HEADER)), rgb)


def test_the_pixels_of_a_frame_are_those_of_the_message_and_not_a_copy():
    message = image_message(np.arange(72, dtype=np.uint8).reshape(4, 6, 3), HEADER)
    frame = pending_frame(message, "/image", 1.5).read()
    assert np.shares_memory(frame.rgb, np.frombuffer(message.data, np.uint8))


def test_a_bad_message_names_its_topic():
    bad = Image(width=3, height=1, step=3, encoding="rgb8", data=bytes(3))
    with pytest.raises(ImageError, match=r"^/front/image: .*3x1.*step 3") as caught:
        pending_frame(bad, "/front/image", 0.0)
    assert caught.value.cause == "wrong_step"


def test_labels_cannot_break_the_message():
    named = DetectedObject("cut\0off", (0.0, 0.0, 1.0, 2.0), None, score=None)
    (detection,) = detections_message(result_with(named)).detections
    assert detection.results[0].hypothesis.class_id == "cutoff"
    assert detection.results[0].hypothesis.score == 0.0
    assert len(detection.results) == 1


def test_an_object_without_a_place_is_a_bug():
    with pytest.raises(ValueError, match="neither a box nor a point"):
        detections_message(result_with(DetectedObject("x", None, None)))


def test_the_answer_says_everything_in_plain_json():
    box = DetectedObject("杯子", (0.5, 1.0, 2.0, 3.0), None, {"sub_label": "蓝色"}, score=0.25)
    fields = json.loads(answer_json(result_with(box, text="half \ud83d pair"), latency_s=0.5, age_s=0.75))
    assert fields["prompt"] == "杯子"
    assert fields["objects"] == [
        {
            "label": "杯子",
            "score": 0.25,
            "bbox_xyxy": [0.5, 1.0, 2.0, 3.0],
            "point_xy": None,
            "attributes": {"sub_label": "蓝色"},
        }
    ]
    assert fields["raw_text"] == "half ? pair"
    assert (fields["count"], fields["rejects"]) == (3, [{"reason": "no box", "text": "{"}])
    assert fields["stamp"] == {"sec": HEADER.stamp.sec, "nanosec": HEADER.stamp.nanosec}
    assert (fields["image_wh"], fields["model_wh"], fields["finish_reason"]) == ([6, 4], [28, 28], "length")
    assert fields["truncated"]
    assert (fields["camera"], fields["frame_id"]) == ("/image", HEADER.frame_id)
    assert (fields["partial"], fields["score"]["fitted_on"], fields["count_agrees"]) == (False, None, None)
    assert fields["timings"] == {
        "preprocess_s": 0.1,
        "generate_s": 0.2,
        "decode_s": 0.3,
        "first_object_s": None,
        "prefill_s": 0.0,
        "zoom_s": 0.0,
        "latency_s": 0.5,
        "age_s": 0.75,
    }


def test_what_the_drawn_camera_publishes_is_the_truth_that_evaluate_reads():
    scene = MovingScene(9001, (64, 48), 2).at(0.0)
    recorded = BagMessage("/scene_camera/truth", 0, serialize_message(truth_message(scene, HEADER)))
    boxes = [found for found in read_detections(recorded) if found.xyxy[0] < found.xyxy[2]]
    assert [found.label for found in boxes] == [truth.label for truth in scene.truths]
    for found, truth in zip(boxes, scene.truths, strict=True):
        assert found.xyxy == pytest.approx(truth.xyxy)
    image = BagMessage("/scene_camera/image", 0, serialize_message(image_message(scene.rgb, HEADER)))
    assert recorded.stamp_ns == image.stamp_ns == HEADER.stamp.sec * 10**9 + HEADER.stamp.nanosec
