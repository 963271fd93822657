"""The layout of RViz for some cameras, made from that of the package."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from vlm_perception.ros.topics import result_prefixes


def layout_of(template: Mapping[str, Any], cameras: Sequence[str], node: str) -> dict[str, Any]:
    """Give each camera its two pictures: what was found, shown, and the camera's own, hidden.

    Args:
        template: Layout of the package, for one camera: a display of the annotated image, then one of the camera's.
        cameras: Resolved topics of raw images, each once.
        node: Full name of the perception node.

    Returns:
        A layout whose displays have names of their own, since RViz tells panels apart by them.
    """
    layout = copy.deepcopy(dict(template))
    displays = layout["Visualization Manager"]["Displays"]
    annotated, plain = displays
    displays.clear()
    for camera, prefix in result_prefixes(cameras).items():
        name = prefix.removeprefix("~").removeprefix("/")
        for display, topic in ((annotated, f"{prefix}/annotated_image".replace("~", node)), (plain, camera)):
            own = copy.deepcopy(display)
            own["Name"] = f"{display['Name']} {name}".strip()
            own["Topic"]["Value"] = topic
            displays.append(own)
    return layout
