"""From what an operator types ("red cup") to the instruction the model needs.

An instruction names the task, the object and the output format, because Qwen2.5-VL answers boxes
only when it is asked for them. The wording follows the forms of Qwen's spatial-understanding
cookbook: absolute `bbox_2d` or `point_2d` coordinates in a JSON list.

`Task.AUTO` is resolved by these rules, the first that fits:
  1. a task name and a colon in front ("point: the handle") choose that task;
  2. a text that already names an output format (JSON, bbox, coordinates, ...) is sent as it is;
  3. counting words ("how many", "count", "多少") mean COUNT;
  4. pointing words ("point to", "key points", "关键点") mean POINT;
  5. "describe" beside a thing to find ("each cake, and describe it") means GROUND;
  6. "describe ..." in front, or a question that does not ask where, means DESCRIBE;
  7. everything else is a thing to find: DETECT.
"""

from __future__ import annotations

import re

from vlm_perception.errors import PromptError
from vlm_perception.types import Prompt, Task

MAX_PROMPT_CHARS = 2000

_TEMPLATES: dict[Task, tuple[str, str]] = {
    Task.DETECT: (
        "Locate {what} and output the bbox_2d coordinates and label of each in JSON format.",
        "找出{what}，以JSON格式输出每个的bbox_2d坐标和label。",
    ),
    Task.GROUND: (
        "Locate {what} and output the bbox_2d coordinates, label and sub_label of each in JSON format.",
        "找出{what}，以JSON格式输出每个的bbox_2d坐标、label和sub_label。",
    ),
    Task.POINT: (
        "Point to {what} and output the point_2d coordinates and label of each in JSON format.",
        "指出{what}，以JSON格式输出每个的point_2d坐标和label。",
    ),
    Task.COUNT: (
        "Count {what}: list the bbox_2d coordinates and label of each in JSON format, then say the number.",
        "数一数{what}：以JSON格式列出每个的bbox_2d坐标和label，再说出数量。",
    ),
}
_SPECIAL = re.compile(r"<\|(?=[a-z_]+\|>)")
_CJK = re.compile(r"[\u3400-\u9fff]")
_PREFIX = re.compile(r"^(detect|ground|point|count|describe|raw)\s*[:：]\s*", re.IGNORECASE)
_FORMAT = re.compile(r"\b(json|bbox(_2d)?|point_2d|bounding box(es)?|coordinates?)\b|坐标|边界框", re.IGNORECASE)
_COUNT = re.compile(r"\b(how many|count|number of)\b|多少|几个|数一数|数量", re.IGNORECASE)
_POINT = re.compile(r"\b(point(s|ing)? (to|at|out)|key ?points?|as points?)\b|关键点|指出|指向", re.IGNORECASE)
_DESCRIBE_EACH = re.compile(r".+\bdescri(be|ption)\b|.+\bsub_label\b|.+描述", re.IGNORECASE)
_DESCRIBE = re.compile(r"^\s*(describe|caption)\b|^描述", re.IGNORECASE)
_QUESTION = re.compile(r"[?？]\s*$")
_WHERE = re.compile(r"^\s*where\b|哪里|哪儿|在哪", re.IGNORECASE)
# Words in front of (or behind) the thing itself: the template says them again.
_LEAD: dict[Task, re.Pattern[str]] = {
    Task.DETECT: re.compile(
        r"^(please\s+)?(detect|find|locate|show( me)?|look for|search for|where (is|are))\s+"
        r"|^(请)?(检测|找到|找出|定位)",
        re.IGNORECASE,
    ),
    Task.POINT: re.compile(r"^(please\s+)?point(ing)?\s+(to|at|out)\s+|^(请)?(指出|指向)", re.IGNORECASE),
    Task.COUNT: re.compile(
        r"^(please\s+)?(count|how many|the number of)\s+|^(请)?(数一数|图中有多少个?|有多少个?|有几个)", re.IGNORECASE
    ),
}
_LEAD[Task.GROUND] = _LEAD[Task.DETECT]
_TAIL: dict[Task, re.Pattern[str]] = {
    Task.DETECT: re.compile(r"(在哪里|在哪儿|在哪)?[\s.?!。？！]*$"),
    Task.GROUND: re.compile(r"(,?\s*and describe (it|each|them))?[\s.?!。？！]*$", re.IGNORECASE),
    Task.POINT: re.compile(r"(,?\s*as points?)?[\s.?!。？！]*$", re.IGNORECASE),
    Task.COUNT: re.compile(r"(\s+(are|is) there|\s+do you see|\s+can you see)?[\s.?!。？！]*$", re.IGNORECASE),
}


def resolve_task(text: str) -> Task:
    """Pick the task for a text by rules 2 to 7 of the module's docstring.

    Args:
        text: Stripped prompt without a task prefix.

    Returns:
        A task, never `Task.AUTO`.
    """
    if _FORMAT.search(text):
        return Task.RAW
    if _COUNT.search(text):
        return Task.COUNT
    if _POINT.search(text):
        return Task.POINT
    if _DESCRIBE.search(text):
        return Task.DESCRIBE
    if _DESCRIBE_EACH.search(text):
        return Task.GROUND
    if _QUESTION.search(text) and not _WHERE.search(text):
        return Task.DESCRIBE
    return Task.DETECT


def build_prompt(text: str, task: Task = Task.AUTO) -> Prompt:
    """Turn what the user typed into the full instruction for the model.

    Args:
        text: What was typed, in any language; several targets are separated by semicolons.
        task: Task to use; `Task.AUTO` chooses by the rules of this module.

    Returns:
        The prompt; its `task` is never `Task.AUTO`. Chat control tokens (`<|im_end|>` and kin)
        are broken up, so that a prompt cannot end its own turn.

    Raises:
        PromptError: The text is empty or longer than `MAX_PROMPT_CHARS` characters.
    """
    text = text.strip()
    if len(text) > MAX_PROMPT_CHARS:
        raise PromptError(f"prompt has {len(text)} characters, the limit is {MAX_PROMPT_CHARS}: send a shorter one")
    body = _SPECIAL.sub("< |", text)
    prefix = _PREFIX.match(body)
    if prefix:
        task, body = Task(prefix.group(1).lower()), body[prefix.end() :]
    if not body.strip():
        raise PromptError(f"prompt {text!r} names nothing to look for: send what to find, e.g. 'red cup'")
    if task is Task.AUTO:
        task = resolve_task(body)
    if task not in _TEMPLATES:
        return Prompt(text=text, task=task, instruction=body)
    targets = _targets(body, task)
    chinese = bool(_CJK.search(body))
    joint = "和" if chinese else " and "
    return Prompt(text, task, _TEMPLATES[task][chinese].format(what=joint.join(targets)), targets)


def _targets(body: str, task: Task) -> tuple[str, ...]:
    """Phrases asked for, without the verb that the template repeats; never empty."""
    stripped = _TAIL[task].sub("", _LEAD[task].sub("", body.strip(), count=1), count=1)
    targets = tuple(part.strip() for part in re.split(r"[;；]", stripped) if part.strip())
    return targets or (body.strip(),)
