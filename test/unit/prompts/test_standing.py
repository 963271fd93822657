"""Plain text or a JSON list -> standing prompts."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vlm_perception.errors import PromptError
from vlm_perception.prompts.builder import MAX_PROMPT_CHARS, build_prompt
from vlm_perception.prompts.standing import MAX_STANDING_PROMPTS, parse_prompts
from vlm_perception.types import Prompt, Task


def parse(text: str, task: Task = Task.AUTO) -> tuple[Prompt, ...]:
    return parse_prompts(text, build_prompt, task)


# what is sent -> id, text and task of each prompt
READ = [
    ("red cup", [("", "red cup", "detect")]),
    ("red cup\nor a mug", [("", "red cup\nor a mug", "detect")]),
    ("", []),
    ("  \n", []),
    ("[]", []),
    ('["red cup"]', [("1", "red cup", "detect")]),
    (' ["red cup", "how many cups?"]\n', [("1", "red cup", "detect"), ("2", "how many cups?", "count")]),
    ('[{"id": "cup", "prompt": "red cup"}]', [("cup", "red cup", "detect")]),
    ('[{"prompt": "cup", "task": "point"}, "猫"]', [("1", "cup", "point"), ("2", "猫", "detect")]),
    ('[{"id": "7", "prompt": "cup"}, "cup"]', [("7", "cup", "detect"), ("2", "cup", "detect")]),
    # What only begins like a list is one plain prompt.
    ("[the red one", [("", "[the red one", "detect")]),
    ("['cup', 'bottle']", [("", "['cup', 'bottle']", "detect")]),
    ('["cup", 3]', [("", '["cup", 3]', "detect")]),
    ('[{"label": "cup"}]', [("", '[{"label": "cup"}]', "detect")]),
    ('["cup"] and more', [("", '["cup"] and more', "detect")]),
    ('{"prompt": "cup"}', [("", '{"prompt": "cup"}', "detect")]),
]


@pytest.mark.parametrize(("text", "expected"), READ)
def test_prompts_are_read(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert [(prompt.id, prompt.text, prompt.task.value) for prompt in parse(text)] == expected


def test_the_task_that_is_set_holds_for_prompts_that_name_none() -> None:
    tasks = [prompt.task for prompt in parse('["cup", {"prompt": "cup", "task": "count"}]', Task.POINT)]
    assert tasks == [Task.POINT, Task.COUNT]


def test_a_prompt_may_have_a_zoom_of_its_own() -> None:
    told = [
        prompt.zoom for prompt in parse('["cup", {"prompt": "cup", "zoom": "auto"}, {"prompt": "a", "zoom": "off"}]')
    ]
    assert told == ["", "auto", "off"]


# what is sent, what the message must name
REFUSED = [
    (json.dumps(["cup"] * (MAX_STANDING_PROMPTS + 1)), ["17", "16"]),
    ('[{"id": "a b", "prompt": "cup"}]', ["'a b'", "letter"]),
    ('[{"id": "", "prompt": "cup"}]', ["''"]),
    ('[{"id": "_x", "prompt": "cup"}]', ["'_x'"]),
    ('[{"id": "é", "prompt": "cup"}]', ["'é'"]),
    ('[{"id": "٣", "prompt": "cup"}]', ["'٣'"]),  # a digit, but none that ROS names may hold
    (json.dumps([{"id": "a" * 65, "prompt": "cup"}]), ["64"]),
    ('[{"id": 3, "prompt": "cup"}]', ["id", "3", "string"]),
    ('[{"id": "a", "prompt": "cup"}, {"id": "a", "prompt": "mug"}]', ["'a'"]),
    ('[{"id": "2", "prompt": "cup"}, "mug"]', ["'2'"]),
    ('[{"prompt": "cup", "taks": "count"}]', ["'taks'", "task"]),
    ('[{"prompt": "cup", "task": "dtect"}]', ["'dtect'", "detect"]),
    ('[{"prompt": "cup", "zoom": "on"}]', ["'on'", "off, auto"]),
    ('[{"prompt": "cup", "zoom": true}]', ["zoom", "True", "string"]),
    ('[{"prompt": null}]', ["prompt", "None"]),
    ("[1, 2]", ["'[1, 2]'", "nothing to look for"]),
    ('["cup", "[1, 2]"]', ["prompt 2", "nothing to look for"]),
    ('["cup", " "]', ["prompt 2", "nothing to look for"]),
    (json.dumps(["cup", "x" * (MAX_PROMPT_CHARS + 1)]), ["prompt 2", str(MAX_PROMPT_CHARS)]),
]


@pytest.mark.parametrize(("text", "named"), REFUSED)
def test_wrong_lists_are_refused_with_value_and_remedy(text: str, named: list[str]) -> None:
    with pytest.raises(PromptError) as caught:
        parse(text)
    for word in named:
        assert word in str(caught.value)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["id", "prompt", "task"]) | st.text(), inner),
)


@given(st.text() | values.map(json.dumps) | st.lists(st.text() | values).map(json.dumps))
@example("[" * 100_000)
@example("[" + "9" * 5000 + "]")
@example('["\\ud800"]')
def test_any_text_is_prompts_or_a_prompt_error(text: str) -> None:
    try:
        prompts = parse(text)
    except PromptError:
        return
    assert len({prompt.id for prompt in prompts}) == len(prompts) <= MAX_STANDING_PROMPTS
    assert all(prompt.text for prompt in prompts)
