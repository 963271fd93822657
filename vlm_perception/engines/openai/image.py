"""The image that a server gets: brought to the size that the model is to see, and written as a file."""

from __future__ import annotations

from io import BytesIO
from typing import Literal

from PIL import Image

from vlm_perception.types import WH, Frame

ImageFormat = Literal["jpeg", "png"]
# Chroma in full: thin coloured things keep their colours.
_OPTIONS = {"jpeg": {"quality": 95, "subsampling": 0}, "png": {"compress_level": 1}}


def encode_image(frame: Frame, model_wh: WH, image_format: ImageFormat) -> bytes:
    """Resize as the family's own processors do, by Pillow's bicubic filter, and encode.

    Args:
        frame: The camera image.
        model_wh: Width and height to which it is brought, pixels.
        image_format: "png" keeps every pixel, "jpeg" takes about a tenth of the bytes.
    """
    image = Image.fromarray(frame.rgb)
    if image.size != model_wh:
        image = image.resize(model_wh, Image.Resampling.BICUBIC)
    encoded = BytesIO()
    image.save(encoded, image_format, **_OPTIONS[image_format])
    return encoded.getvalue()
