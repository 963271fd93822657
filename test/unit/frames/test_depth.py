"""Depth images of every kind become the same metres, and what is none is refused with a remedy."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.errors import ImageError
from vlm_perception.frames.depth import compressed_depth_to_metres, depth_to_metres
from vlm_perception.frames.encodings import RawLayout

MILLIMETRES = np.array([[0, 1500, 65535], [250, 1, 0]], np.uint16)
METRES = np.array([[np.nan, 1.5, 65.535], [0.25, 0.001, np.nan]], np.float32)


def padded(rows: np.ndarray, step: int) -> bytes:
    return b"".join(row.tobytes().ljust(step, b"\xff") for row in rows)


@pytest.mark.parametrize("is_bigendian", [False, True])
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize(("encoding", "samples"), [("16UC1", MILLIMETRES), ("32FC1", METRES)])
def test_raw_depth_is_metres(encoding: str, samples: np.ndarray, padding: int, is_bigendian: bool) -> None:
    stored = samples.astype(samples.dtype.newbyteorder(">" if is_bigendian else "<"))
    step = 3 * samples.itemsize + padding
    metres = depth_to_metres(padded(stored, step), RawLayout(encoding, 3, 2, step, is_bigendian))
    assert metres.dtype == np.float32
    np.testing.assert_allclose(metres, METRES, rtol=1e-6)


def test_what_is_no_distance_is_nan() -> None:
    row = np.array([[np.inf, -np.inf, -1.0, 0.0, np.nan, 2.0]], np.float32)
    assert np.isnan(depth_to_metres(row.tobytes(), RawLayout("32FC1", 6, 1, 24))).tolist() == [[True] * 5 + [False]]


def png(values: np.ndarray, a: float = 0.0, b: float = 0.0) -> bytes:
    return struct.pack("<iff", 0, a, b) + cv2.imencode(".png", values)[1].tobytes()


def test_compressed_millimetres() -> None:
    metres = compressed_depth_to_metres(png(MILLIMETRES), "16UC1; compressedDepth png")
    np.testing.assert_allclose(metres, METRES, rtol=1e-6)


def test_compressed_metres_are_inverse_depth() -> None:
    # image_transport_plugins: quantization Z0 = 100, max depth 10 m: A = Z0 * (Z0 + 1), B = 1 - A / max.
    a = 100.0 * 101.0
    b = 1.0 - a / 10.0
    true = np.array([[0.5, 1.0, 3.0, 9.9]], np.float32)
    stored = np.append(np.rint(a / true + b), [[0.0]], axis=1).astype(np.uint16)
    metres = compressed_depth_to_metres(png(stored, a, b), "32FC1; compressedDepth")
    np.testing.assert_allclose(metres[:, :4], true, rtol=5e-3)
    assert np.isnan(metres[0, 4])


@pytest.mark.parametrize(
    ("data", "declared", "cause", "remedy"),
    [
        (b"", "16UC1; compressedDepth png", "truncated", "12 bytes"),
        (png(MILLIMETRES)[:-8], "16UC1; compressedDepth png", "truncated", "end is missing"),
        (png(MILLIMETRES), "16UC1; compressedDepth rvl", "unknown_encoding", "to png"),
        (png(MILLIMETRES), "bgr8; jpeg compressed bgr8", "unknown_encoding", "raw depth image"),
        (b"\0" * 80, "16UC1; compressedDepth png", "undecodable", "compressedDepth"),
        (png(MILLIMETRES.astype(np.uint8)), "16UC1; compressedDepth png", "undecodable", "compressedDepth"),
    ],
)
def test_bad_compressed_depth_names_value_and_remedy(data: bytes, declared: str, cause: str, remedy: str) -> None:
    with pytest.raises(ImageError, match=remedy) as caught:
        compressed_depth_to_metres(data, declared)
    assert caught.value.cause == cause


def test_a_size_that_no_memory_holds_is_refused_before_it_is_decoded() -> None:
    data = bytearray(png(MILLIMETRES))
    data[28:36] = struct.pack(">II", 60000, 60000)
    with pytest.raises(ImageError, match="60000x60000"):
        compressed_depth_to_metres(bytes(data), "16UC1; compressedDepth png")


@pytest.mark.parametrize(
    "layout", [RawLayout("rgb8", 1, 1, 3), RawLayout("16UC1", 2, 2, 3), RawLayout("32FC1", 0, 2, 0)]
)
def test_bad_raw_depth_is_an_image_error(layout: RawLayout) -> None:
    with pytest.raises(ImageError):
        depth_to_metres(b"\0" * 12, layout)


@given(st.binary(max_size=200), st.sampled_from(["16UC1; compressedDepth png", "32FC1; compressedDepth", ""]))
def test_any_bytes_are_depth_or_an_image_error(tail: bytes, declared: str) -> None:
    whole = png(MILLIMETRES, 100.0, 1.0)
    for data in (tail, whole[: len(tail)] + tail, whole[:50] + tail + whole[50 + len(tail) :]):
        try:
            metres = compressed_depth_to_metres(data, declared)
        except ImageError:
            continue
        assert metres.dtype == np.float32
        assert not (metres <= 0).any()
        assert not np.isinf(metres).any()
