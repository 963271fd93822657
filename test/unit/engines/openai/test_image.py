"""The image that a server gets."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from vlm_perception.engines.openai.image import ImageFormat, encode_image
from vlm_perception.engines.probe_card import draw_card

FRAME = draw_card().frame


@pytest.mark.parametrize(("image_format", "largest_error"), [("png", 0), ("jpeg", 24)])
def test_a_file_holds_exactly_the_planned_pixels(image_format: ImageFormat, largest_error: int) -> None:
    data = encode_image(FRAME, FRAME.image_wh, image_format)
    image = Image.open(BytesIO(data))
    assert image.format == image_format.upper()
    off = np.abs(np.asarray(image.convert("RGB")).astype(int) - FRAME.rgb)
    assert off.max() <= largest_error
    smaller = Image.open(BytesIO(encode_image(FRAME, (252, 196), image_format)))
    assert smaller.size == (252, 196)
    assert len(encode_image(FRAME, (252, 196), image_format)) < len(data)
