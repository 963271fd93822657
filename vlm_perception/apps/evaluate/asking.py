"""The loop of `vlm-perception-evaluate`: every question of a data set to the model, through the product's data path."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from vlm_perception.apps.evaluate.measures import Answered, Found
from vlm_perception.apps.evaluate.questions import Query, Sheet
from vlm_perception.engines.base import Engine
from vlm_perception.errors import (
    DeviceLostError,
    GeometryError,
    ImageError,
    InferenceError,
    PromptError,
)
from vlm_perception.pipeline import perceive
from vlm_perception.prompts.builder import PromptBook
from vlm_perception.settings import Settings
from vlm_perception.types import Frame, Request, Task

OnFailure = Callable[[str], None]


def ask_all(
    engine: Engine,
    sheets: Iterable[Sheet],
    prompts: PromptBook,
    settings: Settings,
    *,
    should_stop: Callable[[], bool],
    on_failure: OnFailure,
    on_step: Callable[[], object] = lambda: None,
) -> Iterator[Answered]:
    """Ask every question, image by image, so that an image is read by the model once.

    Args:
        engine: A loaded engine.
        sheets: The images with their questions.
        prompts: Make an instruction of each.
        settings: How: budget, limit of tokens, threshold of scores, closer looks.
        should_stop: Ends the loop; the answer that it interrupts is dropped.
        on_failure: Told in words about every image and question that could not be answered.
        on_step: Called after each image.

    Raises:
        DeviceLostError: The model cannot answer any more.
    """
    for index, sheet in enumerate(sheets):
        try:
            frame = sheet.image.read()
        except ImageError as error:
            on_failure(str(error))
            on_step()
            continue
        for question in sheet.questions:
            if should_stop():
                return
            try:
                answered = _ask(engine, index, frame, question, prompts, settings, should_stop)
            except DeviceLostError:
                raise
            except (PromptError, GeometryError, InferenceError) as error:
                on_failure(f"{sheet.image.title}, {question.prompt!r}: {error}")
                continue
            if answered is not None:
                yield answered
        on_step()


def _ask(
    engine: Engine,
    index: int,
    frame: Frame,
    question: Query,
    prompts: PromptBook,
    settings: Settings,
    should_stop: Callable[[], bool],
) -> Answered | None:
    # A phrase such as "the man who points at it" asks for boxes, whatever its words are like.
    prompt = prompts.build(question.prompt, Task.DETECT if settings.task is Task.AUTO else settings.task)
    started_s = time.perf_counter()
    result = perceive(
        engine,
        Request(frame, prompt, settings.budget, settings.max_new_tokens),
        score_threshold=settings.score_threshold,
        should_stop=should_stop,
        zoom=settings.zoom,
    )
    latency_s = time.perf_counter() - started_s
    if result.answer.finish_reason == "aborted":
        return None
    found = (
        Found(item.xyxy, 1.0 if item.score is None else item.score) for item in result.objects if item.xyxy is not None
    )
    return Answered(index, question, tuple(found), latency_s)
