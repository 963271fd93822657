"""Short names for cameras, for the sub-namespaces of their results. No ROS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

# The last parts of an image topic, which tell nothing about which camera it is.
_TELLING_NOTHING = frozenset(
    {"image", "image_raw", "image_color", "image_mono", "image_rect", "image_rect_color", "color", "rgb", "compressed"}
)


def camera_names(topics: Sequence[str]) -> dict[str, str]:
    """Name each camera by the shortest part of its topic that tells it from the others.

    Args:
        topics: Resolved image topics, each once.

    Returns:
        Topic to name, a valid part of a ROS name: `/front/image_raw` is `front`. Names differ.
    """
    names = {topic: _telling(topic)[-1] for topic in topics}
    for part_of in (_telling, _parts):
        count = Counter(names.values())
        names = {topic: "_".join(part_of(topic)) if count[name] > 1 else name for topic, name in names.items()}
    found: dict[str, str] = {}
    for topic, name in names.items():
        # `/a/b` and `/a_b` read the same.
        free = next(free for n in range(1, len(names) + 2) if (free := name if n == 1 else f"{name}_{n}") not in found)
        found[free] = topic
    return {topic: name for name, topic in found.items()}


def result_prefixes(topics: Sequence[str]) -> dict[str, str]:
    """Tell below which private name the results of each camera go: `~` for one, `~/NAME` for each of several.

    Args:
        topics: Resolved image topics, each once.
    """
    if len(topics) == 1:
        return {topics[0]: "~"}
    return {topic: f"~/{name}" for topic, name in camera_names(topics).items()}


def _parts(topic: str) -> list[str]:
    return [part for part in topic.split("/") if part] or ["camera"]


def _telling(topic: str) -> list[str]:
    parts = _parts(topic)
    while len(parts) > 1 and parts[-1] in _TELLING_NOTHING:
        parts.pop()
    return parts
