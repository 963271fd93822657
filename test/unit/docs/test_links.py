"""Links and names of the documentation lead somewhere: pages, files, sections, modules, parameters, targets.

Addresses elsewhere are only looked at.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from checkout import ROOT

from vlm_perception.settings import parameters
from vlm_perception.startup.commands import COMMANDS

DOCS = sorted((ROOT / "docs").glob("*.md"))
CARDS = sorted((ROOT / "models").glob("*/README.md"))
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *CARDS, *DOCS]
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
# Folders that names in the text may leave out.
BASES = ("", "vlm_perception", "vlm_perception/engines", "vlm_perception/ros", "test/unit", "docs", "launch/examples")
MADE = ("build/", "demo_output/", ".venv")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    return CODE.sub("", page.read_text(encoding="utf-8"))


def sections(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if target.startswith("http"):
            assert target.startswith("https://"), target
            continue
        name, _, section = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), f"{page.name} links to {target}"
        assert not section or section in sections(linked), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_are_named_exist(page: Path) -> None:
    """Every `folder/file.py`, `file.py` and `folder/` in the text is one of ours."""
    known = {path.name for folder in ("vlm_perception", "test", "launch") for path in (ROOT / folder).rglob("*.*")}
    for name in re.findall(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|md|xml|yaml|sh))`", prose(page)):
        if "/" in name and not name.startswith(MADE):
            assert any((ROOT / base / name).exists() for base in BASES), f"{page.name} names {name}"
        elif name.endswith(".py"):
            assert name in known | {"setup.py", "red_engine.py"}, f"{page.name} names {name}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for module, arguments in set(re.findall(r"python -m ([\w.]+\w)([^`\n>]*)", text)):
        if module.split(".")[0] in ("vlm_perception", "training", "benchmarks"):
            found = importlib.util.find_spec(module)
            if found is not None and found.submodule_search_locations is not None:
                found = importlib.util.find_spec(f"{module}.__main__")
            assert found is not None, f"{page.name}: python -m {module}"
            source = Path(str(found.origin)).read_text(encoding="utf-8")
            for option in re.findall(r"--[\w-]+", arguments):
                assert f'"{option}"' in source, f"{page.name}: python -m {module} {option}"
    for code in CODE.findall(text):
        for command in re.findall(r"^(?:\.venv/bin/)?(vlm[-_][\w-]+)", code, re.MULTILINE):
            assert command in COMMANDS, f"{page.name}: {command}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_targets_of_make_that_are_named_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lines = "\n".join(CODE.findall(page.read_text(encoding="utf-8"))) + " ".join(re.findall(r"`[^`]+`", prose(page)))
    for target in set(re.findall(r"\bmake ([a-z][a-z-]+)\b", lines)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page.name}: make {target}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_parameters_that_are_set_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    ours = {parameter.name for parameter in parameters()} | {
        "use_sim_time",
        "path",
        "topic",
        "loop",
        "clock",
        "seed",
        "n_objects",
        "world",
        "base_turn",
    }
    for name in re.findall(r"-p (\w+):=", text):
        assert name in ours, f"{page.name}: {name}"


def test_the_readme_leads_to_every_page_and_its_commands_are_those_that_a_test_runs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {f"docs/{page.name}" for page in DOCS} <= {target.partition("#")[0] for target in LINK.findall(readme)}
    tried = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8").splitlines()
    assert set(re.findall(r"^\.venv/bin/(.*)$", readme, re.MULTILINE)) <= set(tried)
