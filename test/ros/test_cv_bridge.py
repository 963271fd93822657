"""Encodings that we do not know go through cv_bridge where it is present and sound, in the form of its interface."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from vlm_perception.errors import ImageError
from vlm_perception.ros import cv_bridge_images
from vlm_perception.ros.image_messages import image_message, pending_frame, rgb_of

# What the real one has of it: `CvBridge().imgmsg_to_cv2(message, desired_encoding)` and CvBridgeError.
SOUND = """
import numpy as np

class CvBridgeError(TypeError):
    pass

class CvBridge:
    def imgmsg_to_cv2(self, img_msg, desired_encoding="passthrough"):
        data = np.frombuffer(img_msg.data, np.uint8)
        if img_msg.encoding == "64FC1":
            if desired_encoding == "rgb8":
                raise CvBridgeError("[64FC1] is not a color format. but [rgb8] is.")
            return data.view("<f8").reshape(img_msg.height, img_msg.width)
        if img_msg.encoding == "bgr8" and desired_encoding == "rgb8":
            return data.reshape(img_msg.height, img_msg.width, 3)[..., ::-1]
        if img_msg.encoding == "gbr8" and desired_encoding == "rgb8":
            return data.reshape(img_msg.height, img_msg.width, 3)[..., [2, 0, 1]]
        if img_msg.encoding == "small":
            return np.zeros((1, 1, 3), np.uint8)
        raise CvBridgeError(f"Unrecognized image encoding [{img_msg.encoding}]")
"""
ABI = "A module that was compiled using NumPy 1.x cannot be run in NumPy 2"
UNSOUND = {
    "raises": f"raise ImportError({ABI!r})",
    "aborts": "import os\nos.abort()",
    "compiled half": SOUND.replace("data = np", f"raise ImportError({ABI!r})\n        data = np"),
    "without its interface": "",
}


def an_image(encoding: str, data: np.ndarray, width: int = 3) -> Image:
    raw = np.ascontiguousarray(data).tobytes()
    height = 2
    return Image(
        header=Header(frame_id="camera"),
        height=height,
        width=width,
        encoding=encoding,
        step=len(raw) // height,
        data=raw,
    )


NUMBERS = np.arange(18, dtype=np.uint8)
GBR = an_image("gbr8", NUMBERS)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a package named cv_bridge where this process and its children find it."""

    def forget() -> None:
        cv_bridge_images._is_installed.cache_clear()
        cv_bridge_images._bridge.cache_clear()

    def put(code: str) -> None:
        (tmp_path / "cv_bridge").mkdir()
        (tmp_path / "cv_bridge" / "__init__.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        forget()

    forget()
    yield put
    sys.modules.pop("cv_bridge", None)
    forget()


def test_an_encoding_that_we_do_not_know_is_read_by_cv_bridge(installed) -> None:
    installed(SOUND)
    frame = pending_frame(GBR, "/image", 1.0).read()
    np.testing.assert_array_equal(frame.rgb, NUMBERS.reshape(2, 3, 3)[..., [2, 0, 1]])
    assert (frame.rgb.flags.c_contiguous, frame.header.frame_id) == (True, "camera")


def test_what_is_no_colour_to_cv_bridge_is_stretched_as_depth_is(installed) -> None:
    installed(SOUND)
    metres = np.array([[1.0, 2.0, np.nan], [3.0, 0.0, 5.0]])
    ours = rgb_of(an_image("32FC1", metres.astype("<f4")))
    np.testing.assert_array_equal(rgb_of(an_image("64FC1", metres)), ours)


def test_what_we_know_never_goes_there(installed) -> None:
    installed(UNSOUND["aborts"])
    rgb = NUMBERS.reshape(2, 3, 3)
    np.testing.assert_array_equal(rgb_of(image_message(rgb, Header())), rgb)
    assert "cv_bridge" not in sys.modules


@pytest.mark.parametrize("how", UNSOUND)
def test_one_that_is_not_sound_is_tried_once_and_quietly(
    installed, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    installed(UNSOUND[how])
    with pytest.raises(ImageError, match=r"/image: unknown image encoding .*'gbr8'") as caught:
        pending_frame(GBR, "/image", 1.0).read()
    assert caught.value.cause == "unknown_encoding"
    assert "cv_bridge" not in sys.modules
    # From now on the message is refused when it comes.
    with pytest.raises(ImageError):
        pending_frame(GBR, "/image", 1.0)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("encoding", "said"), [("rbg8", "Unrecognized image encoding"), ("small", "is no picture")])
def test_what_it_cannot_read_either_is_refused_in_its_words(installed, encoding: str, said: str) -> None:
    installed(SOUND)
    with pytest.raises(ImageError, match=f"cv_bridge cannot read it either: .*{said}") as caught:
        rgb_of(an_image(encoding, NUMBERS))
    assert caught.value.cause == "unknown_encoding"


def test_a_message_that_contradicts_itself_is_refused_before(installed) -> None:
    installed(SOUND)
    with pytest.raises(ImageError) as caught:
        pending_frame(Image(encoding="gbr8"), "/image", 1.0)
    assert caught.value.cause == "zero_size"


def test_without_cv_bridge_it_is_refused_when_it_comes(installed) -> None:
    with pytest.raises(ImageError) as caught:
        pending_frame(GBR, "/image", 1.0)
    assert caught.value.cause == "unknown_encoding"
