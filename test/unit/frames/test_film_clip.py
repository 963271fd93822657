"""A film as one clip: frames of all of it, at their own times."""

from __future__ import annotations

import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from recorded_bags import START_S, camera, image, write_bag

from vlm_perception.errors import ImageError
from vlm_perception.frames.bags import open_bag
from vlm_perception.frames.film_clip import FilmSampling, watch_bag, watch_film


def write(path: Path, times_s: Sequence[float]) -> Path:
    """Write frames whose grey is their number."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for index, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index, np.uint8), format="rgb24")
            frame.time_base, frame.pts = stream.codec_context.time_base, round(time_s * 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def even(count: int, rate_hz: float = 10.0) -> list[float]:
    return [index / rate_hz for index in range(count)]


# Times of the film's frames, rate and most frames that are asked for, and the clip's times.
FILMS = {
    "as fast as asked": (even(40), 2.0, 64, [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]),
    "longer than there is room": (even(200), 2.0, 8, [0.0, 2.5, 5.0, 7.5, 10.0, 12.5, 15.0, 17.5]),
    "short": (even(4), 2.0, 64, [0.0, 0.1, 0.2, 0.3]),
    "two frames": (even(2), 20.0, 64, [0.0, 0.1]),
    "one frame": (even(1), 2.0, 64, [0.0]),
}


@pytest.mark.parametrize(("times_s", "rate_hz", "most", "seen_s"), FILMS.values(), ids=FILMS)
def test_frames_are_spread_over_the_whole_film(
    tmp_path: Path, times_s: list[float], rate_hz: float, most: int, seen_s: list[float]
) -> None:
    path = write(tmp_path / "film.mkv", times_s)
    before_s = time.monotonic()
    clip, index = watch_film(path, FilmSampling(rate_hz, most, 1), pytest.fail)
    assert before_s <= clip.frames[-1].received_s <= time.monotonic()
    assert [frame.received_s - clip.frames[0].received_s for frame in clip.frames] == pytest.approx(clip.times_s)
    assert clip.times_s == pytest.approx(seen_s, abs=0.11)
    assert times_s[index] == pytest.approx(seen_s[-1], abs=0.11)
    assert clip.frames[-1].image_wh == (64, 48)
    assert [frame.image_wh for frame in clip.frames[:-1]] == [(2, 1)] * (len(seen_s) - 1)


def test_uneven_times_stay_what_they_are(tmp_path: Path) -> None:
    times_s = [0.0, 0.3, 1.4, 1.5, 4.0, 4.1]
    clip, index = watch_film(write(tmp_path / "film.mkv", times_s), FilmSampling(30.0, 64, 1), pytest.fail)
    assert all(min(abs(time_s - own_s) for own_s in times_s) < 1e-3 for time_s in clip.times_s)
    assert clip.times_s[0] == 0.0
    assert index >= 4


def test_what_is_no_film_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.mp4").write_bytes(b"nothing")
    with pytest.raises(ImageError):
        watch_film(tmp_path / "no.mp4", FilmSampling(2.0, 8, 1))


def test_an_animation_is_a_film(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 48), (grey, 0, 0)) for grey in range(0, 200, 20)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    clip, _ = watch_film(tmp_path / "a.gif", FilmSampling(5.0, 64, 1), pytest.fail)
    assert clip.times_s == pytest.approx([0.0, 0.3, 0.5, 0.8], abs=0.01)


def test_a_bag_is_one_clip_at_the_times_of_its_stamps(tmp_path: Path) -> None:
    """The recorder took a twentieth longer than the camera."""
    recorded = [(topic, after_ns + after_ns // 20, message) for topic, after_ns, message in camera(20)]
    recorded[20] = (*recorded[20][:2], image(10, "no encoding"))
    path, notes = write_bag(tmp_path / "drive", recorded), list[str]()
    with open_bag(path, pytest.fail) as bag:
        clip, index, recorded_ns = watch_bag(bag, "/camera/image_raw", FilmSampling(30.0, 64, 1), notes.append)
    stamps_s = [each.header.stamp_sec - START_S + each.header.stamp_nanosec * 1e-9 for each in clip.frames]
    assert clip.times_s == pytest.approx(stamps_s, abs=1e-6)
    assert index == round(stamps_s[-1] * 10) == 19
    assert recorded_ns == START_S * 10**9 + 19 * 105 * 10**6
    assert {frame.camera for frame in clip.frames} == {"/camera/image_raw"}
    assert [frame.image_wh for frame in clip.frames] == [(2, 1)] * (len(clip.frames) - 1) + [(64, 48)]
    assert [note.partition(":")[0] for note in notes] == [f"image 10 of /camera/image_raw of {path}"]


def test_a_bag_without_stamps_is_one_clip_at_the_times_of_its_recording(tmp_path: Path) -> None:
    recorded = []
    for topic, after_ns, message in camera(20):
        if topic != "/words":
            message.header.stamp.sec = message.header.stamp.nanosec = 0
        recorded.append((topic, after_ns, message))
    with open_bag(write_bag(tmp_path / "drive", recorded), pytest.fail) as bag:
        clip, *_ = watch_bag(bag, "/camera/image_raw", FilmSampling(10.0, 64, 1), pytest.fail)
    assert len(clip.times_s) > 10
    assert clip.times_s == pytest.approx([round(time_s, 1) for time_s in clip.times_s], abs=1e-6)
