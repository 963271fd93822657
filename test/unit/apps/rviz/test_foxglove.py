"""The layout of Foxglove shows what the node publishes."""

from __future__ import annotations

import json

from checkout import ROOT

from vlm_perception.ros.topics import uses

LAYOUT = json.loads((ROOT / "foxglove" / "vlm_perception.json").read_text(encoding="utf-8"))


def strings_of(value: object) -> set[str]:
    """Every string in it, keys too."""
    if isinstance(value, dict):
        return set(value) | {text for each in value.values() for text in strings_of(each)}
    if isinstance(value, list):
        return {text for each in value for text in strings_of(each)}
    return {value} if isinstance(value, str) else set()


def test_its_topics_are_those_of_a_node_with_one_camera_that_has_depth() -> None:
    known = {use.name.replace("~", "/vlm_perception") for use in uses({"/image": "~"}, depths={"/image": "/depth"})}
    named = {text.removesuffix(".data") for text in strings_of(LAYOUT["configById"]) if text.startswith("/")}
    assert named <= known
    assert {"/image", "/camera_info", "/depth", "/vlm_perception/markers", "/vlm_perception/markers_3d"} <= named
    assert "/vlm_perception/memory_markers" in named


def test_every_panel_has_a_place_and_every_place_a_panel() -> None:
    assert {text for text in strings_of(LAYOUT["layout"]) if "!" in text} == set(LAYOUT["configById"])
