"""Tables in documentation pages that are written from their source, between two marks in the page."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def with_block(page: str, name: str, made_by: str, text: str) -> str:
    """Return a page with the text between its marks written anew.

    Args:
        page: Text of the page, with `<!-- NAME: made by ... -->` and `<!-- end of NAME -->` in it, once.
        name: What the marks call the block, such as `parameters`.
        made_by: Command that writes the page.
        text: What goes between them, whole lines.

    Raises:
        ValueError: The page has no marks of that name, or several.
    """
    begin, end = f"<!-- {name}: made by {made_by} -->\n", f"<!-- end of {name} -->"
    pattern = rf"<!-- {name}:.*?-->\n.*?<!-- end of {name} -->"
    written, count = re.subn(pattern, lambda _: begin + text + end, page, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"the page has {count} places for {name}, marked {begin.strip()}, not one")
    return written


def rewrite(page: Path, name: str, made_by: str, text: str) -> None:
    """Write a file's block anew; see `with_block`."""
    page.write_text(with_block(page.read_text(encoding="utf-8"), name, made_by, text), encoding="utf-8")
