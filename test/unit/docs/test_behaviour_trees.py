"""What docs/behaviour_trees.md gives to Nav2, which is not here, names the fields of the action and nothing else."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from checkout import ROOT

from vlm_perception.ros.topics import NODE, uses

PAGE = (ROOT / "docs" / "behaviour_trees.md").read_text(encoding="utf-8")
(XML,) = re.findall(r"```xml\n(.*?)```", PAGE, re.DOTALL)
(CPP,) = re.findall(r"```cpp\n(.*?)```", PAGE, re.DOTALL)
# Those of every `BtActionNode`, and what `on_success` makes of the answer.
BASIC, MADE = {"server_name", "server_timeout"}, {"pose"}


def fields_of_action() -> tuple[dict[str, str], dict[str, str]]:
    """Name -> C++ type of the goal and of the result."""
    text = (ROOT / "interfaces/vlm_perception_msgs/action/Detect.action").read_text(encoding="utf-8")
    goal, result, _ = (re.findall(r"^([\w/]+) (\w+)$", part, re.MULTILINE) for part in text.split("---\n"))
    return {name: _in_cpp(kind) for kind, name in goal}, {name: _in_cpp(kind) for kind, name in result}


def _in_cpp(kind: str) -> str:
    if kind in ("string", "bool"):
        return {"string": "std::string"}.get(kind, kind)
    package, _, name = f"vlm_perception_msgs/{kind}".rpartition("/")
    return f"{package.rpartition('/')[2]}::msg::{name}"


GOAL, RESULT = fields_of_action()


def test_the_model_of_the_tree_has_the_fields_of_the_action_as_ports() -> None:
    (model,) = ElementTree.fromstring(XML).findall("TreeNodesModel/Action")
    ports = {
        kind: {port.attrib["name"]: port.attrib["type"] for port in model.findall(kind)}
        for kind in ("input_port", "output_port")
    }
    assert len(GOAL) == 7
    assert {name: kind for name, kind in ports["input_port"].items() if name not in BASIC} == GOAL
    assert {name: kind for name, kind in ports["output_port"].items() if name not in MADE} == RESULT
    assert ports["input_port"].keys() >= BASIC


def test_the_tree_uses_ports_that_are_there_and_the_action_s_own_name() -> None:
    tree = ElementTree.fromstring(XML)
    (step,) = tree.findall("BehaviorTree//FindObject")
    assert step.attrib.keys() <= GOAL.keys() | RESULT.keys() | BASIC | MADE
    actions = [use.name for use in uses() if use.access == "execute"]
    assert [step.attrib["server_name"]] == [name.replace("~", f"/{NODE}") for name in actions]
    assert tree.attrib["main_tree_to_execute"] in {each.attrib["ID"] for each in tree.findall("BehaviorTree")}
    written = {value for each in step.iter() for name, value in each.attrib.items() if name in MADE}
    read = {value for each in tree.findall("BehaviorTree//ComputePathToPose") for value in each.attrib.values()}
    assert written <= read


def test_the_plugin_provides_the_same_ports_and_hands_every_one_to_the_goal() -> None:
    inputs = {name: kind for kind, name in re.findall(r'BT::InputPort<([\w:]+)>\("(\w+)"\)', CPP)}
    outputs = {name: kind for kind, name in re.findall(r'BT::OutputPort<([\w:]+)>\("(\w+)"\)', CPP)}
    assert inputs == GOAL
    assert {name: kind for name, kind in outputs.items() if name not in MADE} == RESULT
    assert re.findall(r'getInput\("(\w+)", goal_\.(\w+)\)', CPP) == [(name, name) for name in GOAL]
    assert set(re.findall(r'setOutput\("(\w+)"', CPP)) == outputs.keys()
    assert (CPP.count("{"), CPP.count("(")) == (CPP.count("}"), CPP.count(")"))
