"""Find what you say: camera frames and a sentence in, boxes, points and words out.

The names below are the public face, see docs/python.md; everything else may move. Each is imported when it is first
used, so that `import vlm_perception` costs nothing and works before the environment with torch is found.
"""

import importlib

# As in typing, whose import would be half of this one's time; type checkers know the name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from vlm_perception.drawing.annotate import annotate
    from vlm_perception.engines.factory import open_engine
    from vlm_perception.errors import VlmPerceptionError
    from vlm_perception.pipeline import perceive
    from vlm_perception.prompts.builder import build_prompt
    from vlm_perception.replies.reader import parse_answer
    from vlm_perception.types import DetectedObject, Frame, PixelBudget, Prompt, Request, Result

__version__ = "0.1.0"

__all__ = [
    "DetectedObject",
    "Frame",
    "PixelBudget",
    "Prompt",
    "Request",
    "Result",
    "VlmPerceptionError",
    "annotate",
    "build_prompt",
    "open_engine",
    "parse_answer",
    "perceive",
]

_HOMES = {
    "VlmPerceptionError": "errors",
    "annotate": "drawing.annotate",
    "build_prompt": "prompts.builder",
    "open_engine": "engines.factory",
    "parse_answer": "replies.reader",
    "perceive": "pipeline",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; public names: {', '.join(__all__)}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'types')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
