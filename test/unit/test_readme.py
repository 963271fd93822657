"""The README must not drift from the source."""

from __future__ import annotations

import re
from pathlib import Path

from vlm_perception.settings import markdown_table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_parameter_table_is_the_source_s() -> None:
    """Every parameter, default, bound and description, as `settings.py` has it."""
    between = re.search(r"<!-- parameters:.*?-->\n(.*)<!-- end of parameters -->", README, re.DOTALL)
    assert between is not None
    assert between.group(1) == markdown_table()


def test_linked_files_exist() -> None:
    """Links and pictures of the README and of the model card lead somewhere."""
    for page in (ROOT / "README.md", ROOT / "models/tiny/README.md", ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name} links to {target}"


def test_make_targets_exist() -> None:
    """Every `make` command of the README is a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"\bmake ([a-z-]+)\b", re.sub(r"`make`", "", README))):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target} is no target"
