"""Real image messages with any content, through the very calls the node's image callback makes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fuzz_images import COMPRESSED, IMAGES, FuzzCompressed, FuzzImage
from fuzz_messages import message_of
from fuzz_profile import fuzz
from fuzz_values import REPLIES
from hypothesis import given
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray
from vlm_perception_msgs.msg import Answer as AnswerMessage

from vlm_perception.errors import ImageError
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.replies.reader import AnswerReader
from vlm_perception.replies.texts import TextReader
from vlm_perception.ros.goals import answer_message
from vlm_perception.ros.image_messages import pending_frame
from vlm_perception.ros.outputs.marker_messages import marker_message
from vlm_perception.ros.outputs.result_messages import answer_json, detections_message, header_message
from vlm_perception.types import Answer, Frame, FrameHeader, PixelBudget, Request, Result, Timings


@fuzz
@given(IMAGES | COMPRESSED)
def test_any_message_gives_a_frame_with_its_own_header_or_an_image_error(image: FuzzImage | FuzzCompressed) -> None:
    message = message_of(image)
    try:
        frame = pending_frame(message, "/front/image", 1.0).read()
    except ImageError as error:
        assert (str(error)[:14], error.cause.isidentifier()) == ("/front/image: ", True)  # noqa: PT017 - a frame is as good
        return
    assert (frame.rgb.ndim, frame.rgb.shape[2], frame.rgb.dtype) == (3, 3, np.uint8)
    assert header_message(frame.header) == message.header


@pytest.mark.parametrize("kind", [AnswerReader, TextReader])
@fuzz
@given(REPLIES)
def test_any_reply_goes_over_the_wire(kind: type[AnswerReader | TextReader], text: str) -> None:
    wh = (60, 40)
    reader = kind(model_wh=wh, image_wh=wh, coordinates="absolute")
    reader.feed(text)
    parsed = reader.finish()
    frame = Frame(np.zeros((40, 60, 3), np.uint8), FrameHeader(1, 2, "camera"), "/image", 0.0)
    request = Request(frame, build_prompt("cup"), PixelBudget(3136, 50176), 10)
    answer = Answer(text, wh, "absolute", "stop", (), Timings(0.0, 0.0, 0.0))
    result = Result(request, answer, parsed.objects, parsed.rejects, parsed.text)
    told = deserialize_message(serialize_message(answer_message(result, None, 1.0, None)), AnswerMessage)
    assert (len(told.detections.detections), len(told.rejects)) == (len(parsed.objects), len(parsed.rejects))
    arrived = deserialize_message(serialize_message(detections_message(result)), Detection2DArray)
    assert len(arrived.detections) == len(parsed.objects)
    serialize_message(marker_message(result))
    line = deserialize_message(serialize_message(String(data=answer_json(result, 1.0, None))), String).data
    assert len(json.loads(line)["objects"]) == len(parsed.objects)
