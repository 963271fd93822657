"""A bag -> the images of it that are asked about, the frames between them, and where in space things in them are."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

from vlm_perception.apps.detect.bag_space import AHEAD_NS, BagSpace
from vlm_perception.apps.detect.inputs import DepthBeside, Failure, Note, OnBetween, Picture
from vlm_perception.errors import ImageError
from vlm_perception.frames.bags import Bag, BagImage, open_bag
from vlm_perception.frames.film_clip import FilmSampling, watch_bag
from vlm_perception.frames.videos import Chooser, Thinning


def watch_recording(path: Path, watching: FilmSampling, note: Note, topic: str) -> Picture:
    """Read a camera of a bag as one film.

    Raises:
        ImageError: See `watch_bag`.
    """
    with open_bag(path, note) as bag:
        camera = bag.image_topic(topic)
        clip, index, recorded_ns = watch_bag(bag, camera, watching, note)
    last = clip.frames[-1]
    return Picture(path, last.rgb, index, clip.duration_s, clip, last.header, camera, recorded_ns)


def read_bag(
    path: Path,
    thinning: Thinning,
    note: Note,
    topic: str = "",
    depth: DepthBeside | None = None,
    on_between: OnBetween | None = None,
) -> Iterator[Picture | Failure]:
    """Read the images of a camera; see `read_pictures`.

    Raises:
        ImageError: The bag cannot be read, or has no such camera or depth.
    """
    with open_bag(path, note) as bag:
        camera = bag.image_topic(topic)
        space = None if depth is None else BagSpace(path, bag, camera, depth, note)
        empty = True
        for image, is_asked in _in_order(bag, camera, thinning, space, on_between is not None):
            empty = False
            try:
                frame = image.read()
            except ImageError as error:
                text = f"image {image.index} of {error}"
                if is_asked:
                    yield Failure(str(path), text, image.index, image.time_s)
                else:
                    note(text)
                continue
            if is_asked:
                yield Picture(
                    path, frame.rgb, image.index, image.time_s, None, frame.header, camera, image.recorded_ns,
                    None if space is None else space.place,
                )  # fmt: skip
            elif on_between is not None:
                on_between(path, frame, image.recorded_ns)
        if empty:
            raise ImageError(f"{path} holds no message on {camera} that can be read: record it anew", cause="no_images")


def _in_order(
    bag: Bag, camera: str, thinning: Thinning, space: BagSpace | None, with_others: bool
) -> Iterator[tuple[BagImage, bool]]:
    """Yield images and whether they are asked about, each when the space around it has been heard."""
    chooser, ahead_ns = Chooser(thinning), 0 if space is None else AHEAD_NS
    waiting: deque[tuple[BagImage, bool]] = deque()
    index, start_ns = 0, None
    for message in bag.messages([camera, *(() if space is None else space.topics)]):
        while waiting and message.recorded_ns - waiting[0][0].recorded_ns > ahead_ns:
            yield waiting.popleft()
        if chooser.is_done and not waiting:
            return
        if message.topic != camera:
            assert space is not None
            space.hear(message)
            continue
        start_ns = message.recorded_ns if start_ns is None else start_ns
        time_s = round((message.recorded_ns - start_ns) * 1e-9, 6)
        is_asked = chooser.wants(index, time_s)
        if is_asked or (with_others and not chooser.is_done):
            waiting.append((bag.image(message, index, time_s), is_asked))
        index += 1
        if not ahead_ns:
            yield from waiting
            waiting.clear()
    yield from waiting
