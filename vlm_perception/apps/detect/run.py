"""The loop of `vlm-detect`: pictures in, answers to the exports, one at a time. No arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from itertools import chain

from vlm_perception.apps.detect.exports.base import Export
from vlm_perception.apps.detect.inputs import Failure, Picture, leading_failures
from vlm_perception.apps.detect.terminal import Terminal
from vlm_perception.apps.stop_signals import StopSignals
from vlm_perception.engines.base import Engine, ShouldStop
from vlm_perception.errors import DeviceLostError, GeometryError, InferenceError
from vlm_perception.pipeline import perceive
from vlm_perception.settings import Settings
from vlm_perception.types import Frame, FrameHeader, Prompt, Request, Result

_SIGNALLED = 128


@dataclass(slots=True)
class Tally:
    """What was done.

    Attributes:
        answered: Whole answers.
        objects: In them.
        failed: What could not be answered.
        signal: Number of the one that ended it, or None.
    """

    answered: int = 0
    objects: int = 0
    failed: int = 0
    signal: int | None = None

    @property
    def exit_code(self) -> int:
        """What the command ends with."""
        return _SIGNALLED + self.signal if self.signal is not None else 1 if self.failed else 0


def detect_all(
    engine: Engine,
    items: Iterator[Picture | Failure],
    prompt: Prompt,
    settings: Settings,
    exports: Sequence[Export],
    terminal: Terminal,
    *,
    bar: AbstractContextManager[None],
    on_partial: Callable[[Picture, Result], None] | None = None,
    on_failure: Callable[[Failure], None] | None = None,
    fail_fast: bool = False,
    who: str = "",
) -> Tally:
    """Load a model, ask it the same about every picture, and free it.

    A signal ends the loop; the answer it interrupts is dropped, those before it are kept.

    Args:
        engine: Not loaded yet; it is not, either, when there are only failures.
        items: Pictures, and what could not be read, in order.
        prompt: What to ask.
        settings: How: budget, limit of tokens, threshold of scores.
        exports: Where the answers go; all are closed at the end, whatever happens while the model is asked.
        terminal: Told about progress, failures and notes of the exports.
        bar: Entered while the model is asked.
        on_partial: Told about objects of an answer that is not whole yet.
        on_failure: Told about what could not be answered; most formats have no place for it.
        fail_fast: End the loop at the first failure.
        who: Begins what is said of the model, where several are asked.

    Returns:
        What was done.

    Raises:
        ModelLoadError: The model cannot be loaded.
        OutputError: Results can no longer be written.
        DeviceLostError: The model cannot answer any more.
    """
    failures, pictures = leading_failures(items)
    # Told before the model is loaded, which takes long, and which only pictures need.
    for failure in failures:
        terminal.failed(failure)
    first = None if failures and fail_fast else next(pictures, None)
    if first is not None:
        engine.load()
        if knows := engine.describe().get("knows"):
            terminal.note(f"{who}this model knows {knows}: what it says of other images means nothing")
    tally = Tally()
    with closing(engine), bar, StopSignals() as stop, ExitStack() as closers:
        for export in exports:
            closers.callback(_close, export, terminal)
        for item in chain(failures, [first] if first is not None else (), pictures):
            if stop.told():
                break
            outcome = (
                item if isinstance(item, Failure) else _ask(engine, item, prompt, settings, stop.told, on_partial, who)
            )
            if isinstance(outcome, Failure):
                tally.failed += 1
                terminal.failed(outcome)
                if on_failure is not None:
                    on_failure(outcome)
            elif isinstance(item, Picture) and outcome is not None:
                tally.answered += 1
                tally.objects += len(outcome.objects)
                for export in exports:
                    export.add(item, outcome)
            terminal.step()
            if fail_fast and tally.failed:
                break
    tally.signal = stop.received
    return tally


def _ask(
    engine: Engine,
    picture: Picture,
    prompt: Prompt,
    settings: Settings,
    should_stop: ShouldStop,
    on_partial: Callable[[Picture, Result], None] | None,
    who: str,
) -> Result | Failure | None:
    """Answer one picture; None when it was interrupted."""
    header = picture.header or FrameHeader(0, 0, "")
    frame = Frame(picture.rgb, header, picture.camera or str(picture.path))
    budget, clip = settings.budget, picture.clip
    if clip is not None:
        frame, budget = clip.frames[-1], settings.watch_budget(budget, len(clip.frames))
    try:
        result = perceive(
            engine,
            Request(frame, prompt, budget, settings.max_new_tokens, clip=clip),
            score_threshold=settings.score_threshold,
            should_stop=should_stop,
            on_partial=(lambda partial: on_partial(picture, partial)) if on_partial else None,
            zoom=settings.zoom,
        )
    except DeviceLostError:
        raise
    except (GeometryError, InferenceError) as error:
        return Failure(str(picture.path), f"{who}{picture.title}: {error}", picture.frame_index, picture.time_s)
    return None if result.answer.finish_reason == "aborted" else result


def _close(export: Export, terminal: Terminal) -> None:
    for note in export.close():
        terminal.note(note)
