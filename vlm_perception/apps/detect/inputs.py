"""What was named on a command line -> files, and files -> pictures to ask about. No model, no ROS."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vlm_perception.frames.encodings import Pixels
from vlm_perception.frames.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES, is_video, read_image
from vlm_perception.frames.videos import Thinning, expected_frames, read_video

_KNOWN = IMAGE_SUFFIXES + VIDEO_SUFFIXES
# Containers only estimate how many frames they hold; a video that ends this much earlier is damaged.
_WHOLE_SHARE = 0.9

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Picture:
    """One image, or one frame of a video.

    Attributes:
        path: The file it comes from, as it was named.
        rgb: (height, width, 3) uint8 RGB.
        frame_index: Number of the frame in its video, from 0; None for an image.
        time_s: Time of the frame in its video, seconds; None for an image.
    """

    path: Path
    rgb: Pixels
    frame_index: int | None = None
    time_s: float | None = None

    @property
    def title(self) -> str:
        """Name for messages, such as `clip.mp4 frame 12`."""
        return str(self.path) if self.frame_index is None else f"{self.path} frame {self.frame_index}"


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


@dataclass(frozen=True, slots=True)
class Inputs:
    """Files to read, in order, each once; names that led to nothing; and notes for people."""

    files: tuple[Path, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Search:
    files: dict[str, Path] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    twice: int = 0

    def add(self, path: Path) -> None:
        if self.files.setdefault(os.path.realpath(path), path) is not path:
            self.twice += 1


def find_inputs(names: Sequence[str]) -> Inputs:
    """Find the files that are meant.

    Args:
        names: Images, videos, folders, and patterns with `*`, `?`, `[...]` or `**`; `~` is the home
            folder. A folder means the images and videos in it, in order of their names, without
            its sub-folders.

    Returns:
        What was found; nothing is opened.
    """
    search = _Search()
    for name in names:
        # Not Path.expanduser, which raises where there is no such user.
        path = Path(os.path.expanduser(name))
        if os.path.isdir(path):
            _add_folder(search, path)
        elif os.path.exists(path):
            search.add(path)
        elif glob.has_magic(name):
            _add_matches(search, name)
        else:
            message = f"{name} does not exist: name an image, a folder, a pattern or a video"
            search.failures.append(Failure(name, message))
    if search.twice:
        search.notes.append(f"{search.twice} files were named more than once and are answered once")
    return Inputs(tuple(search.files.values()), tuple(search.failures), tuple(search.notes))


def read_pictures(path: Path, thinning: Thinning, note: Note) -> Iterator[Picture]:
    """Read one file.

    Args:
        path: An image or a video.
        thinning: Which frames of a video are wanted.
        note: Told in words when a video ends early.

    Raises:
        ImageError: It cannot be read; the text names path and remedy.
    """
    if is_video(path):
        for frame in read_video(path, thinning, note):
            yield Picture(path, frame.rgb, frame.index, frame.time_s)
    else:
        yield Picture(path, read_image(path))


def expected_count(files: Iterable[Path], thinning: Thinning) -> int:
    """Estimate how many pictures the files hold, for a progress bar."""
    return sum(expected_frames(path, thinning) if is_video(path) else 1 for path in files)


def _add_folder(search: _Search, folder: Path) -> None:
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.is_dir())
    except OSError as error:
        search.failures.append(Failure(str(folder), f"{folder} cannot be listed ({error}): check its permissions"))
        return
    _add_known(search, entries, str(folder), "name a folder that holds some, or a pattern such as 'photos/**/*.jpg'")


def _add_matches(search: _Search, pattern: str) -> None:
    matches = sorted(glob.glob(os.path.expanduser(pattern), recursive=True))
    entries = [Path(match) for match in matches if not os.path.isdir(match)]
    remedy = "check the pattern; ** also looks into sub-folders, and quotes keep the shell from expanding it"
    _add_known(search, entries, pattern, remedy)


def _add_known(search: _Search, entries: Sequence[Path], name: str, remedy: str) -> None:
    known = [entry for entry in entries if entry.suffix.lower() in _KNOWN]
    for entry in known:
        search.add(entry)
    others = Counter(entry.suffix or "no ending" for entry in entries if entry.suffix.lower() not in _KNOWN)
    listed = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(5))
    if not known:
        instead = f"; it holds {others.total()} other files: {listed}" if others else ""
        search.failures.append(Failure(name, f"{name} holds no image and no video{instead}: {remedy}"))
    elif others:
        search.notes.append(f"{name}: {others.total()} files that are neither images nor videos left out ({listed})")
