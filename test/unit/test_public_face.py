"""`import vlm_perception`: the names people may build on, and one meaning for each name in the package."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict

import pytest
from checkout import ROOT

import vlm_perception


def test_every_public_name_is_there_and_known_to_type_checkers() -> None:
    seen_by_mypy = re.findall(r"^    from [\w.]+ import (.*)$", (ROOT / "vlm_perception/__init__.py").read_text(), re.M)
    assert sorted(name for line in seen_by_mypy for name in line.split(", ")) == sorted(vlm_perception.__all__)
    assert all(getattr(vlm_perception, name).__doc__ for name in vlm_perception.__all__)
    assert set(vlm_perception.__all__) <= set(dir(vlm_perception))


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(AttributeError, match=r"'Detector'; public names: DetectedObject, "):
        _ = vlm_perception.Detector


def test_the_page_names_what_is_public_and_nothing_else() -> None:
    table = (ROOT / "docs" / "python.md").read_text().split("| --- |")[1].split("\n\n")[0]
    first_cells = " ".join(line.split("|")[1] for line in table.splitlines() if "|" in line[1:])
    named = set(re.findall(r"`(\w+)", first_cells))
    assert named == set(vlm_perception.__all__)


def test_the_import_alone_brings_nothing_heavy() -> None:
    code = "import sys, vlm_perception; sys.exit(' '.join({'numpy', 'pydantic', 'torch'} & set(sys.modules)) or 0)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_no_two_public_classes_have_one_name() -> None:
    places = defaultdict(list)
    for path in sorted((ROOT / "vlm_perception").rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(path.name)
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
