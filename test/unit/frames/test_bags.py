"""Bags are read whatever they were written as, and broken ones as far as they go; nothing else leaves."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz_profile import fuzz
from hypothesis import given
from hypothesis import strategies as st
from recorded_bags import START_S, STORAGES, STORE, camera, image, jpeg, text, write_bag

from vlm_perception.errors import ImageError
from vlm_perception.frames.bag_files import is_bag
from vlm_perception.frames.bags import expected_images, open_bag
from vlm_perception.frames.encodings import SUPPORTED_ENCODINGS
from vlm_perception.frames.videos import ALL_FRAMES, Thinning
from vlm_perception.types import FrameHeader

TOPIC = "/camera/image_raw"


def read(path: Path, topic: str = "", thinning: Thinning = ALL_FRAMES) -> tuple[list[int], list[str]]:
    """The greys of the images, divided by ten, and what was told."""
    notes: list[str] = []
    greys = []
    with open_bag(path, notes.append) as bag:
        for each in bag.images(bag.image_topic(topic), thinning):
            rgb = each.read().rgb
            assert rgb.shape == (48, 64, 3)
            greys.append(round(float(rgb.mean()) / 10))
    return greys, notes


def stored(bag: Path) -> Path:
    return next(path for path in sorted(bag.iterdir()) if path.name != "metadata.yaml")


@pytest.mark.parametrize(("storage", "compression"), STORAGES)
@pytest.mark.parametrize("make", [image, jpeg])
def test_every_kind_of_bag_gives_its_images_with_their_own_headers(
    tmp_path: Path, storage: str, compression: str, make: Any
) -> None:
    path = write_bag(tmp_path / "drive", camera(5, make), storage, compression)
    assert is_bag(path)
    notes: list[str] = []
    with open_bag(path, notes.append) as bag:
        frames = [(each.index, each.time_s, each.read()) for each in bag.images(bag.image_topic(""))]
    assert [(index, time_s) for index, time_s, _ in frames] == [(index, index / 10) for index in range(5)]
    assert [frame.header for *_, frame in frames] == [
        FrameHeader(START_S, index * 10**8 + 7, "lens") for index in range(5)
    ]
    assert {frame.camera for *_, frame in frames} == {TOPIC}
    assert [round(float(frame.rgb.mean()) / 10) for *_, frame in frames] == [0, 1, 2, 3, 4]
    assert not notes


@pytest.mark.parametrize(("storage", "compression"), STORAGES)
def test_without_metadata_a_bag_is_read_all_the_same(tmp_path: Path, storage: str, compression: str) -> None:
    path = write_bag(tmp_path / "drive", camera(5), storage, compression)
    (path / "metadata.yaml").unlink()
    assert is_bag(path)
    assert read(path) == ([0, 1, 2, 3, 4], [])
    assert read(stored(path)) == ([0, 1, 2, 3, 4], [])


def test_the_parts_of_a_bag_follow_by_their_numbers_and_a_missing_one_is_told(tmp_path: Path) -> None:
    whole = tmp_path / "drive"
    whole.mkdir()
    for part in range(12):
        made = write_bag(tmp_path / f"part{part}", [(TOPIC, part * 10**9, image(part))])
        shutil.move(stored(made), whole / f"drive_{part}.mcap")
    assert read(whole) == (list(range(12)), [])
    names = ", ".join(f"drive_{part}.mcap" for part in (0, 1, 12))
    (whole / "metadata.yaml").write_text(f"rosbag2_bagfile_information: {{relative_file_paths: [{names}]}}")
    greys, notes = read(whole)
    assert greys == [0, 1]
    assert "drive_12.mcap of its metadata.yaml is not there" in notes[0]
    (whole / "metadata.yaml").write_text("{ not yaml")
    assert read(whole) == (list(range(12)), [])
    (whole / "drive_3.mcap").write_bytes(b"")
    greys, notes = read(whole)
    assert greys == [0, 1, 2, *range(4, 12)]
    assert "drive_3.mcap cannot be read as a bag (it is empty): the rest is read" in notes[0]


@pytest.mark.parametrize(
    ("thinning", "expected"),
    [
        (Thinning(every=3), [0, 3, 6, 9]),
        (Thinning(rate_hz=2.0), [0, 5]),
        (Thinning(max_frames=2), [0, 1]),
        (ALL_FRAMES, list(range(10))),
    ],
)
def test_a_bag_is_thinned_out_like_a_video(tmp_path: Path, thinning: Thinning, expected: list[int]) -> None:
    path = write_bag(tmp_path / "drive", camera(10))
    assert read(path, thinning=thinning) == (expected, [])
    assert abs(expected_images(path, "", thinning) - len(expected)) <= 1


def test_which_camera_is_meant_is_asked_for_where_there_are_several(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "drive", [*camera(2), *camera(3, jpeg, "/rear/compressed")])
    for topic, words in (
        ("", "several cameras, its image topics are /camera/image_raw, /rear/compressed: name one"),
        ("/front", "has no topic /front, its image topics are /camera/image_raw, /rear/compressed: name one"),
        ("/words", "/words of .* is std_msgs/msg/String, no image; its image topics are"),
    ):
        with pytest.raises(ImageError, match=words):
            read(path, topic)
    assert read(path, "/rear/compressed")[0] == [0, 1, 2]
    assert read(path, "camera/image_raw")[0] == [0, 1]
    silent = write_bag(tmp_path / "silent", [("/words", 0, text("x"))])
    with pytest.raises(ImageError, match=r"holds no sensor_msgs/Image or CompressedImage, but /words \(std_msgs"):
        read(silent)


@pytest.mark.parametrize("encoding", SUPPORTED_ENCODINGS)
def test_every_encoding_that_the_node_takes_is_read(tmp_path: Path, encoding: str) -> None:
    """The pixels are held in test_encodings.py; here: nothing stands between them and the message."""
    message = image(5, encoding, 8, data=np.zeros(48 * 512, np.uint8))
    if encoding.startswith("nv"):
        message = image(5, encoding, 1, data=np.zeros(72 * 64, np.uint8))
    path = write_bag(tmp_path / "drive", [(TOPIC, 0, message)])
    with open_bag(path, pytest.fail) as bag:
        assert next(bag.images(TOPIC)).read().rgb.shape == (48, 64, 3)


def test_a_bad_image_is_told_when_it_is_read_and_costs_no_other(tmp_path: Path) -> None:
    whole = bytes(STORE.serialize_cdr(image(4), image(4).__msgtype__))
    short = image(2, data=np.zeros(5, np.uint8))
    messages = [image(0), image(1, "rgb9"), short, whole[:40], whole[:700], whole[:1], image(6)]
    path = write_bag(tmp_path / "drive", [(TOPIC, n * 10**8, message) for n, message in enumerate(messages)])
    told, errors = [], []
    with open_bag(path, pytest.fail) as bag:
        for each in bag.images(TOPIC):
            try:
                told.append(str(round(float(each.read().rgb.mean()))))
            except ImageError as error:
                errors.append(str(error))
                told.append(error.cause)
    assert all(error.startswith(f"{TOPIC} of {path}: ") for error in errors), errors
    assert told == ["0", "unknown_encoding", "truncated", *["undecodable"] * 3, "60"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"hello", "it is neither MCAP nor SQLite"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "it is JPEG"),
        (b"#ROSBAG V2.0\n", "it is a bag of ROS 1"),
        (b"\x89MCAP0\r\n", "cut off at its beginning"),
        (b"SQLite format 3\x00" + bytes(300), "cannot be read as a bag"),
    ],
)
@pytest.mark.parametrize("name", ["a.mcap", "a.db3"])
def test_what_is_no_bag_is_told(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert is_bag(tmp_path / name)
    with pytest.raises(ImageError, match=f"{words}.*: name the folder that rosbag2 made"):
        read(tmp_path / name)


def test_another_database_is_no_bag(tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "photos.db") as database:
        database.execute("CREATE TABLE photos (id INTEGER)")
    database.close()
    with pytest.raises(ImageError, match="cannot be read as a bag"):
        read(tmp_path / "photos.db")


def test_what_a_recorder_has_not_put_into_its_database_yet_is_told(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "drive", camera(2), "sqlite3")
    (path / "drive.db3-wal").write_bytes(b"x" * 100)
    greys, notes = read(path)
    assert greys == [0, 1]
    assert "drive.db3-wal beside drive.db3 is not read" in notes[0]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Bags of 30 images, several chunks of MCAP or many pages of SQLite each."""
    folder = tmp_path_factory.mktemp("sound")
    words = text(bytes(np.random.default_rng(0).integers(97, 123, 30_000, np.uint8)).decode())
    messages = [
        (topic, after_ns, message if topic == TOPIC else words)
        for topic, after_ns, message in camera(30)
        for _ in range(1 if topic == TOPIC else 5)
    ]
    return {kind: write_bag(folder / "_".join(kind), messages, *kind) for kind in STORAGES}


@pytest.mark.parametrize(("storage", "compression"), [kind for kind in STORAGES if kind[1] != "file"])
def test_most_of_a_bag_that_lost_its_end_is_read(
    sound: dict[tuple[str, str], Path], tmp_path: Path, storage: str, compression: str
) -> None:
    data = stored(sound[storage, compression]).read_bytes()
    cut = tmp_path / ("cut.mcap" if storage == "mcap" else "cut.db3")
    cut.write_bytes(data[: len(data) * 6 // 10])
    greys, notes = read(cut)
    assert greys == [index % 20 for index in range(len(greys))]
    assert 5 <= len(greys) < 30
    assert "cut off or is damaged" in notes[0]


def test_a_cut_bag_that_was_written_a_little_out_of_order_is_read_as_it_was_written(tmp_path: Path) -> None:
    order = [0, 2, 1, 3, 5, 4]
    path = write_bag(tmp_path / "drive", [(TOPIC, index * 10**8, image(index)) for index in order])
    file = stored(path)
    file.write_bytes(file.read_bytes()[:-20])
    greys, notes = read(path)
    assert greys == order
    assert len(notes) == 1


@fuzz
@given(st.sampled_from(STORAGES), st.floats(0, 1), st.one_of(st.none(), st.binary(min_size=1, max_size=64)))
def test_a_bag_that_is_cut_or_overwritten_anywhere_gives_its_images_in_order_or_an_error(
    sound: dict[tuple[str, str], Path],
    tmp_path_factory: pytest.TempPathFactory,
    kind: tuple[str, str],
    place: float,
    junk: bytes | None,
) -> None:
    """Cut at any byte, or with other bytes at any place, as a lost block of a disk leaves it."""
    file = stored(sound[kind])
    data = bytearray(file.read_bytes())
    at = round(place * len(data))
    if junk is None:
        del data[at:]
    else:
        data[at : at + len(junk)] = junk
    folder = tmp_path_factory.mktemp("broken")
    (folder / file.name).write_bytes(data)
    notes: list[str] = []
    stamps = []
    try:
        with open_bag(folder, notes.append) as bag:
            for each in bag.images(bag.image_topic("")):
                try:
                    stamps.append(each.read().header.stamp_nanosec)
                except ImageError:
                    assert junk is not None
    except ImageError as error:
        notes.append(str(error))
    finally:
        shutil.rmtree(folder)
    if junk is None:
        assert len(stamps) <= 30
        assert notes or at == len(data)
