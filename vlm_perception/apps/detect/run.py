"""The loop of `vlm-detect`: pictures in, answers to the exports, one at a time. No arguments, no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from vlm_perception.apps.detect.exports.base import Export
from vlm_perception.apps.detect.inputs import Failure, Picture
from vlm_perception.apps.detect.terminal import Terminal
from vlm_perception.apps.stop_signals import StopSignals
from vlm_perception.engines.base import Engine
from vlm_perception.errors import DeviceLostError, GeometryError, InferenceError
from vlm_perception.pipeline import perceive
from vlm_perception.settings import Settings
from vlm_perception.types import Frame, FrameHeader, Prompt, Request, Result


@dataclass(slots=True)
class Tally:
    """What was done: whole answers, objects in them, and what could not be answered."""

    answered: int = 0
    objects: int = 0
    failed: int = 0


def detect_all(
    engine: Engine,
    items: Iterable[Picture | Failure],
    prompt: Prompt,
    settings: Settings,
    exports: Sequence[Export],
    terminal: Terminal,
    *,
    stop: StopSignals,
    on_partial: Callable[[Picture, Result], None] | None = None,
    on_failure: Callable[[Failure], None] | None = None,
    fail_fast: bool = False,
) -> Tally:
    """Ask the same about every picture.

    Args:
        engine: A loaded engine; it is not used when there are only failures.
        items: Pictures, and what could not be read, in order.
        prompt: What to ask.
        settings: How: budget, limit of tokens, threshold of scores.
        exports: Where the answers go; all are closed at the end, whatever happens.
        terminal: Told about progress, failures and notes of the exports.
        stop: Ends the loop; the answer it interrupts is dropped, those before it are kept.
        on_partial: Told about objects of an answer that is not whole yet.
        on_failure: Told about what could not be answered; most formats have no place for it.
        fail_fast: End the loop at the first failure.

    Returns:
        What was done.

    Raises:
        OutputError: Results can no longer be written.
        DeviceLostError: The model cannot answer any more.
    """
    tally = Tally()

    def ask(picture: Picture) -> Result | Failure | None:
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
                should_stop=stop.told,
                on_partial=(lambda partial: on_partial(picture, partial)) if on_partial else None,
                zoom=settings.zoom,
            )
        except DeviceLostError:
            raise
        except (GeometryError, InferenceError) as error:
            return Failure(str(picture.path), f"{picture.title}: {error}", picture.frame_index, picture.time_s)
        return None if result.answer.finish_reason == "aborted" else result

    with ExitStack() as closing:
        for export in exports:
            closing.callback(_close, export, terminal)
        for item in items:
            if stop.told():
                break
            outcome = item if isinstance(item, Failure) else ask(item)
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
    return tally


def _close(export: Export, terminal: Terminal) -> None:
    for note in export.close():
        terminal.note(note)
