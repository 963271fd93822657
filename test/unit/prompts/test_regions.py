"""A part of the image in words or pixels -> what the model is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vlm_perception.errors import GeometryError, PromptError, SettingsError
from vlm_perception.prompts.builder import build_prompt, load_prompts
from vlm_perception.prompts.standing import parse_prompts
from vlm_perception.types import Prompt, Region, Task

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
BOX = (40.0, 0.0, 200.0, 120.5)

# text -> edges, unit, what is asked then, task
NAMED = [
    ("in the left half: cup", LEFT, "share", "cup", "detect"),
    ("left half: cup", LEFT, "share", "cup", "detect"),
    ("On the right side of the image: red cup; mug", RIGHT, "share", "red cup and mug", "detect"),
    ("in the upper right quarter: cup", (0.5, 0.0, 1.0, 0.5), "share", "cup", "detect"),
    ("in the top-left corner of the picture : cup", (0.0, 0.0, 0.5, 0.5), "share", "cup", "detect"),
    ("in the middle third: cup", (0.333333, 0.0, 0.666667, 1.0), "share", "cup", "detect"),
    ("in the centre: how many cups are there?", (0.25, 0.25, 0.75, 0.75), "share", "cups", "count"),
    ("in the lower half: count: cups", (0.0, 0.5, 1.0, 1.0), "share", "cups", "count"),
    ("point: in the lower half: the handle", (0.0, 0.5, 1.0, 1.0), "share", "the handle", "point"),
    ("read: in the left half: the label", LEFT, "share", "the label", "read"),
    ("左半边：杯子", LEFT, "share", "杯子", "detect"),
    ("在画面的右侧里：有几个杯子？", RIGHT, "share", "杯子", "count"),
    ("只看左上角: 杯子", (0.0, 0.0, 0.5, 0.5), "share", "杯子", "detect"),
    ("图中左边三分之一：杯子", (0.0, 0.0, 0.333333, 1.0), "share", "杯子", "detect"),
    ("in [40, 0, 200, 120.5]: cup", BOX, "px", "cup", "detect"),
    ("inside the box (40 0 200 120.5) : cup", BOX, "px", "cup", "detect"),
    ("在[40，0，200，120.5]内：杯子", BOX, "px", "杯子", "detect"),
]
WITHOUT = [
    "cup",
    "cup in the left half",
    "the left half and more: cup",
    "left: cup",
    "in [room A]: cup",
    "cups: red ones",
    "raw: in the left half: cup",
]


@pytest.mark.parametrize("text", ["in the left half: read everything", "read: left half: text", "左半边：读出文字"])
def test_all_text_of_a_region_is_read(text: str) -> None:
    prompt = build_prompt(text)
    assert prompt.region == Region(LEFT)
    assert (prompt.task, prompt.targets) == (Task.READ, ())


@pytest.mark.parametrize(("text", "xyxy", "unit", "asked", "task"), NAMED)
def test_a_region_in_front_is_taken_out_of_what_the_model_reads(
    text: str, xyxy: tuple[float, ...], unit: str, asked: str, task: str
) -> None:
    prompt = build_prompt(text)
    assert prompt.region is not None
    assert (prompt.region.xyxy, prompt.region.unit, prompt.text) == (xyxy, unit, text)
    assert prompt.task.value == task
    assert (prompt.instruction, prompt.targets) == (
        build_prompt(asked.replace(" and ", "; "), prompt.task).instruction,
        tuple(asked.split(" and ")),
    )


@pytest.mark.parametrize("text", WITHOUT)
def test_other_texts_are_asked_about_the_whole_image(text: str) -> None:
    prompt = build_prompt(text)
    assert prompt.region is None
    assert text.removeprefix("raw: ").rstrip(".") in prompt.instruction, "nothing is taken out of it"


def test_standing_prompts_name_regions_in_words_or_pixels() -> None:
    given = [
        {"id": "a", "prompt": "cup", "region": "left half"},
        {"prompt": "cup", "region": "右侧", "task": "count"},
        {"prompt": "cup", "region": [40, 0, 200, 120.5]},
        {"prompt": "in the left half: cup"},
        "cup",
    ]
    prompts = parse_prompts(json.dumps(given), build_prompt)
    regions = [prompt.region and (prompt.region.xyxy, prompt.region.unit) for prompt in prompts]
    assert regions == [(LEFT, "share"), (RIGHT, "share"), (BOX, "px"), (LEFT, "share"), None]
    assert prompts[1].task is Task.COUNT
    assert len({prompt.instruction for prompt in prompts}) == 2


# what is sent, what the message must name
REFUSED = [
    ("in [200, 0, 40, 120]: cup", ["[200, 0, 40, 120]", "left below right"]),
    ("in [0, -5, 40, 120]: cup", ["-5", "pixels from 0 on"]),
    ("in [0, 5, 40]: cup", ["'0', '5', '40'", "four numbers"]),
    ("in [1e999, 5, 40, 50]: cup", ["inf"]),
    ("in [a, 5, 40, 50]: cup", None),
    ('[{"prompt": "cup", "region": "attic"}]', ["prompt 1", "'attic'", "left half", "[x1, y1, x2, y2]"]),
    ('[{"prompt": "cup", "region": [1, 2, 3]}]', ["[1, 2, 3]", "four numbers"]),
    ('[{"prompt": "cup", "region": {"x": 1}}]', ["{'x': 1}", "four numbers"]),
    ('[{"prompt": "cup", "region": 7}]', ["7", "four numbers"]),
    ('[{"prompt": "cup", "region": [1, 2, true, 3]}]', ["four numbers"]),
    ('[{"prompt": "cup", "region": [1, 2, NaN, 3]}]', ["nan"]),
    ('[{"prompt": "in the left half: cup", "region": "right half"}]', ["leave one out"]),
    ("in the left half:", ["names nothing"]),
    ("in [54, 0, 90, 80]: in the left half: cup", ["in [54, 0, 90, 80]", "two parts", "leave one out"]),
    ("in the left half: in [54, 0, 90, 80]: cup", ["two parts"]),
    ("in [54, 0, 90, 80]: in [1, 0, 90, 80]: cup", ["two parts"]),
    ("在[54，0，90，80]内：左半边：杯子", ["two parts"]),
    ("count: left half: right half: cups", ["two parts"]),
    ("in the left half: count: in the lower half: cups", ["two parts"]),
]


@pytest.mark.parametrize(("text", "named"), REFUSED)
def test_regions_that_are_none_are_refused_with_value_and_remedy(text: str, named: list[str] | None) -> None:
    def read() -> tuple[Prompt, ...]:
        return parse_prompts(text, build_prompt)

    if named is None:
        assert read()[0].region is None, "words in brackets are no box"
        return
    with pytest.raises(PromptError) as caught:
        read()
    for word in named:
        assert word in str(caught.value)


def test_a_prompts_file_names_regions_of_its_own_cameras(tmp_path: Path) -> None:
    path = tmp_path / "prompts.yaml"
    path.write_text("regions: {belt: {words: 'conveyor( belt)?|传送带', xyxy: [0.1, 0.4, 0.9, 1.0]}}", encoding="utf-8")
    book = load_prompts(str(path))
    for text in ("on the conveyor belt: parcel", "传送带：parcel", "belt: parcel"):
        region = book.build(text).region
        assert region is not None
        assert region.xyxy == (0.1, 0.4, 0.9, 1.0)
    assert book.build("in the left half: cup").region == Region(LEFT), "the built-in ones stay"
    for wrong in ("[0.1, 0.4, 0.9, 1.5]", "[0.9, 0, 0.1, 1]", "[0, 1]", "[0, 0, 1, x]"):
        path.write_text(f"regions: {{belt: {{words: conveyor, xyxy: {wrong}}}}}", encoding="utf-8")
        with pytest.raises(SettingsError, match=r"regions\.belt"):
            load_prompts(str(path))


@pytest.mark.parametrize(
    ("region", "image_wh", "edges"),
    [
        (Region(LEFT), (640, 480), (0, 0, 320, 480)),
        (Region(LEFT), (641, 480), (0, 0, 321, 480)),
        (Region((0.333333, 0.0, 0.666667, 1.0)), (300, 10), (99, 0, 201, 10)),
        (Region((0.1, 0.4, 0.9, 1.0)), (10, 10), (1, 4, 9, 10)),
        (Region((10.2, 20.0, 30.5, 40.0), "px"), (640, 480), (10, 20, 31, 40)),
        (Region((600.0, 20.0, 900.0, 1000.0), "px"), (640, 480), (600, 20, 640, 480)),
        (Region((640.0, 20.0, 900.0, 1000.0), "px"), (640, 480), None),
    ],
)
def test_a_region_is_cut_at_the_image(
    region: Region, image_wh: tuple[int, int], edges: tuple[int, int, int, int] | None
) -> None:
    if edges is not None:
        assert region.in_image(image_wh) == edges
        return
    with pytest.raises(GeometryError, match="640x480"):
        region.in_image(image_wh)
