"""docs/security.md and docs/image-formats.md say what the source says, and lead somewhere."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from checkout import ROOT

from vlm_perception.frames.compressed import MAX_PIXELS
from vlm_perception.frames.encodings import SUPPORTED_ENCODINGS
from vlm_perception.prompts.builder import MAX_PROMPT_CHARS
from vlm_perception.ros.topics import main, uses

DOCS = ROOT / "docs"
SECURITY = (DOCS / "security.md").read_text(encoding="utf-8")
FORMATS = (DOCS / "image-formats.md").read_text(encoding="utf-8")


def test_the_table_of_encodings_is_complete() -> None:
    table = FORMATS.split("## Compressed")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == list(SUPPORTED_ENCODINGS)


def test_every_cause_of_an_image_error_is_explained() -> None:
    package = DOCS.parent / "vlm_perception"
    sources = (package / "frames/encodings.py").read_text() + (package / "frames/compressed.py").read_text()
    raised = set(re.findall(r'cause="(\w+)"', sources)) - {"unencodable"}
    assert set(re.findall(r"^\| `(\w+)` \|", FORMATS.split("## Causes")[1], re.MULTILINE)) == raised


def test_the_limits_are_the_source_s() -> None:
    assert f"More than {MAX_PROMPT_CHARS} characters are refused" in " ".join(SECURITY.split())
    for page in (SECURITY, FORMATS):
        assert f"{MAX_PIXELS // 10**6} million pixels" in page


@pytest.mark.parametrize("command", re.findall(r"python -m vlm_perception\.ros\.topics (--.*) > policy\.xml", SECURITY))
def test_the_commands_work(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command.split()) == 0
    assert "<enclave path=" in capsys.readouterr().out


def test_the_application_s_enclave_fits_the_node_and_configures_nothing() -> None:
    (text,) = re.findall(r"```xml\n(<enclave .*?</enclave>)\n```", SECURITY, re.DOTALL)
    enclave = ElementTree.fromstring(text)
    mine = {(use.access, use.name.replace("~", "/vlm_perception")) for use in uses()}
    other_side = {"publish": "subscribe", "subscribe": "publish", "request": "reply"}
    asked = []
    for group in (*enclave.iter("topics"), *enclave.iter("services")):
        (access,) = group.attrib
        for item in group:
            name = str(item.text)
            # What every node publishes and offers is its own.
            if access in other_side and name not in ("/rosout", "/parameter_events"):
                assert (other_side[access], name) in mine, name
            asked += [name] if access == "request" else []
    assert not any(word in name for name in asked for word in ("change_state", "set_parameters"))


@pytest.mark.parametrize("page", ["security.md", "image-formats.md"])
def test_linked_and_named_files_exist(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (DOCS / target).exists(), target
    for name in re.findall(r"`((?:vlm_perception|test|security)/[\w/.]+)`", text):
        assert (DOCS.parent / name).exists(), name
