"""What was named on a command line -> files, and files -> pictures to ask about. No model, no ROS."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from vlm_perception.errors import ImageError
from vlm_perception.frames.bag_files import is_bag
from vlm_perception.frames.encodings import Pixels
from vlm_perception.frames.files import is_video, left_out, read_image, worth_reading
from vlm_perception.frames.film_clip import FilmSampling, watch_film
from vlm_perception.frames.videos import Thinning, expected_frames, read_video
from vlm_perception.types import Clip, Frame, FrameHeader, Result
from vlm_perception.world.lift import Places

Note = Callable[[str], None]
# Source and number of the frame: tells one picture from another, also in another reading of the same files.
PictureId = tuple[str, int | None]
# The bag, a frame of it whose `received_s` is the time of its recording, and that time, nanoseconds.
OnBetween = Callable[[Path, Frame, int], None]


@dataclass(frozen=True, slots=True)
class Picture:
    """One image, or one frame of a video or bag.

    Attributes:
        path: The file or bag it comes from, as it was named.
        rgb: (height, width, 3) uint8 RGB.
        frame_index: Number of the frame in its video or on its topic, from 0; None for an image.
        time_s: Time of the frame in its video, or of its recording, after the first, seconds; None for an image.
        clip: The video as a whole, of which this is the last frame, where that is what is asked about.
        header: The image message's own, of a bag.
        camera: Name of its topic in a bag, else empty.
        recorded_ns: When the bag says that it was recorded, nanoseconds.
        place: Places the objects of its answer in space, until the next picture is read; None without depth.
    """

    path: Path
    rgb: Pixels
    frame_index: int | None = None
    time_s: float | None = None
    clip: Clip | None = None
    header: FrameHeader | None = None
    camera: str = ""
    recorded_ns: int | None = None
    place: Callable[[Result], Places] | None = None

    @property
    def title(self) -> str:
        """Name for messages, such as `clip.mp4 frame 12`."""
        return str(self.path) if self.frame_index is None or self.clip else f"{self.path} frame {self.frame_index}"

    @property
    def id(self) -> PictureId:
        """Which picture this is."""
        return str(self.path), self.frame_index

    def places(self, result: Result) -> Places | None:
        """Where the objects of its answer are in space; None without depth."""
        return None if self.place is None else self.place(result)


@dataclass(frozen=True, slots=True)
class DepthBeside:
    """The depth of a bag's camera, and where its objects are to be placed: the node's parameters of the same names.

    Attributes:
        depth_topic: Aligned to the camera's images.
        depth_tolerance_s: How far its stamp may be from the image's.
        target_frame: Frame of the places, by the bag's transforms; empty for the camera's own.
    """

    depth_topic: str
    depth_tolerance_s: float
    target_frame: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that was named and could not be answered.

    Attributes:
        source: The file or pattern, as it was named.
        message: What is wrong and what to do.
        frame_index: Number of the frame in its video, or None.
        time_s: Time of the frame in its video, seconds, or None.
    """

    source: str
    message: str
    frame_index: int | None = None
    time_s: float | None = None

    @property
    def id(self) -> PictureId:
        """Which picture this is about."""
        return self.source, self.frame_index


@dataclass(frozen=True, slots=True)
class Inputs:
    """Files to read, in order, each once; names that led to nothing; and notes for people."""

    files: tuple[Path, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]


def find_inputs(names: Sequence[str]) -> Inputs:
    """Find the files that are meant.

    Args:
        names: Images, videos, bags, folders, and patterns with `*`, `?`, `[...]` or `**`; `~` is the home
            folder. A folder means the images and videos in it, in order of their names, without
            its sub-folders.

    Returns:
        What was found; of the files of folders and patterns the first bytes are looked at.
    """
    named: list[Path] = []
    failures: list[Failure] = []
    notes: list[str] = []
    for name in names:
        # Not Path.expanduser, which raises where there is no such user.
        path = Path(os.path.expanduser(name))
        if os.path.exists(path) and (not os.path.isdir(path) or is_bag(path)):
            named.append(path)
            continue
        try:
            entries, remedy = _entries(name, path)
        except OSError as error:
            failures.append(Failure(str(path), f"{path} cannot be listed ({error}): check its permissions"))
            continue
        known = [entry for entry in entries if worth_reading(entry) or (entry.is_file() and is_bag(entry))]
        named += known
        read = set(known)
        others = left_out(entry for entry in entries if entry not in read)
        if not known:
            instead = f"; it holds {others}" if others else ""
            failures.append(Failure(name, f"{name} {remedy.format(instead=instead)}"))
        elif others:
            notes.append(f"{name}: {others} left out, which are neither images, videos nor bags")
    files: dict[str, Path] = {}
    for path in named:
        files.setdefault(os.path.realpath(path), path)
    if twice := len(named) - len(files):
        notes.append(f"{twice} files were named more than once and are answered once")
    return Inputs(tuple(files.values()), tuple(failures), tuple(notes))


def _entries(name: str, path: Path) -> tuple[list[Path], str]:
    """List what a folder or a pattern leads to, and what to say when that is nothing to look at."""
    nothing = "holds no image, video or bag{instead}: "
    if os.path.isdir(path):
        remedy = nothing + "name a folder that holds some, or a pattern such as 'photos/**/*.jpg'"
        return sorted(path.iterdir()), remedy
    if glob.has_magic(name):
        matches = sorted(glob.glob(os.path.expanduser(name), recursive=True))
        remedy = (
            nothing + "check the pattern; ** also looks into sub-folders, and quotes keep the shell from expanding it"
        )
        return [Path(match) for match in matches if not os.path.isdir(match)], remedy
    return [], "does not exist: name an image, a folder, a pattern, a video or a bag"


def read_pictures(
    files: Iterable[Path],
    thinning: Thinning,
    note: Note,
    watching: FilmSampling | None = None,
    topic: str = "",
    depth: DepthBeside | None = None,
    on_between: OnBetween | None = None,
) -> Iterator[Picture | Failure]:
    """Read all files; one that cannot be read becomes a failure, and the next one follows.

    Args:
        files: Images, videos and bags.
        thinning: Which frames of videos and bags are wanted.
        note: Told in words when a video ends early, and what of a bag is damaged.
        watching: How many frames of a video are seen together; None asks about each frame by itself.
        topic: The camera in bags; empty for those with one camera.
        depth: The depth of that camera in bags; None places nothing in space.
        on_between: Given the frames of a bag that are not asked about, in order among those that are.
    """
    for path in files:
        try:
            if is_bag(path):
                # Imported late: rosbags takes a second, and only bags need it.
                from vlm_perception.apps.detect.recorded import read_bag, watch_recording

                if watching is not None:
                    yield watch_recording(path, watching, note, topic)
                else:
                    yield from read_bag(path, thinning, note, topic, depth, on_between)
                continue
            if not is_video(path):
                yield Picture(path, read_image(path))
                continue
            if watching is not None:
                yield _watched(path, watching, note)
                continue
            for frame in read_video(path, thinning, note):
                yield Picture(path, frame.rgb, frame.index, frame.time_s)
        except ImageError as error:
            yield Failure(str(path), str(error))


def _watched(path: Path, watching: FilmSampling, note: Note) -> Picture:
    """Read a video as a whole."""
    clip, index = watch_film(path, watching, note)
    return Picture(path, clip.frames[-1].rgb, index, clip.duration_s, clip)


def leading_failures(items: Iterator[Picture | Failure]) -> tuple[tuple[Failure, ...], Iterator[Picture | Failure]]:
    """Read until the first picture.

    Returns:
        The failures before it, and what comes from it on.
    """
    failures: list[Failure] = []
    for item in items:
        if isinstance(item, Picture):
            return tuple(failures), chain([item], items)
        failures.append(item)
    return tuple(failures), items


def expected_count(files: Iterable[Path], thinning: Thinning, *, whole: bool = False, topic: str = "") -> int:
    """Estimate how many pictures the files hold, for a progress bar; a video is one where it is asked as a `whole`."""
    if whole:
        return len(list(files))
    return sum(_expected_of(path, thinning, topic) for path in files)


def _expected_of(path: Path, thinning: Thinning, topic: str) -> int:
    if is_bag(path):
        from vlm_perception.frames.bags import expected_images

        return expected_images(path, topic, thinning)
    return expected_frames(path, thinning) if is_video(path) else 1
