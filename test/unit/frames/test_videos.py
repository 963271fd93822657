"""Videos as recorders and phones write them: uneven times, turned, cut off, or no video at all."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vlm_perception.errors import ImageError
from vlm_perception.frames.videos import (
    ALL_FRAMES,
    Thinning,
    VideoFrame,
    expected_frames,
    frame_at,
    read_video,
    video_length_s,
    video_rate_hz,
)

RATE_HZ = 10.0
FRAMES = 12
EVEN_S = [index / RATE_HZ for index in range(FRAMES)]


def write(path: Path, times_s: Sequence[float] = EVEN_S, codec: str = "mjpeg", **options: str) -> Path:
    """Write frames that grow lighter by 20 steps of grey each."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000 if path.suffix in (".mkv", ".webm") else 10)
        for index, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), min(index * 20, 255), np.uint8), format="rgb24")
            frame.time_base = stream.codec_context.time_base
            frame.pts = round(time_s / frame.time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read(path: Path, thinning: Thinning = ALL_FRAMES) -> list[VideoFrame]:
    return list(read_video(path, thinning, pytest.fail))


@pytest.mark.parametrize(
    ("name", "times_s"),
    [
        ("clip.avi", EVEN_S),
        ("clip.mp4", EVEN_S),
        ("uneven.mkv", [0.0, 0.04, 0.5, 0.52, 2.0]),
        ("late.mkv", [5.0, 5.1, 5.4]),
    ],
)
def test_every_frame_has_its_number_its_time_and_its_pixels(tmp_path: Path, name: str, times_s: list[float]) -> None:
    frames = read(write(tmp_path / name, times_s, "mpeg4" if name.endswith("mp4") else "mjpeg"))
    assert [frame.index for frame in frames] == list(range(len(times_s)))
    assert [frame.time_s for frame in frames] == pytest.approx([time_s - times_s[0] for time_s in times_s], abs=1e-3)
    assert [int(frame.rgb[20, 20, 0]) for frame in frames] == pytest.approx(
        [index * 20 for index in range(len(times_s))], abs=6
    )


@pytest.mark.parametrize(
    ("name", "times_s", "codec"),
    [
        ("clip.avi", EVEN_S, "mjpeg"),
        ("clip.mp4", EVEN_S, "mpeg4"),
        ("b_frames.mp4", EVEN_S, "libx264"),
        ("clip.ts", EVEN_S, "mpeg4"),
        ("clip.webm", EVEN_S, "libvpx"),
        ("uneven.mkv", [0.0, 0.04, 0.5, 0.52, 2.0], "mjpeg"),
        ("late.mkv", [5.0, 5.1, 5.4], "mjpeg"),
        ("raw.mjpeg", EVEN_S, "mjpeg"),
    ],
)
@pytest.mark.parametrize("time_s", [0.0, 0.05, 0.3, 0.51, 1.1, 99.0])
def test_the_frame_at_a_time_is_the_last_one_that_has_begun(
    tmp_path: Path, name: str, times_s: list[float], codec: str, time_s: float
) -> None:
    path = write(tmp_path / name, times_s, codec)
    begun = [frame for frame in read(path) if frame.time_s <= time_s + 1e-4]
    np.testing.assert_array_equal(frame_at(path, time_s), begun[-1].rgb)


@pytest.mark.parametrize("name", ["clip.avi", "clip.mp4", "clip.mkv"])
def test_a_video_says_about_how_long_it_is(tmp_path: Path, name: str) -> None:
    assert video_length_s(write(tmp_path / name, codec="mpeg4")) == pytest.approx(FRAMES / RATE_HZ, abs=0.11)


@pytest.mark.parametrize(
    ("thinning", "expected"),
    [
        (Thinning(every=5), [0, 5, 10]),
        (Thinning(every=5, max_frames=2), [0, 5]),
        (Thinning(max_frames=3), [0, 1, 2]),
        (Thinning(max_frames=99), list(range(FRAMES))),
        (Thinning(rate_hz=5.0), [0, 2, 4, 6, 8, 10]),
        # 4 Hz out of 10 Hz: the beat is kept on average, not rounded down to every third frame.
        (Thinning(rate_hz=4.0), [0, 3, 5, 8, 10]),
        (Thinning(rate_hz=1000.0), list(range(FRAMES))),
        (Thinning(rate_hz=0.1), [0]),
    ],
)
def test_a_video_is_thinned_out(tmp_path: Path, thinning: Thinning, expected: list[int]) -> None:
    path = write(tmp_path / "clip.avi")
    assert [frame.index for frame in read(path, thinning)] == expected
    assert expected_frames(path, thinning) == len(expected)
    assert video_rate_hz(path) == pytest.approx(RATE_HZ)


def test_a_phone_s_video_is_turned_upright(tmp_path: Path) -> None:
    path = write(tmp_path / "phone.mp4", codec="mpeg4")
    whole = path.read_bytes()
    # The 3x3 matrix of the track header: 40 bytes behind its version and flags.
    start = whole.index(b"tkhd") + 4 + 40
    path.write_bytes(
        whole[:start] + struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30) + whole[start + 36 :]
    )
    assert read(path)[0].rgb.shape == (64, 48, 3)


def test_a_video_that_ends_early_is_told(tmp_path: Path) -> None:
    """As after a download that broke off: the index in front promises more than there is."""
    path = write(tmp_path / "cut.mp4", codec="mjpeg", movflags="faststart")
    assert len(read(path)) == FRAMES
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    notes: list[str] = []
    count = len(list(read_video(path, note=notes.append)))
    assert 0 < count < FRAMES
    assert len(notes) == 1
    assert f"ended after {count} of {FRAMES} frames" in notes[0]


@pytest.mark.parametrize("name", ["clip.mkv", "clip.avi", "clip.mp4"])
def test_half_of_a_file_is_told_and_its_beginning_kept(tmp_path: Path, name: str) -> None:
    """Of a container that only estimates its frames, the times tell."""
    options = {"movflags": "faststart"} if name.endswith("mp4") else {}
    path = write(tmp_path / name, [index / 10 for index in range(60)], "mjpeg", **options)
    assert len(read(path)) == 60
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    notes: list[str] = []
    assert 15 < len(list(read_video(path, note=notes.append))) < 45
    assert ["damaged or was cut off" in note for note in notes] == [True]


UNEVEN = {
    "slides": [0.0, 5.0, 10.0],
    "a burst and then little": [*(index / 10 for index in range(20)), 10.0, 11.0],
    "begins late": [100.0, 100.1, 100.2],
    "one": [0.0],
}


@pytest.mark.parametrize("times_s", UNEVEN.values(), ids=UNEVEN)
@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "mpeg4"), ("a.webm", "libvpx"), ("a.mp4", "mpeg4")])
def test_a_healthy_video_of_any_rate_is_not_called_damaged(
    tmp_path: Path, name: str, codec: str, times_s: list[float]
) -> None:
    path = write(tmp_path / name, times_s, codec)
    assert [frame.time_s for frame in read(path)] == pytest.approx(
        [time_s - times_s[0] for time_s in times_s], abs=0.06 if name.endswith("mp4") else 1e-3
    )
    assert expected_frames(path, ALL_FRAMES) >= 1


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "mpeg4"), ("a.webm", "libvpx"), ("a.mp4", "mpeg4")])
def test_sound_that_goes_on_after_the_pictures_is_no_damage(tmp_path: Path, name: str, codec: str) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("libopus" if name.endswith("webm") else "aac", rate=48000, layout="mono")
        for _ in range(10):
            container.mux(video.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(video.encode(None))
        for index in range(300):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), format="fltp", layout="mono")
            sound.rate, sound.pts, sound.time_base = 48000, index * 960, Fraction(1, 48000)
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    assert len(read(path)) == 10


def test_the_cover_of_a_song_is_no_film(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        audio = container.add_stream("aac", rate=48000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), format="fltp", layout="mono")
        sound.rate = 48000
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    with pytest.raises(ImageError, match="it has no pictures"):
        read(path)


@pytest.mark.parametrize(("content", "reason"), [(b"", ""), (b"no film" * 50, ""), (None, "No such file")])
def test_what_is_no_video_is_refused_by_name_and_no_file_stays_open(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "50%: film.mp4"
    if content is not None:
        path.write_bytes(content)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ImageError, match=rf"film\.mp4.*{reason}.*convert it") as caught:
        read(path)
    assert caught.value.cause == "undecodable"
    assert expected_frames(path, ALL_FRAMES) == 1
    frames = read_video(write(path, codec="mpeg4"))
    next(frames)
    frames.close()
    assert len(os.listdir("/proc/self/fd")) == before
