"""Nothing we ship can run code that came as data, and no topic can name a file or a model."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from checkout import ROOT

from vlm_perception.settings import parameters

PACKAGE = ROOT / "vlm_perception"
FILES = sorted(PACKAGE.rglob("*.py"))
# What runs on the user's machine beside the package: set-up, launch files, training, measurements.
FOLDERS = ("benchmarks", "launch", "scripts", "training")
BESIDE = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
# Modules whose reading of data runs code in it.
MODULES = {"pickle", "cPickle", "_pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal", "jsonpickle"}
CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "torch.load",
    "torch.hub.load",
    "pandas.read_pickle",
    "yaml.load",
    "yaml.load_all",
    "yaml.full_load",
    "yaml.unsafe_load",
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
}
# Arguments that open such a door in calls that are harmless without them.
ARGUMENTS = {"trust_remote_code", "allow_pickle", "shell", "weights_only"}


def unsafe(source: str) -> list[str]:
    """Name what a file must not hold."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            found += [name] if name in CALLS else []
            for keyword in node.keywords:
                off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg in ARGUMENTS and not off:
                    found.append(f"{name}({keyword.arg}={ast.unparse(keyword.value)})")
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "import torch\ntorch.load('x')",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
        "eval(text)",
        "model = make(trust_remote_code=True)",
        "model = make(trust_remote_code=settings.trust)",
        "numpy.load(path, allow_pickle=True)",
        "subprocess.run(line, shell=True)",
    ],
)
def test_the_check_sees_what_it_looks_for(source: str) -> None:
    assert unsafe(source)


@pytest.mark.parametrize("path", [*FILES, *BESIDE], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_runs_code_out_of_data(path: Path) -> None:
    assert unsafe(path.read_text(encoding="utf-8")) == []


def test_every_loader_of_the_model_refuses_foreign_code_by_name() -> None:
    """Left out, the default of a later transformers would decide."""
    loaders = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".from_pretrained"):
                loaders.append({keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords})
    assert loaders
    assert all(keywords.get("trust_remote_code") == "False" for keywords in loaders)
    assert all(keywords.get("use_safetensors") == "True" for keywords in loaders if "dtype" in keywords)


def test_what_names_a_file_or_a_model_can_change_only_while_the_node_is_unconfigured() -> None:
    known = {parameter.name: parameter for parameter in parameters()}
    assert not any("trust" in name or "remote" in name for name in known)
    # A new parameter that names a path has to be thought about here.
    words = ("file", "folder", "path", "dir", "model", "url", "host", "server", "command")
    named = {name for name in known if any(word in name for word in words)}
    served = {"servers", "served_model", "model_family", "server_image", "server_key_file", "server_stall_s"}
    assert named == {"model", "fallback_model", "prompts_file", "memory_file", *served}
    assert {known[name].changes for name in named} == {"unconfigured"}


def test_no_text_from_a_topic_becomes_a_parameter() -> None:
    """Only parameters name files and models; what a topic brings is never made into one."""
    setters = {"set_parameters", "set_parameters_atomically", "from_mapping", "changed", "load_prompts", "read_rules"}
    found = {}
    for path in (PACKAGE / "ros").rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        names = {node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func) for node in calls}
        if names & setters:
            found[path.name] = names & setters
    # parameters.py: ROS' own parameter services. prompt_topic.py: the file that the parameter `prompts_file` names.
    assert found.keys() == {"prompt_topic.py", "parameters.py"}, found
    assert found["prompt_topic.py"] == {"load_prompts"}
