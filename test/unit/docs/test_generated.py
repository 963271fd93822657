"""What is written from its source has not drifted from it."""

from __future__ import annotations

import pytest
from checkout import ROOT

from scripts.docs.pages import BLOCKS, generated, with_block

TEXTS = generated()


@pytest.mark.parametrize("name", TEXTS)
def test_files_are_what_their_source_makes(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == TEXTS[name], "run make docs"


def test_every_table_has_as_many_cells_in_each_row() -> None:
    for make in BLOCKS.values():
        assert len({row.count("|") for row in make().splitlines()}) == 1


@pytest.mark.parametrize("page", ["", "<!-- x: a -->\n<!-- end of x -->\n" * 2])
def test_a_page_with_no_place_or_two_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match=r"has [02] places for x"):
        with_block(page, "x", "text")
