"""What is written into bags is what the node publishes."""

from __future__ import annotations

import pytest
from checkout import ROOT
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from vlm_perception.frames.bag_writing import message_store

UPSTREAM = {
    "Detection2D": "RIHS01_0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea",
    "Detection2DArray": "RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "Detection3D": "RIHS01_ddd703be132ab0b69d33121f1bb034132bfbb3b0ac5f9fb1516005ba1c8a265b",
    "Detection3DArray": "RIHS01_793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
}


@pytest.mark.parametrize("name", UPSTREAM)
def test_definitions_have_the_hashes_of_upstream_and_of_the_node_s_own(name: str) -> None:
    built = get_typestore(Stores.ROS2_JAZZY)
    for path in (ROOT / "interfaces" / "vision_msgs" / "msg").glob("*.msg"):
        built.register(get_types_from_msg(path.read_text(encoding="utf-8"), f"vision_msgs/msg/{path.stem}"))
    kind = f"vision_msgs/msg/{name}"
    assert message_store().hash_rihs01(kind) == built.hash_rihs01(kind) == UPSTREAM[name]
