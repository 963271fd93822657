"""The SROS 2 policy is well formed, is what its list makes, and allows nothing by a pattern."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from checkout import ROOT

from vlm_perception.ros.topics import main, policy_xml, uses

SHIPPED = ROOT / "security" / "policy.xml"
# What the schema of format 0.2.0 allows: element -> (its attributes, its children).
SCHEMA = {
    "policy": ({"version"}, {"enclaves"}),
    "enclaves": (set(), {"enclave"}),
    "enclave": ({"path"}, {"profiles"}),
    "profiles": (set(), {"profile"}),
    "profile": ({"ns", "node"}, {"topics", "services", "actions"}),
    "topics": ({"publish", "subscribe"}, {"topic"}),
    "services": ({"reply", "request"}, {"service"}),
    "actions": ({"call", "execute"}, {"action"}),
    "topic": (set(), set()),
    "action": (set(), set()),
    "service": (set(), set()),
}


@pytest.mark.parametrize(
    "policy",
    [SHIPPED.read_text(encoding="utf-8"), policy_xml(uses({"/a&b/<c>": "~"}, sim_time=True), namespace="/robot1")],
)
def test_the_policy_keeps_the_schema(policy: str) -> None:
    root = ElementTree.fromstring(policy)
    assert (root.tag, root.attrib) == ("policy", {"version": "0.2.0"})
    for element in root.iter():
        attributes, children = SCHEMA[element.tag]
        assert set(element.attrib) <= attributes
        assert {child.tag for child in element} <= children
        assert len(element) > 0 or not children, f"an empty {element.tag} is against the schema"


def test_nothing_is_allowed_by_a_pattern_and_no_service_may_be_called() -> None:
    root = ElementTree.parse(SHIPPED).getroot()
    for group in (*root.iter("topics"), *root.iter("services"), *root.iter("actions")):
        assert list(group.attrib.values()) == ["ALLOW"]
        assert not {"request", "call"} & group.attrib.keys()
    names = [element.text or "" for kind in ("topic", "service", "action") for element in root.iter(kind)]
    assert names
    assert not any(set(name) & set("*?[]") for name in names)


@pytest.mark.parametrize("image", ["/front/image_raw", "/front/image_raw/compressed"])
def test_a_policy_is_made_for_a_robot_s_own_names(image: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--namespace", "/robot1", "--node", "eyes", "--image", image, "--compressed"]) == 0
    root = ElementTree.fromstring(capsys.readouterr().out)
    assert [enclave.get("path") for enclave in root.iter("enclave")] == ["/robot1/eyes"]
    heard = root.find(".//topics[@subscribe='ALLOW']")
    assert heard is not None
    assert [topic.text for topic in heard] == ["/front/camera_info", "/front/image_raw/compressed", "~/prompt"]


def test_cameras_of_one_namespace_share_their_calibration() -> None:
    root = ElementTree.fromstring(policy_xml(uses({"/left": "~/left", "/right": "~/right"})))
    heard = root.find(".//topics[@subscribe='ALLOW']")
    assert heard is not None
    assert [topic.text for topic in heard] == ["/camera_info", "/left", "/right", "~/prompt"]


def test_a_namespace_without_a_slash_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--namespace", "robot1"])
    assert "'robot1': it must begin with a slash" in capsys.readouterr().err
