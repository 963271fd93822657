"""Every page and file that is made from its source; `make docs` writes them, and a test holds them to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from scripts.docs.tables import config_yaml, launch_table, parameter_table, topic_table
from vlm_perception.ros.topics import policy_xml, uses

ROOT = Path(__file__).resolve().parents[2]
# Page and the name of its block -> what stands between the marks `<!-- NAME: made by make docs -->`.
BLOCKS: dict[tuple[str, str], Callable[[], str]] = {
    ("docs/parameters.md", "parameters"): parameter_table,
    ("docs/robot.md", "launch arguments"): launch_table,
    ("docs/topics.md", "topics"): topic_table,
}
FILES: dict[str, Callable[[], str]] = {
    "config/vlm_perception.yaml": config_yaml,
    "security/policy.xml": lambda: policy_xml(uses()),
}


def with_block(page: str, name: str, text: str) -> str:
    """Return a page with the text between its marks written anew.

    Args:
        page: Text of the page, with `<!-- NAME: made by make docs -->` and `<!-- end of NAME -->` in it, once.
        name: What the marks call the block, such as `parameters`.
        text: What goes between them, whole lines.

    Raises:
        ValueError: The page has no marks of that name, or several.
    """
    written, count = re.subn(
        rf"<!-- {name}:.*?-->\n.*?<!-- end of {name} -->",
        lambda _: f"<!-- {name}: made by make docs -->\n{text}<!-- end of {name} -->",
        page,
        flags=re.DOTALL,
    )
    if count != 1:
        raise ValueError(f"the page has {count} places for {name}, not one")
    return written


def generated() -> dict[str, str]:
    """Return every generated file, as a path in the checkout, with the text it should have."""
    texts = {name: make() for name, make in FILES.items()}
    for (page, block), make in BLOCKS.items():
        before = texts.get(page) or (ROOT / page).read_text(encoding="utf-8")
        texts[page] = with_block(before, block, make())
    return texts


def main() -> None:
    """Write them all."""
    for name, text in generated().items():
        (ROOT / name).write_text(text, encoding="utf-8")
