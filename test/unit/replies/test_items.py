"""Whose coordinates, whose name: the same rules for items of JSON, YAML, tags, calls and tables."""

from __future__ import annotations

import pytest

from vlm_perception.replies.keys import kind_of
from vlm_perception.replies.reader import AnswerReader, parse_answer
from vlm_perception.replies.result_json import object_fields
from vlm_perception.types import ParsedAnswer

WH = (1000, 1000)
BOX = "[10, 20, 130, 140]"
CUP, DOG = ("cup", (10, 20, 130, 140)), ("dog", (510, 230, 630, 390))

Shown = list[tuple[str, tuple[float, ...]]]


def parse(text: str) -> ParsedAnswer:
    return parse_answer(text, model_wh=WH, image_wh=WH)


def shown(parsed: ParsedAnswer) -> Shown:
    return [(found.label, found.xyxy or found.point_xy or ()) for found in parsed.objects]


# reply, what it names and where
NAMES: list[tuple[str, Shown]] = [
    ('{"bbox_2d": [10, 20, 130, 140], "object_name": "cup"}', [CUP]),
    ('{"bbox_2d": [10, 20, 130, 140], "type": "cup"}', [CUP]),
    ('{"bbox_2d": [10, 20, 130, 140], "title": "cup"}', [CUP]),
    ('{"bbox_2d": [10, 20, 130, 140], "text": "cup"}', [CUP]),
    ('{"bbox_2d": [10, 20, 130, 140], "desc": "cup"}', [CUP]),
    ('{"bbox_2d": [10, 20, 130, 140], "description": "cup"}', [CUP]),
    ('{"bbox_2d": [10, 20, 130, 140], "caption": "cup"}', [CUP]),
    ('{"bbox_2d": [10, 20, 130, 140], "name_en": "cup"}', [CUP]),
    ('{"bbox_2d": [10, 20, 130, 140], "Label": "cup"}', [CUP]),
    ('{"bbox_2d": [10, 20, 130, 140], "OBJECT": "cup"}', [CUP]),
    ('{"bbox_2d": [10, 20, 130, 140], "Class Name": "cup"}', [CUP]),
    ('{"bbox_2d": [10, 20, 130, 140], "object-name": "cup"}', [CUP]),
    ('{"bbox_2d": [10, 20, 130, 140], "textContent": "cup"}', [CUP]),
    ('{"bbox_2d": [10, 20, 130, 140], "names": {"en": "cup", "zh": "杯子"}}', [CUP]),
    ('{"cup": [{"bbox_2d": [10, 20, 130, 140]}]}', [CUP]),
    ('{"cup": {"bbox_2d": [10, 20, 130, 140]}, "dog": {"bbox_2d":[510,230,630,390]}}', [CUP, DOG]),
    ('{"objects": [{"bbox_2d": [10, 20, 130, 140]}]}', [("", (10, 20, 130, 140))]),
    ('{"bbox_2d": [10, 20, 130, 140], "what": "cup"}', [CUP]),
    ("`cup`: [10, 20, 130, 140]", [CUP]),
    ("**cup** [10, 20, 130, 140]", [CUP]),
    ("1. cup [10, 20, 130, 140]", [CUP]),
    ("1. **cup**: [10, 20, 130, 140]\n2. `dog`: [510, 230, 630, 390]", [CUP, DOG]),
    ("- label: cup\n  bbox_2d: [10, 20, 130, 140]\n- label: dog\n  bbox_2d: [510, 230, 630, 390]\n", [CUP, DOG]),
    ("- bbox_2d: [10, 20, 130, 140]\n  label: cup\n- bbox_2d: [510, 230, 630, 390]\n  label: dog", [CUP, DOG]),
    ("bbox_2d: [10, 20, 130, 140]", [("", (10, 20, 130, 140))]),
    ("Bounding box: [10, 20, 130, 140]", [("", (10, 20, 130, 140))]),
    ('{"cup": [10, 20, 130, 140]}', [CUP]),
    ('{"cup": [[10, 20, 130, 140]], "dog": [[510,230,630,390]]}', [CUP, DOG]),
    ("coordinates(10,20),(130,140)", [("", (10, 20, 130, 140))]),
    ("cup - [10, 20, 130, 140]", [CUP]),
    ('"cup": [10, 20, 130, 140]', [CUP]),
    ('{"cup_bbox": {"x1": 10, "y1": 20, "x2": 130, "y2": 140}, "label": "cup"}', [CUP]),
    ('{"rect": [10, 20, 130, 140]}', [("", (10, 20, 130, 140))]),
    ("* cup: (10, 20, 130, 140)", [CUP]),
    ("The cup: [10, 20, 130, 140]", [("The cup", (10, 20, 130, 140))]),
    ('{"Object": "cup", "BBox": [10, 20, 130, 140]}', [CUP]),
    ('{"Object Name": "cup", "Bounding Box": [10, 20, 130, 140]}', [CUP]),
    ('{"bounding_box": [10, 20, 130, 140], "description": "cup", "confidence": 0.9}', [CUP]),
    ('{"detections": {"cup": {"box": [10, 20, 130, 140]}, "dog": {"box": [510, 230, 630, 390]}}}', [CUP, DOG]),
    ('{"cup": {"bbox_2d": [10, 20, 130, 140], "confidence": 0.9}}', [CUP]),
    ('[{"cup": [10, 20, 130, 140]}, {"dog": [510, 230, 630, 390]}]', [CUP, DOG]),
    ('{"objects": {"cup": [[10, 20, 130, 140]]}}', [CUP]),
    ("{'cup': (10, 20, 130, 140)}", [CUP]),
    ('{"cup": "10, 20, 130, 140"}', [CUP]),
    ('{"bbox_2d": [10, 20, 130, 140], "type": "box", "text": "cup"}', [CUP]),
    ('{"bbox_2d": [10, 20, 130, 140], "label": "", "name": "cup"}', [CUP]),
    ('{"bbox_2d": [10, 20, 130, 140], "label": null, "caption": "cup"}', [CUP]),
    ('{"bbox_2d": [10, 20, 130, 140], "label": ["cup"]}', [CUP]),
    ('{"bbox_2d": [10, 20, 130, 140], "class": 0, "name": "cup"}', [CUP]),
    ('{"bbox_2d": [10, 20, 130, 140], "名称": "cup"}', [CUP]),
    ('{"bbox": [10, 20, 130, 140], "sub_label": "cup"}', [CUP]),
    ("Here are the objects:\n\n1. **cup** - [10, 20, 130, 140]\n2. **dog** - [510, 230, 630, 390]", [CUP, DOG]),
    ("- **cup**: (10, 20), (130, 140)", [CUP]),
    ("- `cup` [10, 20, 130, 140]", [CUP]),
    ("* cup: [10, 20, 130, 140]\n* dog: [510, 230, 630, 390]", [CUP, DOG]),
    ("cup: 10, 20, 130, 140\ndog: 510, 230, 630, 390", [CUP, DOG]),
    ("cup: (10,20),(130,140)", [CUP]),
    ("**Object:** cup\n**Bounding Box:** [10, 20, 130, 140]", [CUP]),
    ("1. Label: cup\n   BBox: [10, 20, 130, 140]\n2. Label: dog\n   BBox: [510, 230, 630, 390]", [CUP, DOG]),
    ('- name: "cup"\n  bbox:\n    - 10\n    - 20\n    - 130\n    - 140', [CUP]),
    (
        "objects:\n  - label: cup\n    bbox_2d: [10, 20, 130, 140]\n  - label: dog\n    bbox_2d:"
        " [510, 230, 630, 390]\n",
        [CUP, DOG],
    ),
    ("label: cup\nbbox_2d: [10, 20, 130, 140]\n\nlabel: dog\nbbox_2d: [510, 230, 630, 390]", [CUP, DOG]),
    ("Label: cup, Box: [10, 20, 130, 140]", [CUP]),
    ("box: [10, 20, 130, 140], label: cup", [CUP]),
    ("The bounding box of the cup is [10, 20, 130, 140].", [("", (10, 20, 130, 140))]),
    ("Coordinates: [10, 20, 130, 140]", [("", (10, 20, 130, 140))]),
    ("position: (10, 20), (130, 140)", [("", (10, 20, 130, 140))]),
    ("bbox: 10, 20, 130, 140", [("", (10, 20, 130, 140))]),
    ('"label": "cup", "bbox_2d": [10, 20, 130, 140]', [CUP]),
    ('{"person_1": {"bbox": [10, 20, 130, 140]}}', [("person_1", (10, 20, 130, 140))]),
    ('{"image": "a.jpg", "objects": [{"bbox_2d": [10, 20, 130, 140], "label": "cup"}]}', [CUP]),
    ('{"cup": [{"x1": 10, "y1": 20, "x2": 130, "y2": 140}]}', [CUP]),
    (
        '{"cup": [{"bbox_2d": [10, 20, 130, 140]}, {"bbox_2d": [510, 230, 630, 390]}]}',
        [CUP, ("cup", (510, 230, 630, 390))],
    ),
    ('{"name":"cup","location":{"x":10,"y":20,"width":120,"height":120}}', [CUP]),
]

COORDINATES: list[tuple[str, Shown]] = [
    ('[{"label": "cup", "rect": [10, 20, 130, 140]}]', [CUP]),
    ('[{"label": "cup", "Position": [10, 20, 130, 140]}]', [CUP]),
    ('[{"label": "cup", "coordinates": [10, 20, 130, 140]}]', [CUP]),
    ('[{"label": "cup", "location": [10, 20, 130, 140]}]', [CUP]),
    ('[{"label": "cup", "BBox": [10, 20, 130, 140]}]', [CUP]),
    ('[{"label": "cup", "bounding box": [10, 20, 130, 140]}]', [CUP]),
    ('[{"label": "cup", "boundingBox": [10, 20, 130, 140]}]', [CUP]),
    ('[{"label": "cup", "box2d": [10, 20, 130, 140]}]', [CUP]),
    ('[{"label": "cup", "region": [10, 20, 130, 140]}]', [CUP]),
    ('[{"label": "cup", "xyxy": [10, 20, 130, 140]}]', [CUP]),
    ('[{"label": "cup", "roi": [10, 20, 130, 140]}]', [CUP]),
    ('[{"label": "cup", "bounding-box": [10, 20, 130, 140]}]', [CUP]),
    ('[{"label": "cup", "bounds": [10, 20, 130, 140]}]', [CUP]),
    ('[{"label": "cup", "2d_bbox": [10, 20, 130, 140]}]', [CUP]),
    ('[{"label": "cup", "坐标": [10, 20, 130, 140]}]', [CUP]),
    ('[{"label": "cup", "位置": [10, 20, 130, 140]}]', [CUP]),
    ('{"label": "cup", "position": [10, 20]}', [("cup", (10, 20))]),
    ('{"label": "cup", "center": [10, 20]}', [("cup", (10, 20))]),
    ('{"label": "cup", "coordinate": "10, 20"}', [("cup", (10, 20))]),
    ('<div class="image" data-bbox="10 20 130 140"><img></div>', [("image", (10, 20, 130, 140))]),
    ('<p data-bbox="10 20 130 140">Hello</p>', [("p", (10, 20, 130, 140))]),
    (
        '<html><body>\n<h2 data-bbox="10 20 130 140">A title</h2>\n<table data-bbox=\'510 230 630'
        " 390'><tr><td>1</td></tr></table></body></html>",
        [("h2", (10, 20, 130, 140)), ("table", (510, 230, 630, 390))],
    ),
    (
        '<tool_call>\n{"name": "computer_use", "arguments": {"action": "left_click", "coordinate":'
        " [64, 90]}}\n</tool_call>",
        [("left_click", (64, 90))],
    ),
    ("click(start_box='(64,90)')", [("click", (64, 90))]),
    ("Action: click(start_box='<|box_start|>(64,90)<|box_end|>')", [("click", (64, 90))]),
    ("Thought: x\nAction: drag(start_box='(64,90)', end_box='(200,300)')", [("drag", (64, 90)), ("drag", (200, 300))]),
    (
        "<|object_ref_start|>cup<|object_ref_end|><|box_start|><0><0><999><999><|box_end|>",
        [("cup", (0, 0, 1000, 1000))],
    ),
    ('"[{\\"bbox_2d\\": [10, 20, 130, 140], \\"label\\": \\"cup\\"}]"', [CUP]),
    ('{"name": "detect", "arguments": "{\\"label\\": \\"cup\\", \\"bbox_2d\\": [10, 20, 130, 140]}"}', [CUP]),
    ('{"answer": "[{\\"bbox_2d\\": [10, 20, 130, 140], \\"label\\": \\"\\\\u732b\\"}]"}', [("猫", (10, 20, 130, 140))]),
    ("| object | bbox |\n|---|---|\n| cup | [10, 20, 130, 140] |\n| dog | 510, 230, 630, 390 |\n", [CUP, DOG]),
    ("| label | x1 | y1 | x2 | y2 |\n|---|---|---|---|---|\n| cup | 10 | 20 | 130 | 140 |", [CUP]),
    ("| # | label | x1 | y1 | x2 | y2 |\n|---|---|---|---|---|---|\n| 1 | cup | 10 | 20 | 130 | 140 |", [CUP]),
    ("cup, 10, 20, 130, 140", [CUP]),
    ('{"label":"cup","bbox":{"top_left":[10,20],"bottom_right":[130,140]}}', [CUP]),
    ('{"label":"cup","box":{"cx":70,"cy":80,"w":120,"h":120}}', [CUP]),
    ('{"label":"cup","polygon":[[10,20],[130,20],[130,140],[10,140]]}', [CUP]),
    ('{"label":"cup","segmentation":[10,20,130,20,130,140]}', [CUP]),
    ('{"label":"cup","bbox_2d":[10,20,130,20,130,140,10,140]}', [CUP]),
    ("<|quad_start|>(10,20),(130,20),(130,140),(10,140)<|quad_end|>", [("", (10, 20, 130, 140))]),
    ('{"label":"cup","rotate_rect":[70,80,120,120,0]}', [CUP]),
    ('{"text":"cup","quad":[10,20,130,20,130,140,10,140]}', [CUP]),
    ('{"label":"car","bbox_2d":[10,20,130,140],"bbox_3d":[1,2,3,4,5,6,7,8,9]}', [("car", (10, 20, 130, 140))]),
    ('{"objects":[{"label":"cup","rect":{"left":10,"top":20,"right":130,"bottom":140}}]}', [CUP]),
    ('{"bbox_2d":[10,20,130,140],"label":"cup","color":[255,0,0,1]}', [CUP]),
    ('{"image_size":[640,480],"objects":[{"bbox_2d": [10, 20, 130, 140], "label": "cup"}]}', [CUP]),
    ('{"label":"cup","bbox_xywh":[10,20,120,120]}', [CUP]),
    ('{"label":"cup","bbox":"<box>10 20 130 140</box>"}', [CUP]),
    ('{"label":"cup","bbox":"x1=10, y1=20, x2=130, y2=140"}', [CUP]),
    ('{"label":"cup","BBOX_2D":[10,20,130,140]}', [CUP]),
    ('{"label":"cup","bbox":[[10,20],[130,20],[130,140],[10,140]]}', [CUP]),
    ('{"label":"cup","points":[[10,20],[130,140]]}', [("cup", (10, 20)), ("cup", (130, 140))]),
    ('{"label":"cup","center":{"x":10,"y":20}}', [("cup", (10, 20))]),
    ('{"label":"cup","xmin":10,"ymin":20,"xmax":130,"ymax":140}', [CUP]),
    ('{"label":"cup","Left":10,"Top":20,"Width":120,"Height":120}', [CUP]),
    ('{"label":"cup","geometry":{"type":"Polygon","coordinates":[[[10,20],[130,20],[130,140],[10,140]]]}}', [CUP]),
    ('{"label":"cup","shape":{"x1":10,"y1":20,"x2":130,"y2":140}}', [CUP]),
    ('{"name":"computer_use","arguments":{"action":"mouse_move","coordinate":[64,90]}}', [("mouse_move", (64, 90))]),
    ('{"action":"type","text":"hello"}', []),
    ("pyautogui.click(x=64, y=90)", [("click", (64, 90))]),
    ("click(point='<point>64 90</point>')", [("click", (64, 90))]),
    ("left_double(start_box='[64, 90, 64, 90]')", []),
    ("scroll(start_box='(64,90)', direction='down')", [("scroll", (64, 90))]),
    ("scroll(direction='down', point='64 90')", [("scroll", (64, 90))]),
    ("click(start_box='[10, 20, 130, 140]')", [("click", (10, 20, 130, 140))]),
    ('<object label="cup" bbox="10,20,130,140"/>', [CUP]),
    ('<box label="cup" x1="10" y1="20" x2="130" y2="140"/>', [CUP]),
    ('<div class="formula" data-bbox="10 20 130 140">E=mc^2</div>', [("formula", (10, 20, 130, 140))]),
    (
        '<h1 data-bbox="10 20 130 140"> Title </h1>\n<p data-bbox="510 230 630 390">Text</p>',
        [("h1", (10, 20, 130, 140)), ("p", (510, 230, 630, 390))],
    ),
    ('<img data-bbox="10 20 130 140" class="logo"/>', [("logo", (10, 20, 130, 140))]),
    ("cup<loc_0><loc_0><loc_999><loc_999>", [("cup", (0, 0, 1000, 1000))]),
    ("<|object_ref_start|>cup<|object_ref_end|><|box_start|><0><999><|box_end|>", [("cup", (0, 1000))]),
    ('{"arguments": "{\\"coordinate\\": [64, 90], \\"action\\": \\"click\\"}"}', [("click", (64, 90))]),
    ('[{\\"bbox_2d\\": [10, 20, 130, 140], \\"label\\": \\"cup\\"}]', [CUP]),
    ('"```json\\n[{\\"bbox_2d\\": [10, 20, 130, 140], \\"label\\": \\"cup\\"}]\\n```"', [CUP]),
    (
        '"{\\n  \\"objects\\": [\\n {\\"bbox_2d\\": [10, 20, 130, 140], \\"label\\": \\"the \\\\\\"cup\\\\\\"\\"}]}"',
        [('the "cup"', (10, 20, 130, 140))],
    ),
    ("| Object | Bounding box |\n|:---|---:|\n| **cup** | (10, 20), (130, 140) |", [CUP]),
    ("| cup | 10 | 20 | 130 | 140 | 0.93 |", [CUP]),
    ("| Object | Count |\n|---|---|\n| cup | 3 |", []),
    ("| cup | `[10, 20, 130, 140]` |", [CUP]),
    ("Object | x1 | y1 | x2 | y2\n--- | --- | --- | --- | ---\ncup | 10 | 20 | 130 | 140", [CUP]),
    ("label,x1,y1,x2,y2\ncup,10,20,130,140\ndog,510,230,630,390", [CUP, DOG]),
    ("cup\t10\t20\t130\t140", [CUP]),
    ('{"label":"cup","bbox_2d":[10,20,130,140],"keypoints":[[30,40],[50,60]]}', [CUP]),
    ('{"label":"person","keypoints":{"nose":[10,20],"foot":[130,140]}}', [("person", (10, 20, 130, 140))]),
    ('{"label":"car","bbox_3d":{"center":[1,2,3],"size":[4,5,6]}}', []),
    ('{"bbox_3d":[1,2,3,4,5,6,7,8,9],"label":"car"}', []),
    ('{"label":"cup","mask":[[10,20],[130,20],[130,140]]}', [CUP]),
    ('{"label":"cup","contour":[[10,20],[130,20],[130,140]]}', [CUP]),
    ('{"label":"cup","velocity":[1,2]}', []),
    ('{"label": "cup", "box": {"ymin": 20, "xmin": 10, "ymax": 140, "xmax": 130}}', [CUP]),
    ('{"label": "cup", "Bounding-Box": "[10, 20, 130, 140]"}', [CUP]),
    ('{"time": [12, 30], "label": "cup"}', []),
    ("x1=10, y1=20, x2=130, y2=140", [("", (10, 20, 130, 140))]),
    ("<cup>[10, 20, 130, 140]</cup>", [CUP]),
    ("<bbox>10 20 130 140</bbox>", [("", (10, 20, 130, 140))]),
    ("cup [10, 20, 130, 140], dog [510, 230, 630, 390]", [CUP, DOG]),
    ('{"action":"swipe","coordinate":[10,20],"coordinate2":[130,140]}', [("swipe", (10, 20)), ("swipe", (130, 140))]),
    ('{"label":"cup","instances":[{"x1":10,"y1":20,"x2":130,"y2":140}]}', [CUP]),  # the name around it
]


@pytest.mark.parametrize("width", [4, 10**6])
@pytest.mark.parametrize(("text", "objects"), NAMES + COORDINATES)
def test_names_and_coordinates_in_every_form(text: str, objects: Shown, width: int) -> None:
    reader = AnswerReader(model_wh=WH, image_wh=WH)
    for at in range(0, len(text), width):
        reader.feed(text[at : at + width])
    parsed = reader.finish()
    assert [(label, pytest.approx(numbers)) for label, numbers in objects] == shown(parsed)
    # What is read names the place where it stands, encoded or not.
    assert all(text[slice(*found.span)].strip() for found in parsed.objects)


# reply, box, point
BOTH = [
    (f'{{"bbox_2d": {BOX}, "point_2d": [50, 60], "label": "cup"}}', (10, 20, 130, 140), (50, 60)),
    (f'{{"label": "cup", "point": {{"x": 50, "y": 60}}, "bbox": {BOX}}}', (10, 20, 130, 140), (50, 60)),
    (f'{{"label": "cup", "bbox": {BOX}, "center": [70, 80]}}', (10, 20, 130, 140), (70, 80)),
    (f'{{"label": "cup", "bbox": {BOX}, "point_2d": [5000, 60]}}', (10, 20, 130, 140), None),  # told, and not kept
]


@pytest.mark.parametrize(("text", "xyxy", "point_xy"), BOTH)
def test_box_and_point_of_one_item_are_one_thing(
    text: str, xyxy: tuple[float, ...], point_xy: tuple[float, ...] | None
) -> None:
    parsed = parse(text)
    (found,) = parsed.objects
    assert (found.xyxy, found.point_xy, found.label) == (xyxy, point_xy, "cup")
    assert len(parsed.rejects) == (point_xy is None)


OUTLINES = [
    '{"label": "cup", "polygon": [[10, 20], [130, 20], [130, 140]]}',
    '{"label": "cup", "segmentation": [10, 20, 130, 20, 130, 140]}',
    '{"label": "cup", "bbox_2d": [10, 20, 130, 140], "polygon": [[10, 20], [130, 20], [130, 140]]}',
    '{"label": "cup", "geometry": {"type": "Polygon", "coordinates": [[[10, 20], [130, 20], [130, 140]]]}}',
]


@pytest.mark.parametrize("text", OUTLINES)
def test_an_outline_is_kept_beside_the_box_that_bounds_it(text: str) -> None:
    (found,) = parse(text).objects
    assert found.xyxy == (10, 20, 130, 140)
    assert found.polygon == ((10, 20), (130, 20), (130, 140))


def test_a_turned_box_becomes_its_corners() -> None:
    (found,) = parse('{"text": "sign", "rotate_rect": [100, 200, 80, 40, 90]}').objects
    assert found.xyxy == pytest.approx((80, 160, 120, 240))
    assert [value for corner in found.polygon for value in corner] == pytest.approx(
        [120, 160, 120, 240, 80, 240, 80, 160]
    )


KEYPOINTS = [
    '"keypoints": {"nose": [30, 40], "left eye": [50, 60]}',
    '"keypoints": [{"name": "nose", "x": 30, "y": 40}, {"name": "left eye", "point_2d": [50, 60]}]',
    '"Landmarks": {"nose": {"x": 30, "y": 40}, "left eye": "50, 60"}',
    '"keypoints": {"nose": [30, 40, 0.9], "left eye": [50, 60, 0.8]}',
]


@pytest.mark.parametrize("keypoints", KEYPOINTS)
def test_keypoints_are_named_points_of_their_thing(keypoints: str) -> None:
    parsed = parse(f'[{{"label": "person", "bbox_2d": {BOX}, {keypoints}}}]')
    (found,) = parsed.objects
    assert found.keypoints == {"nose": (30, 40), "left eye": (50, 60)}
    assert (found.xyxy, found.attributes, parsed.rejects) == ((10, 20, 130, 140), {}, ())


# reply, what the reason names
NOT_READ = [
    ('{"label": "car", "bbox_3d": [1.5, 0.2, 9.4, 4.2, 1.6, 1.9, 0, 0, 0.3]}', "bbox_3d is a 3D box"),
    ('{"label": "car", "3d_box": {"center": [1, 2, 3], "size": [4, 5, 6]}}', "3d_box is a 3D box"),
    ('{"label": "cup", "spot": {"a": [1, 2, 3], "b": [4, 5, 6]}}', "spot holds 6 numbers"),
    ('{"label": "cup", "track": [1, 2, 3]}', "track holds 3 numbers"),
    ('{"label": "cup", "position": [1, 2, 3]}', "position has 3 numbers instead of 4"),
    (f'{{"label": "cup", "head_bbox": {BOX}, "bbox": [1, 2, 3]}}', "bbox has 3 numbers"),
    ('{"label": "cup", "color": [255, 0, 0]}', "label without coordinates"),
]


@pytest.mark.parametrize(("text", "reason"), NOT_READ)
def test_coordinates_that_are_not_read_are_named(text: str, reason: str) -> None:
    parsed = parse(text)
    assert parsed.objects == ()
    assert reason in parsed.rejects[0].reason


# first box, second box, whether the second is a repetition; of one name and of two
NEAR = [
    ([10, 20, 130, 140], [11, 20, 130, 141], True),
    ([10, 20, 130, 140], [60, 20, 180, 140], False),
    ([0, 0, 900, 900], [10, 10, 905, 905], True),
    ([5, 5, 8, 8], [6, 5, 9, 8], False),
    ([10, 20, 130, 140], [130, 140, 10, 20], True),  # the other corners
    ([127, 100, 255, 300], [129, 100, 257, 300], True),  # on both sides of a power of two
    ([100, 100, 227, 229], [100, 100, 229, 227], True),
    ([100, 100, 200, 200], [100, 100, 200, 190], False),  # 0.9 exactly
]


@pytest.mark.parametrize(("first", "second", "repeats"), NEAR)
def test_nearly_the_same_box_of_one_name_is_a_repetition(first: list[int], second: list[int], repeats: bool) -> None:
    both = f'[{{"bbox_2d": {first}, "label": "cup"}}, {{"bbox_2d": {second}, "label": "%s"}}]'
    parsed = parse(both % "cup")
    assert len(parsed.objects) == 2 - repeats
    assert ["repe" in reject.reason for reject in parsed.rejects] == [True] * repeats
    assert len(parse(both % "mug").objects) == 2


@pytest.mark.parametrize(
    "key", ["bbox_2d", "BBox", "bounding box", "Bounding-Box", "boundingBox", "2d_bbox", "rect", "位置"]
)
def test_a_coordinate_key_is_never_a_name(key: str) -> None:
    assert kind_of(key) in ("box", "place")
    for text in (f'{{"{key}": {BOX}}}', f"{key}: {BOX}", f"**{key}:** {BOX}", f'{{"objects": [{{"{key}": {BOX}}}]}}'):
        assert shown(parse(text)) == [("", (10, 20, 130, 140))]


def test_outline_and_keypoints_are_told_where_there_are_any() -> None:
    text = '{"label": "cup", "polygon": [[10, 20], [130, 20], [130, 140]], "keypoints": {"rim": [30, 40]}}'
    fields = object_fields(parse(text).objects[0])
    assert fields["polygon"] == [[10, 20], [130, 20], [130, 140]]
    assert fields["keypoints"] == {"rim": [30, 40]}
    assert not {"polygon", "keypoints"} & object_fields(parse(f'{{"box": {BOX}}}').objects[0]).keys()


def test_a_list_s_numbers_are_no_prose() -> None:
    parsed = parse("Here they are:\n\n1. **cup** - [10, 20, 130, 140]\n2. **dog** - [510, 230, 630, 390]")
    assert (shown(parsed), parsed.text) == ([CUP, DOG], "Here they are:")


# What holds numbers and is no place.
NO_PLACES = [
    "The image shows a cart at (3, 4) and x = 3, y = 4.",
    "Name: John\nPosition: CEO\nLocation: Paris",
    "Title: A day\nText: The sign says 10, 20.",
    "Point 1: The sky is blue.\nPoint 2: The sea is 12, 13.",
    "Box: closed",
    "- Location: left side, 3 m away",
    "1. The cat sits.\n2. The dog runs.",
    "The ratio is 3:4 and the time 12:30:45, 10.",
    "Area: 45",
    "Class: A, B, C",
    "type: car\ncolor: red",
    "Total | 3 | 4",
    "a | b | c",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "f(x=1)",
    "if (x == 1) print(2, 3)",
    "<p>Hello 1, 2</p>",
    "Category: 5 star, 4 rooms",
    'He said: "text": 1',
    "https://a.b/c?x=1&y=2",
    "label: cup",
    "The label: 10 20 30 40 ml",
    "Phone: 10-20-30-40",
    "IP: 192.168.0.1",
    "Table: 3 chairs, 4 legs",
    "Date: 2024, 5, 6",
    "<td>10, 20</td>",
    "RGB: 10, 20, 30",
    "RGBA(10, 20, 30, 1)",
    "Coordinates are unknown.",
    "Score: [1, 2]",
    "[1], [2]",
    "[0.5, 0.2]",
    'The scores are {"a": 1}',
    '{"weather": "sunny", "temperature": [20, 25]}',
    '{"answer": "yes", "reason": "2 cups"}',
    '{"title": "Hello", "text": "World"}',
    '{"name": "John", "age": 5}',
    '{"matrix": [[1,2],[3,4]]}',
]


@pytest.mark.parametrize("text", NO_PLACES)
def test_prose_with_numbers_stays_prose(text: str) -> None:
    parsed = parse(text)
    assert (shown(parsed), parsed.rejects, parsed.text) == ([], (), text)
