"""A ROS 2 bag with a camera and the truth about its images: a `vision_msgs/Detection2DArray` under each image's stamp.

Each `class_id` that an image has is one question, and so are some that it does not have. Other topics, such as truth in
space, are passed over.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vlm_perception.apps.evaluate.questions import Dataset, Query, Sheet, TrueBox, label_questions
from vlm_perception.errors import DatasetError
from vlm_perception.frames.bag_detections import DETECTIONS, RecordedBox, read_detections
from vlm_perception.frames.bags import Bag, BagMessage, open_bag
from vlm_perception.types import Frame

Note = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class RecordedImage:
    """An image of a bag; see `SheetImage`."""

    title: str
    read: Callable[[], Frame]


class RecordedSheets:
    """The images of a bag with their questions, read anew whenever somebody goes through them.

    Args:
        path: The bag.
        camera: Topic of the images.
        questions: About each image that is asked about, by its number on the topic.
    """

    def __init__(self, path: Path, camera: str, questions: Mapping[int, tuple[Query, ...]]) -> None:
        self._path, self._camera, self._questions = path, camera, questions

    def __iter__(self) -> Iterator[Sheet]:
        # What of the bag is damaged was told when its truth was read.
        with open_bag(self._path, lambda text: None) as bag:
            for image in bag.images(self._camera):
                if image.index in self._questions:
                    title = f"{self._path} image {image.index}"
                    yield Sheet(RecordedImage(title, image.read), self._questions[image.index])


def read_truth_bag(path: Path, topic: str, truth_topic: str, absent: int, note: Note) -> Dataset:
    """Read the truth, and find the images that it is about.

    Args:
        path: The bag: a folder or a file.
        topic: The camera's; empty where there is only one.
        truth_topic: That of the truth; empty where there is only one of its type.
        absent: For about how many labels that it does not have an image is asked; the same ones every time.
        note: Told in words what of the bag is damaged.

    Raises:
        ImageError: Nothing of it can be read, or the camera is not one of it.
        DatasetError: It has no such truth.
    """
    left_out = Counter[str]()
    truths: dict[int, dict[str, list[TrueBox]]] = {}
    images: defaultdict[int, list[int]] = defaultdict(list)
    with open_bag(path, note) as bag:
        camera = bag.image_topic(topic)
        truth = _truth_topic(bag, path, truth_topic)
        index = -1
        for message in bag.messages([camera, truth]):
            stamp_ns = message.stamp_ns
            if message.topic == camera:
                index += 1
                if stamp_ns:
                    images[stamp_ns].append(index)
                else:
                    left_out["images without a stamp"] += 1
            elif (boxes := _boxes(message, left_out)) is not None:
                if not stamp_ns:
                    left_out["truths without a stamp"] += 1
                    continue
                for label, found in boxes.items():
                    truths.setdefault(stamp_ns, defaultdict(list))[label] += found
                truths.setdefault(stamp_ns, {})
    alone = {stamp_ns: indices[0] for stamp_ns, indices in images.items() if len(indices) == 1}
    # Nobody knows which of them the truth is about.
    left_out["images that share a stamp"] = sum(map(len, images.values())) - len(alone)
    left_out["images without a truth of their stamp"] = len(images.keys() - truths.keys())
    left_out["truths without an image of their stamp"] = len(truths.keys() - images.keys())
    labels = sorted({label for there in truths.values() for label in there})
    questions = {
        index: asked
        for stamp_ns, index in alone.items()
        if stamp_ns in truths and (asked := label_questions(str(stamp_ns), truths[stamp_ns], labels, absent))
    }
    notes = tuple(f"{count} {what}: left out" for what, count in left_out.items() if count)
    return Dataset(RecordedSheets(path, camera, questions), len(questions), notes)


def _truth_topic(bag: Bag, path: Path, wanted: str) -> str:
    known = [name for name, topic in sorted(bag.topics.items()) if topic.kind == DETECTIONS]
    name = wanted if wanted.startswith("/") or not wanted else f"/{wanted}"
    if name in known or (not name and len(known) == 1):
        return name or known[0]
    if not known:
        raise DatasetError(f"{path} has no topic of {DETECTIONS}: record one with the truth under the images' stamps")
    listed = ", ".join(known)
    if not name:
        raise DatasetError(f"{path} has several topics of {DETECTIONS}, {listed}: name one with --truth-topic")
    raise DatasetError(f"{path} has no {DETECTIONS} on {name}: name one of {listed} with --truth-topic")


def _boxes(message: BagMessage, left_out: Counter[str]) -> dict[str, list[TrueBox]] | None:
    """Boxes by label; None where the message is damaged."""
    try:
        found = read_detections(message)
    except DatasetError:
        left_out["truths that are damaged, or of a vision_msgs before ROS 2 Humble"] += 1
        return None
    boxes: dict[str, list[TrueBox]] = defaultdict(list)
    for each in found:
        if (true := _true_box(each)) is None:
            left_out["detections without a name or an area, such as points"] += 1
        else:
            boxes[each.label.strip()].append(true)
    return boxes


def _true_box(found: RecordedBox) -> TrueBox | None:
    left, top, right, bottom = found.xyxy
    area = (right - left) * (bottom - top)
    usable = found.label.strip() and math.isfinite(area) and left < right and top < bottom
    return TrueBox(found.xyxy, area) if usable else None
