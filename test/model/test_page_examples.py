"""Nobody is shown an example on the page that the shipped model gets wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from benchmarks.asked_node import Published
from benchmarks.level_answers import Asked, Wanted
from benchmarks.levels import heard
from vlm_perception.apps.web.examples import Example, examples_for, write_film
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.frames.film_clip import FilmSampling, watch_film
from vlm_perception.pipeline import perceive
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.replies.result_json import result_fields
from vlm_perception.ros.outputs.result_messages import detections_message
from vlm_perception.scenes import Truth
from vlm_perception.settings import Settings
from vlm_perception.startup.arguments import resolve_model
from vlm_perception.types import Frame, FrameHeader, Request, Task

Truths = Sequence[Truth]
SHIPPED = examples_for(resolve_model("tiny"))
PICTURES = [example for example in SHIPPED if example.film is None]


def boxed(truths: Truths, meant: Callable[[Truth], bool]) -> tuple[Wanted, ...]:
    return tuple(Wanted(truth.xyxy, truth.label) for truth in truths if meant(truth))


RIGHT: dict[str, Callable[[Truths], Asked]] = {
    "Attributes": lambda truths: Asked(
        "", Task.GROUND, tuple(Wanted(t.xyxy, t.label, t.attributes["pattern"] == "striped") for t in truths)
    ),
    "Description": lambda truths: Asked("", Task.DETECT, boxed(truths, lambda t: t.label == "red cart")),
    "Count": lambda truths: Asked("", Task.COUNT, boxed(truths, lambda t: "cart" in t.label), count=2),
    "Key points": lambda truths: Asked(
        "", Task.POINT, points=tuple((x, y) for t in truths if t.label == "red cart" for _, x, y in t.points)
    ),
    "Relations": lambda truths: Asked(
        "", Task.DETECT, boxed(truths, lambda t: t.attributes.get("of") == "blue circle")
    ),
    "Not there": lambda truths: Asked("", Task.DETECT, ()),
    "Chinese": lambda truths: Asked(
        "", Task.DETECT, tuple(Wanted(t.xyxy, "红色小车") for t in truths if t.label == "red cart")
    ),
    "On top": lambda truths: Asked("", Task.DETECT, boxed(truths, lambda t: t.label == "yellow circle")),
    "In words": lambda truths: Asked("", Task.DESCRIBE, named=tuple(t.label for t in truths)),
    "Yes or no": lambda truths: Asked("", Task.DESCRIBE, verdict=True),
    "Reasoning": lambda truths: Asked(
        "", Task.COUNT, points=tuple((x, y) for t in truths if "face" in t.label for _, x, y in t.points), count=4
    ),
    "Letters": lambda truths: Asked("", Task.READ, tuple(Wanted(t.text[1], text=t.text[0]) for t in truths if t.text)),
}


@pytest.mark.parametrize("example", PICTURES, ids=lambda example: example.name)
def test_the_shipped_model_answers_it(example: Example, tiny: TransformersEngine) -> None:
    frame = Frame(example.scene.rgb, FrameHeader(0, 0, "camera"), "/image", 0.0)
    result = perceive(tiny, Request(frame, build_prompt(example.prompt)))
    said = heard(Published(detections_message(result), result_fields(result)))
    assert RIGHT[example.name](example.scene.truths).faults(said) == [], said


def test_the_shipped_model_tells_what_moves_in_the_film_which_way_and_when(
    tiny: TransformersEngine, tmp_path: Path
) -> None:
    """Read from the file that the page shows, as an uploaded one is."""
    ((prompt, film),) = [(example.prompt, example.film) for example in SHIPPED if example.film is not None]
    write_film(tmp_path / "film.mp4", film)
    settings = Settings()
    clip, _ = watch_film(tmp_path / "film.mp4", FilmSampling.of(settings))
    budget = settings.watch_budget(settings.budget, len(clip.frames))
    result = perceive(tiny, Request(clip.frames[-1], build_prompt(prompt), budget, clip=clip))
    said = heard(Published(detections_message(result), result_fields(result)))
    assert film.happenings
    assert Asked("", Task.WATCH, happenings=film.happenings, told=True).faults(said) == [], said
