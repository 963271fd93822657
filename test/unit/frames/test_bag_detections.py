"""Bytes of a bag to boxes, whatever they are."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from truth_bags import truth

from vlm_perception.errors import DatasetError
from vlm_perception.frames.bag_detections import DETECTIONS, RecordedBox, read_detections
from vlm_perception.frames.bag_writing import message_store
from vlm_perception.frames.bags import BagMessage

GOOD = bytes(message_store().serialize_cdr(truth(3, ("cup", (4.0, 6.0, 20.0, 30.0))), DETECTIONS))


def test_a_message_is_read_as_it_was_written() -> None:
    message = BagMessage("/truth", 0, GOOD)
    assert read_detections(message) == (RecordedBox("cup", (4.0, 6.0, 20.0, 30.0)),)
    assert message.stamp_ns == 1_700_000_000_300_000_007


@pytest.mark.parametrize(
    ("data", "stamp_ns"),
    [
        (b"\x00\x01\x00\x00" + struct.pack("<iI", 5, 6) + b"rest", 5_000_000_006),
        (b"\x00\x00\x00\x00" + struct.pack(">iI", 5, 6), 5_000_000_006),
        (b"\x00\x01\x00\x00" + struct.pack("<iI", 5, 6)[:-1], None),
        (b"", None),
    ],
)
def test_the_stamp_is_that_of_the_header(data: bytes, stamp_ns: int | None) -> None:
    assert BagMessage("/truth", 0, data).stamp_ns == stamp_ns


@given(st.binary(max_size=200), st.integers(0, len(GOOD)), st.integers(0, 255))
def test_no_bytes_raise_anything_else(data: bytes, place: int, value: int) -> None:
    for damaged in (data, GOOD[:place], GOOD[:place] + bytes([value]) + GOOD[place + 1 :]):
        with contextlib.suppress(DatasetError):
            read_detections(BagMessage("/truth", 0, damaged))
