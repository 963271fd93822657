"""The README must not drift from the source."""

from __future__ import annotations

import re

import pytest
from checkout import ROOT

from scripts.docs.parameters import with_table

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", "docs/parameters.md"])
def test_parameter_table_is_the_source_s(page: str) -> None:
    """Every parameter, default, bound and description, as `settings.py` has it."""
    text = (ROOT / page).read_text(encoding="utf-8")
    assert text == with_table(text), "run python -m scripts.docs.parameters"


def test_a_page_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="0 places"):
        with_table("nothing")


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
