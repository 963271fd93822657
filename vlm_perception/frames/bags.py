"""ROS 2 bags -> camera images under their own stamps, with rosbags: MCAP and SQLite, compressed too. No ROS needed.

Of a message only what it holds is taken from the bag; its definition is the one of ROS 2, which no release changed, so
damaged or missing definitions matter to nobody.
"""

from __future__ import annotations

import sqlite3
import struct
import sys
from bisect import bisect_left
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol
from urllib.parse import quote

from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from vlm_perception.errors import ImageError
from vlm_perception.frames.bag_files import MCAP_MAGIC, CutFile, Note, storage_files, whole_records
from vlm_perception.frames.compressed import compressed_to_rgb
from vlm_perception.frames.depth import Metres, compressed_depth_to_metres, depth_to_metres
from vlm_perception.frames.encodings import Pixels, RawLayout, raw_to_rgb
from vlm_perception.frames.signatures import signature_of
from vlm_perception.frames.videos import ALL_FRAMES, Thinning, thinned, thinned_count
from vlm_perception.types import Frame, FrameHeader

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

RAW, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
IMAGES = (RAW, COMPRESSED)
CALIBRATION, TRANSFORMS = "sensor_msgs/msg/CameraInfo", "tf2_msgs/msg/TFMessage"
_ZSTD_MAGIC = b"(\xb5/\xfd"
_PART_BYTES = 1 << 16
# How it is serialised, seconds, nanoseconds: four bytes each.
_STAMP_END = 12


@dataclass(frozen=True, slots=True)
class BagTopic:
    """What a bag holds of a topic: the type of its messages, such as `sensor_msgs/msg/Image`, and how many."""

    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class BagMessage:
    """One message as it was recorded.

    Attributes:
        topic: Its name.
        recorded_ns: When, nanoseconds since 1970 or of the recorder's clock.
        data: Serialised, as DDS sends it.
    """

    topic: str
    recorded_ns: int
    data: bytes

    @property
    def stamp_ns(self) -> int | None:
        """Stamp of a message that begins with a header, nanoseconds; None where it is cut off before that."""
        # The second byte is 1 where the others are little-endian, as DDS serialises on nearly all machines.
        if len(self.data) < _STAMP_END:
            return None
        sec, nanosec = struct.unpack_from("<iI" if self.data[1] & 1 else ">iI", self.data, 4)
        return int(sec) * 10**9 + int(nanosec)


@dataclass(frozen=True, slots=True)
class BagImage:
    """One image of a bag, not decoded yet.

    Attributes:
        index: Its number on its topic, from 0.
        time_s: When it was recorded, seconds after the first of its topic.
        recorded_ns: The same, nanoseconds as the bag has them.
        read: Makes its frame, with the message's own header; raises ImageError.
    """

    index: int
    time_s: float
    recorded_ns: int
    read: Callable[[], Frame]


class _Storage(Protocol):
    """One file of a bag, open: its topics, and when its first and last message were recorded."""

    topics: dict[str, BagTopic]
    span_ns: tuple[int, int] | None

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """Yield messages in the order of their recording; raises whatever damaged bytes lead to."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class Bag:
    """An open bag; see `open_bag`.

    Attributes:
        topics: Name -> what is recorded of it.
    """

    def __init__(self, path: Path, storages: list[tuple[Path, _Storage]], note: Note) -> None:
        self._path, self._storages, self._note = path, storages, note
        self.topics: dict[str, BagTopic] = {}
        for _, storage in storages:
            for name, topic in storage.topics.items():
                before = self.topics.get(name)
                self.topics[name] = BagTopic(topic.kind, topic.count + (before.count if before else 0))

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """Yield the messages of some topics; where a file is damaged, that is told, and the next one follows."""
        for file, storage in self._storages:
            if not any(name in storage.topics for name in topics):
                continue
            count = 0
            try:
                for message in storage.messages(topics):
                    if message.data[:4] == _ZSTD_MAGIC:
                        message = BagMessage(message.topic, message.recorded_ns, zstd.decompress(message.data))
                    yield message
                    count += 1
            except Exception as error:  # noqa: BLE001 - damaged bytes lead rosbags and SQLite to any of them
                self._note(f"{file} is damaged after {count} messages ({_in_words(error)}): those before are read")

    def rate_hz(self, topic: str) -> float | None:
        """The mean rate of a topic in all of the bag; None where that cannot be told."""
        spans = [storage.span_ns for _, storage in self._storages if storage.span_ns is not None]
        seconds = (max(end for _, end in spans) - min(start for start, _ in spans)) * 1e-9 if spans else 0.0
        return self.topics[topic].count / seconds if seconds > 0 and self.topics[topic].count else None

    def image_topic(self, wanted: str) -> str:
        """Return the image topic that is meant.

        Args:
            wanted: Its name, or empty where there is only one.

        Raises:
            ImageError: `no_images`: there is none of that name or type, or there are several to choose from.
        """
        images = [name for name, topic in sorted(self.topics.items()) if topic.kind in IMAGES]
        listed = "its image topics are " + ", ".join(images) if images else "it has no image topic"
        if not images:
            kinds = ", ".join(f"{name} ({topic.kind})" for name, topic in sorted(self.topics.items())) or "nothing"
            raise ImageError(
                f"{self._path} holds no sensor_msgs/Image or CompressedImage, but {kinds}: record a camera's topic",
                cause="no_images",
            )
        if not wanted:
            if len(images) > 1:
                raise ImageError(f"{self._path} holds several cameras, {listed}: name one as topic", cause="no_images")
            return images[0]
        name = wanted if wanted.startswith("/") else f"/{wanted}"
        if name not in self.topics:
            raise ImageError(f"{self._path} has no topic {name}, {listed}: name one of them", cause="no_images")
        if name not in images:
            kind = self.topics[name].kind
            raise ImageError(
                f"{name} of {self._path} is {kind}, no image; {listed}: name one of them", cause="no_images"
            )
        return name

    def depth_topic(self, wanted: str, camera: str) -> str:
        """Return the topic of a camera's depth that is meant.

        Args:
            wanted: Its name.
            camera: Topic of the camera's images.

        Raises:
            ImageError: `no_depth`: there is none of that name, or it is no image or the camera itself.
        """
        name = wanted if wanted.startswith("/") else f"/{wanted}"
        known = [topic for topic, there in sorted(self.topics.items()) if there.kind in IMAGES and topic != camera]
        if name in known:
            return name
        listed = f"but {', '.join(known)}: name one of them" if known else "nor any other image: record it"
        kind = "the camera itself" if name == camera else self.topics[name].kind if name in self.topics else ""
        why = f", which is {kind}" if kind else ""
        raise ImageError(f"{self._path} has no depth topic {name}{why}, {listed}", cause="no_depth")

    def decoded(self, message: BagMessage) -> Frame:
        """Make the frame of an image message.

        Raises:
            ImageError: It is damaged, or its encoding is not read.
        """
        return _frame(self._path, self.topics[message.topic].kind, message)

    def images(self, topic: str, thinning: Thinning = ALL_FRAMES) -> Iterator[BagImage]:
        """Yield the images of a topic.

        Args:
            topic: As `image_topic` gives it.
            thinning: Which are wanted; by the time they were recorded, because stamps may be 0 or begin again.
        """
        for index, time_s, message in thinned(_timed(self.messages([topic])), thinning):
            yield self.image(message, index, time_s)

    def image(self, message: BagMessage, index: int, time_s: float) -> BagImage:
        """Make the image of a message, with its number on its topic and its time after the first, seconds."""
        read = partial(_frame, self._path, self.topics[message.topic].kind, message)
        return BagImage(index, time_s, message.recorded_ns, read)

    def content(self, message: BagMessage) -> Any:
        """Return what a message holds, by the names of its fields.

        Raises:
            ImageError: `undecodable`: its bytes are none of its type.
        """
        return _content(self._path, self.topics[message.topic].kind, message)


@contextmanager
def open_bag(path: Path, note: Note) -> Generator[Bag, None, None]:
    """Open a bag; what of it is damaged is told and left out.

    Args:
        path: The folder, or one of its files.
        note: Told in words what cannot be read.

    Raises:
        ImageError: `undecodable`: nothing of it can be read.
    """
    with ExitStack() as closing:
        storages: list[tuple[Path, _Storage]] = []
        failed: list[str] = []
        files = storage_files(path, note)
        for file in files:
            try:
                storage = _opened(file, closing, note)
            except Exception as error:  # noqa: BLE001 - damaged bytes lead rosbags and SQLite to any of them
                failed.append(f"{file} cannot be read as a bag ({_in_words(error)})")
                continue
            closing.callback(storage.close)
            storages.append((file, storage))
        if not storages:
            remedy = "name the folder that rosbag2 made, or an .mcap or .db3 file of it"
            why = "; ".join(failed) or f"{path} holds no file of a bag that is there"
            raise ImageError(f"{why}: {remedy}", cause="undecodable")
        for text in failed:
            note(f"{text}: the rest is read")
        yield Bag(path, storages, note)


def expected_images(path: Path, topic: str, thinning: Thinning) -> int:
    """Estimate how many images `Bag.images` gives; 1 where a bag cannot be read, which is told when it is."""
    try:
        with open_bag(path, lambda text: None) as bag:
            topic = bag.image_topic(topic)
            return thinned_count(bag.topics[topic].count, bag.rate_hz(topic), thinning)
    except ImageError:
        return 1


@cache
def typestore() -> Typestore:
    """ROS 2's own definitions; made once, which takes a second."""
    return get_typestore(Stores.ROS2_JAZZY)


def _timed(messages: Iterable[BagMessage]) -> Iterator[tuple[float, BagMessage]]:
    start_ns: int | None = None
    for message in messages:
        start_ns = message.recorded_ns if start_ns is None else start_ns
        yield round((message.recorded_ns - start_ns) * 1e-9, 6), message


def _frame(path: Path, kind: str, message: BagMessage) -> Frame:
    content = _content(path, kind, message)
    header = FrameHeader(content.header.stamp.sec, content.header.stamp.nanosec, content.header.frame_id)
    try:
        rgb = _pixels(kind, content)
    except ImageError as error:
        raise ImageError(f"{message.topic} of {path}: {error}", cause=error.cause) from error
    return Frame(rgb, header, message.topic, message.recorded_ns * 1e-9)


def _content(path: Path, kind: str, message: BagMessage) -> Any:
    try:
        return typestore().deserialize_cdr(message.data, kind)
    except Exception as error:
        raise ImageError(
            f"{message.topic} of {path}: {len(message.data)} bytes are no {kind} ({_in_words(error)}): record it anew",
            cause="undecodable",
        ) from error


def metres_of(content: Any) -> Metres:
    """Return the content of a depth message as (height, width) float32 metres, NaN where there is none.

    Raises:
        ImageError: It contradicts itself, is no depth, or cannot be decoded.
    """
    if content.__msgtype__ == COMPRESSED:
        return compressed_depth_to_metres(memoryview(content.data), content.format)
    return depth_to_metres(memoryview(content.data), _layout(content))


def _pixels(kind: str, content: Any) -> Pixels:
    if kind == COMPRESSED:
        return compressed_to_rgb(memoryview(content.data), content.format)
    return raw_to_rgb(memoryview(content.data), _layout(content))


def _layout(content: Any) -> RawLayout:
    return RawLayout(content.encoding, content.width, content.height, content.step, bool(content.is_bigendian))


def _opened(file: Path, closing: ExitStack, note: Note) -> _Storage:
    """Open a file as what its bytes are, whatever its name ends in."""
    with file.open("rb") as stream:
        head = stream.read(512)
    if head.startswith(_ZSTD_MAGIC):
        file = _unpacked(file, Path(closing.enter_context(TemporaryDirectory())), note)
        with file.open("rb") as stream:
            head = stream.read(512)
    if head.startswith(MCAP_MAGIC):
        return _mcap(file, note)
    if head.startswith(b"SQLite format 3\x00"):
        return _sqlite(file, note)
    signature = signature_of(file)
    raise ValueError(
        f"it is {signature.name}" if signature else "it is neither MCAP nor SQLite" if head else "it is empty"
    )


def _unpacked(file: Path, folder: Path, note: Note) -> Path:
    target = folder / file.stem
    # In parts, so that what comes before damage is not lost.
    with target.open("wb") as whole, zstd.open(file, "rb") as unpacking:
        try:
            while part := unpacking.read(_PART_BYTES):
                whole.write(part)
        except (EOFError, zstd.ZstdError) as error:
            note(f"{file} was cut off or is damaged ({_in_words(error)}): what unpacks of it is read")
    return target


class _Rosbags:
    """A file that rosbags reads."""

    def __init__(self, suffix: str, path: Path | CutFile) -> None:
        # Chosen by the bytes; `Reader` itself goes by the name.
        self._storage = Reader.STORAGE_PLUGINS[suffix](path)  # type: ignore[arg-type]
        self._storage.open()
        self._cut = isinstance(path, CutFile)
        metadata = self._storage.metadata
        self.span_ns = (metadata.start_time, metadata.end_time) if metadata.message_count else None
        self.topics: dict[str, BagTopic] = {}
        for each in self._storage.connections:
            before = self.topics.get(each.topic)
            self.topics[each.topic] = BagTopic(each.msgtype, each.msgcount + (before.count if before else 0))

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """See `_Storage`."""
        wanted = [each for each in self._storage.connections if each.topic in topics]
        # Without an index rosbags refuses what a recorder with several threads left a little out of order.
        read: Any = getattr(self._storage, "messages_scan" if self._cut else "messages")
        for connection, recorded_ns, data in read(wanted):
            yield BagMessage(connection.topic, recorded_ns, bytes(data))

    def close(self) -> None:
        """See `_Storage`."""
        self._storage.close()


def _mcap(file: Path, note: Note) -> _Storage:
    try:
        return _Rosbags(".mcap", file)
    except Exception:  # noqa: BLE001 - damaged bytes lead rosbags to any of them
        ends = whole_records(file)
    # Where a record is whole and its contents are not, those before it are read.
    storages: dict[int, _Storage] = {}

    def fails(count: int) -> bool:
        try:
            storages[count] = _Rosbags(".mcap", CutFile(file, ends[count]))
        except Exception as error:
            if count == 1:
                # Not even its first record: there is nothing to go back to.
                raise ValueError(f"it was cut off or is damaged at its beginning: {_in_words(error)}") from error
            return True
        return False

    last = len(ends) - 1
    if last < 1:
        raise ValueError("it was cut off at its beginning")
    whole = last if not fails(last) else bisect_left(range(1, last), True, key=fails)
    for count, storage in storages.items():
        if count != whole:
            storage.close()
    if ends[whole] < file.stat().st_size:
        note(f"{file} was cut off or is damaged: {ends[whole]:,} of its {file.stat().st_size:,} bytes are read")
    return storages[whole]


def _sqlite(file: Path, note: Note) -> _Storage:
    log = file.with_name(f"{file.name}-wal")
    if log.is_file() and log.stat().st_size:
        note(
            f"{log} beside {file.name} is not read: `sqlite3 {file.name} 'PRAGMA wal_checkpoint'` puts it into the bag"
        )
    try:
        return _Rosbags(".db3", file)
    except Exception as error:  # noqa: BLE001 - damaged bytes lead rosbags to any of them
        try:
            storage = _CutSqlite(file)
        except sqlite3.Error as worse:
            raise ValueError(str(worse)) from error
    note(f"{file} was cut off or is damaged: it is read as far as it goes")
    return storage


class _CutSqlite:
    """What can still be read of a database that was cut off, in the order of writing.

    rosbags counts all messages before it reads one, and SQLite refuses a file that is shorter than it says.
    """

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(f"file:{quote(str(path))}?immutable=1", uri=True)
        try:
            # SQLite's own way to have what is left of a damaged file: https://www.sqlite.org/recovery.html
            self._database.execute("PRAGMA writable_schema=ON")
            self._names = {
                number: (name, kind)
                for number, name, kind in self._database.execute("SELECT id, name, type FROM topics")
            }
        except sqlite3.Error:
            self._database.close()
            raise
        self.span_ns: tuple[int, int] | None = None
        self.topics = {str(name): BagTopic(str(kind), 0) for name, kind in self._names.values()}

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """See `_Storage`."""
        for number, recorded_ns, data in self._database.execute("SELECT topic_id, timestamp, data FROM messages"):
            name, _ = self._names.get(number, ("", ""))
            if name in topics:
                yield BagMessage(name, recorded_ns, data)

    def close(self) -> None:
        """See `_Storage`."""
        self._database.close()


def _in_words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
