"""Real image messages with any content, through the very calls the node's image callback makes."""

from __future__ import annotations

import numpy as np
from fuzz_images import COMPRESSED, IMAGES, FuzzCompressed, FuzzImage
from fuzz_messages import message_of
from fuzz_profile import fuzz
from hypothesis import given

from vlm_perception.errors import ImageError
from vlm_perception.ros.image_messages import arrival_of
from vlm_perception.ros.result_messages import header_message


@fuzz
@given(IMAGES | COMPRESSED)
def test_any_message_gives_a_frame_with_its_own_header_or_an_image_error(image: FuzzImage | FuzzCompressed) -> None:
    message = message_of(image)
    try:
        frame = arrival_of(message, "/front/image", 1.0).read()
    except ImageError as error:
        assert (str(error)[:14], error.cause.isidentifier()) == ("/front/image: ", True)  # noqa: PT017 - a frame is as good
        return
    assert (frame.rgb.ndim, frame.rgb.shape[2], frame.rgb.dtype) == (3, 3, np.uint8)
    assert header_message(frame.header) == message.header
