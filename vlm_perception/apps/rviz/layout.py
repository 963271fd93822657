"""The layout of RViz for some cameras, made from that of the package."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from vlm_perception.ros.topics import camera_info_topic, is_compressed_depth, result_prefixes


def layout_of(
    template: Mapping[str, Any],
    cameras: Sequence[str],
    node: str,
    depths: Mapping[str, str] = MappingProxyType({}),
    target_frame: str = "",
    remembers: bool = False,
) -> dict[str, Any]:
    """Give each camera its two pictures, what was found, shown, and the camera's own, hidden; in space what has depth.

    Args:
        template: Layout of the package, for one camera: displays of the annotated image, of the camera's, of boxes in
            space, of the depth cloud, of what is remembered, and of TF.
        cameras: Resolved topics of raw images, each once.
        node: Full name of the perception node.
        depths: Image topic to depth topic of the cameras that have depth.
        target_frame: The frame that the places are in; empty where that is the camera's own.
        remembers: Whether the node has a memory.

    Returns:
        A layout whose displays have names of their own, since RViz tells panels apart by them.
    """
    layout = copy.deepcopy(dict(template))
    manager = layout["Visualization Manager"]
    annotated, plain, boxes, cloud, remembered, frames = manager["Displays"]
    displays: list[dict[str, Any]] = []
    for camera, prefix in result_prefixes(cameras).items():
        name, below = prefix.removeprefix("~").removeprefix("/"), prefix.replace("~", node)
        shown = [(annotated, {"Value": f"{below}/annotated_image"}), (plain, {"Value": camera})]
        if depth := depths.get(camera):
            shown.append((boxes, {"Value": f"{below}/markers_3d"}))
            topics = {
                "Color Image Topic": camera,
                "CameraInfo Topic": camera_info_topic(camera),
                "Depth Map Topic": depth.removesuffix("/compressedDepth"),
                "Depth Map Transport Hint": "compressedDepth" if is_compressed_depth(depth) else "raw",
            }
            shown.append((cloud, topics))
        for display, changes in shown:
            own = copy.deepcopy(display)
            own["Name"] = f"{display['Name']} {name}".strip()
            own.get("Topic", own).update(changes)
            displays.append(own)
    if remembers:
        remembered["Topic"]["Value"] = f"{node}/memory_markers"
        displays.append(remembered)
    if depths:
        displays.append(frames)
    manager["Displays"] = displays
    if target_frame:
        manager["Global Options"]["Fixed Frame"] = target_frame
    return layout
