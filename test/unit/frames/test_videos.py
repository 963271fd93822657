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
from vlm_perception.frames.videos import ALL_FRAMES, Thinning, VideoFrame, expected_frames, read_video, video_rate_hz

RATE_HZ = 10.0
FRAMES = 12
EVEN_S = [index / RATE_HZ for index in range(FRAMES)]


def write(path: Path, times_s: Sequence[float] = EVEN_S, codec: str = "mjpeg", **options: str) -> Path:
    """Write frames that grow lighter by 20 steps of grey each."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000 if path.suffix == ".mkv" else 10)
        for index, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index * 20, np.uint8), format="rgb24")
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
