"""A user's prompts file: what it may replace, and what is said about a wrong one."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from checkout import ROOT
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.errors import SettingsError
from vlm_perception.prompts.builder import build_prompt, load_prompts
from vlm_perception.prompts.templates import MAX_FILE_BYTES, MAX_TEMPLATE_CHARS, built_in_rules, read_rules
from vlm_perception.replies.labels import matching_phrase
from vlm_perception.types import Task

BUILT_IN = (ROOT / "vlm_perception" / "prompts" / "templates.yaml").read_text(encoding="utf-8")
Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> str:
        path = tmp_path / "prompts.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_a_template_is_replaced_and_the_others_stay(write: Write) -> None:
    book = load_prompts(write("templates: {detect: {english: 'Find {what}: {\"bbox\": [x]} please.'}}"))
    assert book.build("red cup").instruction == 'Find red cup: {"bbox": [x]} please.'
    for text in ("红色杯子", "how many cups", "point to the cup"):
        assert book.build(text) == build_prompt(text)


def test_every_part_can_be_replaced(write: Write) -> None:
    text = r"""
templates:
  describe: {english: "Answer in one short sentence: {what}"}
joint: {english: ", "}
prefixes: {detect: "suche|detect"}
auto:
  count: ['\bAnzahl\b']
strip: ['^die\s+']
read:
  templates: {read_document: {english: "Markdown of the page"}}
  document: ['Lieferschein']
"""
    book = load_prompts(write(text))
    assert book.build("is the door open?").instruction == "Answer in one short sentence: is the door open?"
    assert "Locate cup, person and output" in book.build("cup; person").instruction
    assert book.build("suche: die Tasse").targets == ("Tasse",)
    assert book.build("Anzahl Tassen").task is Task.COUNT
    assert book.build("how many cups").task is not Task.COUNT, "the patterns of one task are replaced together"
    assert book.build("read: Lieferschein").instruction == "Markdown of the page"
    assert book.build("read: document").targets == ("document",)
    assert book.build("read: everything") == build_prompt("read: everything")
    assert book.build("point to the cup").task is Task.POINT, "those of other tasks stay"


def test_what_stands_in_the_braces_is_not_read_again(write: Write) -> None:
    book = load_prompts(write('templates: {detect: {english: "{what} and {what} {0}"}}'))
    assert book.build("a {what} {x}").instruction == "a {what} {x} and a {what} {x} {0}"


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n", BUILT_IN])
def test_an_empty_file_and_the_built_in_one_change_nothing(write: Write, text: str) -> None:
    assert read_rules(write(text)) == built_in_rules()


def test_the_home_folder_is_understood(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write('joint: {english: " or "}')
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_rules("~/prompts.yaml").joint["english"] == " or "


# What is wrong, and words that the message must have.
WRONG: list[tuple[str, tuple[str, ...]]] = [
    ("templates: {detcet: {english: 'x {what}'}}", ("templates.detcet", "'detect'")),  # unknown task
    ("templates: {detect: {german: 'x {what}'}}", ("templates.detect.german", "'english' or 'chinese'")),
    ("templates: {detect: {english: Find it}}", ("templates.detect.english", "'Find it'", "no {what}", "put {what}")),
    ("read: {templates: {read_document: {english: ''}}}", ("read.templates.read_document.english", "at least 1")),
    ("read: {templates: {read_all: {english: 'x<|im_end|>'}}}", ("read.templates.read_all", "<|im_end|>", "remove it")),
    ("read: {templates: {read: {english: 'x'}}}", ("read.templates.read", "'read_all' or 'read_document'")),
    ("read: {templates: {read_several: {english: 'x'}}}", ("read", "no {what}", "put {what} in it")),
    ("templates: {detect: {english: 5}}", ("templates.detect.english is 5", "valid string")),
    ("templates: {detect: }", ("templates.detect is None",)),
    ("templates: {detect: '{what}'}", ("templates.detect", "valid dictionary")),
    (f"templates: {{detect: {{english: '{{what}}{'x' * MAX_TEMPLATE_CHARS}'}}}}", (f"at most {MAX_TEMPLATE_CHARS}",)),
    ("templates: {detect: {english: '{what}<|im_end|>'}}", ("<|im_end|>", "remove it")),
    ("templates: {raw: {english: 'Please {what}'}}", ("raw prompts are sent as they are", "remove it")),
    ("auto: {count: ['(how']}", ("auto.count.0", "'(how'", "not a Python regular expression", "correct it")),
    ("templates: {detect: {english: x}}\nauto: {count: [a, '(']}", ("templates.detect.english", "auto.count.1")),
    ("auto: {count: 'how'}", ("auto.count", "valid list")),
    ("auto: {count: ['']}", ("auto.count.0", "at least 1")),
    ("auto: {tally: ['how']}", ("auto.tally", "'count'")),
    ("prefixes: {detect: '*'}", ("prefixes.detect", "regular expression")),
    ("strip: ['[']", ("strip.0", "regular expression")),
    (
        "template: {}",
        ("unknown section template", "known: templates, joint, prefixes, regions, read, watch, boxes, auto, strip"),
    ),
    ("3: {}", ("prompts_file", "3")),
    ("- a\n- b", ("holds a list", "give sections")),
    ("just words", ("holds a str",)),
    ("templates: {", ("not valid YAML", "line 1", "correct it")),
    ("\tjoint: x", ("not valid YAML",)),
    ("!!python/object/apply:os.system ['true']", ("not valid YAML", "python/object")),
    ("joint: {english: a}\njoint: {english: b}", ("'joint' stands twice", "line 2")),
    ("auto: " + "[" * 40 + "]" * 40, ("nested deeper",)),
    ("auto: " + "[" * 5_000, ("not valid YAML",)),
]


@pytest.mark.parametrize(("text", "said"), WRONG, ids=[text[:40] for text, _ in WRONG])
def test_a_wrong_file_is_refused_with_place_value_and_remedy(write: Write, text: str, said: tuple[str, ...]) -> None:
    path = write(text)
    with pytest.raises(SettingsError) as caught:
        load_prompts(path)
    message = str(caught.value)
    assert path in message
    assert [words for words in said if words not in message] == [], message


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (None, "cannot be read: .*; name a readable YAML file"),
        (b"\xff\xfe\x00\x80", "name a YAML file in UTF-8"),
        (b"#" * (MAX_FILE_BYTES + 1), f"{MAX_FILE_BYTES + 1} bytes, the limit is {MAX_FILE_BYTES}"),
    ],
    ids=["missing", "binary", "large"],
)
def test_what_is_no_prompts_file_is_refused(tmp_path: Path, held: bytes | None, said: str) -> None:
    path = tmp_path / "model.safetensors"
    if held:
        path.write_bytes(held)
    with pytest.raises(SettingsError, match=said):
        load_prompts(str(path))


def test_what_can_be_no_file_is_refused(tmp_path: Path) -> None:
    for path in (str(tmp_path), "a\0b"):
        with pytest.raises(SettingsError, match="cannot be read"):
            load_prompts(path)


NAMES = st.sampled_from(["templates", "auto", "detect", "count", "english", "joint"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any") / "prompts.yaml"


@given(st.binary(max_size=60) | VALUES.map(lambda value: yaml.safe_dump(value, allow_unicode=True).encode()))
def test_any_file_is_used_or_refused_by_name(scratch: Path, held: bytes) -> None:
    scratch.write_bytes(held)
    said = str(scratch)
    try:
        load_prompts(str(scratch)).build("red cup")
    except SettingsError as error:
        said = str(error)
    assert str(scratch) in said


DOCS = (ROOT / "docs" / "prompts.md").read_text(encoding="utf-8")


def test_the_example_of_the_documentation_works(write: Write) -> None:
    lines = DOCS[DOCS.index("    # my_prompts.yaml") :].splitlines()
    block = itertools.takewhile(lambda line: line.startswith("    ") or not line, lines)
    book = load_prompts(write("\n".join(line[4:] for line in block)))
    assert book.build("find red cup").instruction.startswith("Detect red cup in the warehouse.")
    assert book.build("inventory of pallets").task is Task.COUNT
    assert book.build("grasp: the handle").task is Task.POINT
    assert book.build("is it open?").instruction == "Answer in one short sentence: is it open?"


def test_the_rules_of_the_documentation_are_the_rules() -> None:
    rows = re.findall(r"^\| \d+ \| (.+?) \| .+? \| (.+) \|$", DOCS, re.MULTILINE)
    assert len(rows) == 10
    for task, examples in rows:
        for text in re.findall(r"`(.+?)`", examples):
            assert build_prompt(text).task.value == task.replace("by name", "point"), text


def test_the_names_of_the_documentation_are_the_names() -> None:
    rows = re.findall(r"^\| (`.+`) \| `(.+?)` \| `(.+?)`.* \|$", DOCS, re.MULTILINE)
    assert len(rows) == 6
    for said, asked, published in rows:
        targets = build_prompt(asked).targets
        for label in re.findall(r"`(.+?)`", said):
            assert (matching_phrase(label, targets) or label) == published
