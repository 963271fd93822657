"""The layout of RViz: a panel for each camera."""

from __future__ import annotations

import pytest
import yaml
from checkout import ROOT

from vlm_perception.apps.rviz.layout import layout_of

TEMPLATE = yaml.safe_load((ROOT / "rviz" / "vlm_perception.rviz").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("cameras", "shown"),
    [
        (["/image"], {"Annotated image": "/r/vlm_perception/annotated_image"}),
        (
            ["/front/image_raw", "/rear/image_raw"],
            {
                "Annotated image front": "/r/vlm_perception/front/annotated_image",
                "Annotated image rear": "/r/vlm_perception/rear/annotated_image",
            },
        ),
        (
            ["/a/camera/image", "/b/camera/image", "/c"],
            {
                f"Annotated image {name}": f"/r/vlm_perception/{name}/annotated_image"
                for name in ("a_camera", "b_camera", "c")
            },
        ),
    ],
)
def test_each_camera_has_a_picture_that_is_shown_and_one_that_is_not(cameras, shown) -> None:
    layout = layout_of(TEMPLATE, cameras, "/r/vlm_perception")
    displays = layout["Visualization Manager"]["Displays"]
    assert {each["Name"]: each["Topic"]["Value"] for each in displays if each["Enabled"]} == shown
    assert [each["Topic"]["Value"] for each in displays if not each["Enabled"]] == cameras
    assert len({each["Name"] for each in displays}) == len(displays)
    rest = {**layout["Visualization Manager"], "Displays": 0}
    assert rest == {**TEMPLATE["Visualization Manager"], "Displays": 0}


def test_a_camera_with_depth_has_boxes_and_a_cloud_in_the_frame_of_the_places() -> None:
    cameras = ["/front/image_raw", "/rear/image_raw"]
    depths = {"/rear/image_raw": "/rear/depth/compressedDepth"}
    layout = layout_of(TEMPLATE, cameras, "/vlm_perception", depths, "map")["Visualization Manager"]
    assert layout["Global Options"]["Fixed Frame"] == "map"
    shown = {each["Name"]: each for each in layout["Displays"]}
    assert list(shown)[-3:] == ["Boxes in space rear", "Depth cloud rear", "TF"]
    assert shown["Boxes in space rear"]["Topic"]["Value"] == "/vlm_perception/rear/markers_3d"
    cloud = shown["Depth cloud rear"]
    assert cloud["Depth Map Topic"] == "/rear/depth"
    assert cloud["Depth Map Transport Hint"] == "compressedDepth"
    assert (cloud["Color Image Topic"], cloud["CameraInfo Topic"]) == ("/rear/image_raw", "/rear/camera_info")


def test_what_is_remembered_is_shown_where_there_is_a_memory() -> None:
    depths = {"/image": "/depth"}
    layout = layout_of(TEMPLATE, ["/image"], "/r/vlm_perception", depths, "map", remembers=True)
    *_, memory, _ = layout["Visualization Manager"]["Displays"]
    assert memory["Topic"]["Value"] == "/r/vlm_perception/memory_markers"
    # Or a viewer that comes later sees nothing until the next change.
    assert memory["Topic"]["Durability Policy"] == "Transient Local"
