"""Raw and compressed images in and out, over DDS."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image as Picture
from robot import compressed, header
from sensor_msgs.msg import CompressedImage, Image

COMPRESSED = {"image_transport": "compressed", "camera_topic": "/image/compressed", "camera_type": CompressedImage}
RNG = np.random.default_rng(4)
RGB = np.full((28, 42, 3), (200, 10, 60), np.uint8)


def encoded(rgb: np.ndarray, file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Picture.fromarray(rgb).save(stream, file_format, **options)
    return stream.getvalue()


def depth_png() -> bytes:
    """A 16-bit grey PNG of 2x1 millimetres."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = zlib.compress(b"\0" + struct.pack(">2H", 500, 2500))
    header = struct.pack(">IIBBBBB", 2, 1, 16, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


NOISE = encoded(RNG.integers(0, 256, (96, 96, 3), np.uint8), "JPEG", quality=90)
# What is sent, as what, and what the node says of it; each is counted under the cause.
BAD = {
    "cut off": (NOISE[:-300], "rgb8; jpeg compressed bgr8", "truncated", "its end is missing"),
    "a lost piece": (NOISE[:2000] + NOISE[3400:], "jpeg", "undecodable", "pieces were lost on their way"),
    "depth": (depth_png(), "16UC1; png compressed ", "unknown_encoding", "image_transport: raw"),
    "depth by its bytes alone": (depth_png(), "png", "unknown_encoding", "compressed depth is not read"),
    "compressedDepth": (
        bytes(12) + depth_png(),
        "16UC1; compressedDepth png",
        "unknown_encoding",
        "'16UC1; compressedDepth png'",
    ),
}


@pytest.mark.parametrize(("data", "declared", "cause", "said"), BAD.values(), ids=BAD)
def test_a_bad_compressed_image_is_counted_and_named_and_the_next_is_answered(
    robot, talk, scripted, data, declared, cause, said
):
    t = talk(
        scripted,
        prompt="red cup",
        image_transport="compressed",
        camera_topic="/image/compressed",
        camera_type=CompressedImage,
    )
    node = t.node
    robot.until(
        lambda: (
            t.camera.publish(compressed(data, 1, declared)) or node._shared.counters.total.report().drops.get(cause)
        ),
        "counted",
    )
    text = t.logs.wait_for(lambda m: "dropped" in m.msg).msg
    for part in ("/image/compressed", cause, said):
        assert part in text
    assert int(t.diagnostic(f"dropped: {cause}", *map(str, range(1, 1000)))[f"dropped: {cause}"]) > 0
    good = compressed(encoded(RGB, "PNG"), 2, "rgb8; png compressed bgr8")
    robot.until(lambda: t.camera.publish(good) or bool(t.detections.messages), "a good one is answered")
    assert {m.header.stamp.sec for m in t.detections.messages} == {2}
    np.testing.assert_array_equal(scripted.requests[0].frame.rgb, RGB)


def padded(samples: np.ndarray, padding: int) -> tuple[bytes, int]:
    rows = np.ascontiguousarray(samples).view(np.uint8).reshape(samples.shape[0], -1)
    return np.hstack([rows, np.full((len(rows), padding), 170, np.uint8)]).tobytes(), rows.shape[1] + padding


def test_step_and_byte_order_of_raw_messages_are_honoured(robot, talk, scripted):
    """That the message's own fields reach the conversion; the encodings are in test_encodings_against_ffmpeg.py."""
    t = talk(scripted, prompt="red cup")
    t.show_until(t.detections)
    values = RNG.integers(0, 256, (28, 42), np.uint8)
    sent = {
        50: ("bgr8", RGB[..., ::-1], False, RGB),
        60: ("mono16", (values.astype(np.uint16) * 257).astype(">u2"), True, np.stack([values] * 3, -1)),
        70: ("mono16", (values.astype(np.uint16) * 257).astype("<u2"), False, np.stack([values] * 3, -1)),
    }
    for number, (encoding, samples, big, rgb) in sent.items():
        data, step = padded(samples, 5)
        message = Image(
            header=header(number), height=28, width=42, encoding=encoding, step=step, is_bigendian=big, data=data
        )
        t.camera.publish(message)
        t.answer_to(number)
        np.testing.assert_array_equal(scripted.requests[-1].frame.rgb, rgb)


def test_the_annotated_picture_is_the_same_compressed(robot, talk, scripted):
    """Source header, the format that image_transport's own plug-in reads, and the same pixels as a JPEG keeps them."""
    scripted.reply = '[{"bbox_2d": [100, 80, 220, 200], "label": "cup"}]'
    t = talk(scripted, prompt="red cup", jpeg_quality=95)
    raw = robot.hear("/vlm_perception/annotated_image", Image)
    compressed = robot.hear("/vlm_perception/annotated_image/compressed", CompressedImage)
    grey = np.full((240, 320, 3), 128, np.uint8)
    numbers = iter(range(1, 10**6))

    def both() -> list[tuple[Image, CompressedImage]]:
        t.show(next(numbers), grey)
        with robot.changed:
            robot.changed.wait(0.05)
            drawn = {m.header.stamp.sec: m for m in raw.messages}
            return [(drawn[m.header.stamp.sec], m) for m in compressed.messages if m.header.stamp.sec in drawn]

    robot.until(lambda: bool(both()), "one frame in both")
    ((image, jpeg), *_) = both()
    assert jpeg.header == image.header
    assert jpeg.header.frame_id == "camera_optical"
    assert jpeg.format == "rgb8; jpeg compressed bgr8"
    ours = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3).astype(int)
    theirs = np.asarray(Picture.open(io.BytesIO(bytes(jpeg.data))), int)
    assert Picture.open(io.BytesIO(bytes(jpeg.data))).format == "JPEG"
    assert np.abs(ours[:240] - 128).max() > 50, "something is drawn"
    assert np.abs(ours - theirs).mean() < 3
    # Channels in their order: where the box is coloured, both are coloured alike.
    coloured = np.ptp(ours, axis=-1) > 60
    assert np.abs((ours - theirs)[coloured]).mean() < 20
