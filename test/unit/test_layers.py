"""The rule of the rooms stands in .importlinter; here: that it can break, and what it cannot say."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import ROOT

PACKAGE = ROOT / "vlm_perception"
# Contract -> a module and an import in it that the contract must not let through.
PLANTED = {
    "layers": ("replies/labels.py", "vlm_perception.engines.base"),
    "ros": ("worker/timeouts.py", "rclpy"),
    "startup": ("startup/processes.py", "numpy"),
    "torch": ("frames/encodings.py", "torch"),
    "httpx": ("engines/base.py", "httpx"),
    "apps": ("apps/web/app.py", "vlm_perception.apps.detect"),
    "gradio": ("drawing/annotate.py", "gradio"),
    "rosbags": ("apps/detect/inputs.py", "rosbags"),
    "roslayers": ("ros/inputs/cameras.py", "vlm_perception.ros.services"),
}


def lint(folder: Path) -> str:
    line = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False, timeout=120).stdout


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What lint-imports says of a copy with one import too many for every contract."""
    folder = tmp_path_factory.mktemp("planted")
    shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", folder)
    for file, module in PLANTED.values():
        with (folder / PACKAGE.name / file).open("a", encoding="utf-8") as source:
            source.write(f"\nimport {module}\n")
    return lint(folder)


def test_every_contract_is_kept() -> None:
    assert "0 broken" in lint(ROOT)


@pytest.mark.parametrize("contract", re.findall(r"importlinter:contract:(\w+)", (ROOT / ".importlinter").read_text()))
def test_every_contract_breaks_on_a_planted_import(planted: str, contract: str) -> None:
    name = re.search(rf"contract:{contract}\]\nname = (.*)", (ROOT / ".importlinter").read_text())
    assert name
    file, module = PLANTED[contract]
    _, section = planted.split(f"\n{name[1]}\n---", 1)
    section = section.split("\n---", 1)[0]
    importer = f"vlm_perception.{file.removesuffix('.py').replace('/', '.')}"
    assert f"{importer} -> {module}" in " ".join(section.split()), section


def imported(path: Path) -> Iterator[str]:
    """Yield the names of the top packages that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def test_what_the_system_s_python_reads_needs_the_standard_library_alone() -> None:
    """A launch file is read before the environment with torch is found."""
    allowed = {*sys.stdlib_module_names, "vlm_perception"}
    for path in (PACKAGE / "__init__.py", *(PACKAGE / "startup").glob("*.py")):
        assert set(imported(path)) <= allowed, path.name


def test_one_module_imports_gradio() -> None:
    assert [path.name for path in (PACKAGE / "apps").rglob("*.py") if "gradio" in set(imported(path))] == ["page.py"]


def test_what_has_no_model_yet_waits_for_no_model_library() -> None:
    """Importing torch takes seconds, in which a node hears nothing and a command says nothing."""
    modules = "vlm_perception.ros.node, vlm_perception.apps.detect.command, vlm_perception.apps.web.app"
    heavy = {"torch", "transformers", "gradio", "rosbags"}
    code = f"import sys, {modules}; sys.exit(' '.join({heavy} & set(sys.modules)) or 0)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=120)
