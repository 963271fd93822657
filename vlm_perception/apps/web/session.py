"""From what the page's controls hold to what the page shows. No Gradio here."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, replace
from pathlib import Path

from vlm_perception.apps.web.show import Shown, notice, show_problem, show_refused, show_result, show_waiting
from vlm_perception.apps.web.uploads import read_film, read_upload
from vlm_perception.engines.base import Engine
from vlm_perception.errors import ImageError, ModelLoadError, PromptError, SettingsError, VlmPerceptionError
from vlm_perception.frames.film_clip import FilmSampling
from vlm_perception.pipeline import perceive
from vlm_perception.prompts.builder import load_prompts
from vlm_perception.settings import Settings
from vlm_perception.types import Frame, FrameHeader, Prompt, Request, Result, Task

_log = logging.getLogger(__name__)
_CAMERA = "web page"


@dataclass(frozen=True, slots=True)
class Controls:
    """What the page's controls hold, unchecked: a browser may send anything.

    Attributes:
        image: The uploaded file, or None.
        image_name: What the user calls it.
        prompt: What was typed.
        task: Name of a `Task`.
        score_threshold: Objects with a lower score become rejects.
        max_pixels: Largest area the model may see, pixels.
        zoom: Whether small things are looked at again.
        film: The uploaded video, which a prompt of the task `watch` is about, or None.
    """

    image: Path | None
    image_name: str
    prompt: str
    task: object
    score_threshold: object
    max_pixels: object
    zoom: object = False
    film: Path | None = None


class Session:
    """One model and everybody who asks it, one question at a time.

    The engine is only ever used on one thread of its own, so two questions cannot meet in it.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        """Begin to load the model in the background.

        Args:
            engine: Not loaded yet.
            settings: What the controls do not set.
        """
        self._engine, self._settings = engine, settings
        self._prompts = load_prompts(settings.prompts_file)
        self._asked: list[tuple[str, threading.Event]] = []
        self._model_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._loading: Future[None] = self._model_thread.submit(self._load)

    @property
    def model_name(self) -> str:
        """What to call the model: a hub id, or the name of its folder; where that lies tells a visitor nothing."""
        path = Path(self._engine.name)
        return path.name if path.is_absolute() or path.is_dir() else self._engine.name

    def model_states(self) -> Iterator[str]:
        """Yield what the model does, as HTML: once now, and once more when it has been loaded or has failed."""
        if not self._loading.done():
            yield notice("waiting", f"{self.model_name} is being loaded ...")
            wait_for([self._loading])
        try:
            self._loading.result()
        except ModelLoadError as error:
            yield notice("problem", f"The model cannot be used: {error}")
        except CancelledError:
            yield notice("problem", "The page is being closed.")
        else:
            facts = self._engine.describe()
            known = [facts[key] for key in ("device", "dtype") if key in facts]
            known += [f"{facts['parameters']} parameters"] if "parameters" in facts else []
            known += [f"knows {facts['knows']}"] if "knows" in facts else []
            yield notice("ready", " · ".join([self.model_name, *known]))

    def ask(self, question: Controls, owner: str) -> Iterator[Shown]:
        """Answer one question; what is known so far comes first, the whole answer last.

        A question that cannot be answered gives one `Shown` with the reason; when it is the prompt or a control that
        is refused, nothing was asked, and the result before stays.

        Args:
            question: What the controls hold.
            owner: Who asks, for `stop`.
        """
        stopped = threading.Event()
        entry = (owner, stopped)
        self._asked.append(entry)
        notes: list[str] = []
        try:
            request = self._request(question, notes.append)
            for shown in self._answers(question, request, self._checked(question), stopped):
                yield replace(shown, notice=shown.notice + "".join(notice("remark", note) for note in notes))
        except (PromptError, SettingsError) as error:
            # For whoever typed it alone; a live camera would write it twice a second.
            _log.debug("not asked: %s", error)
            yield show_refused(str(error))
        except VlmPerceptionError as error:
            _log.warning("not answered: %s", error)
            yield show_problem(str(error))
        except CancelledError:
            yield show_problem("The page is being closed.")
        finally:
            # Also when the browser has gone: nobody waits for the rest of the answer.
            stopped.set()
            self._asked.remove(entry)

    def stop(self, owner: str) -> None:
        """End the answers that this owner waits for; what is complete is still shown."""
        for who, stopped in list(self._asked):
            if who == owner:
                stopped.set()

    def close(self, timeout_s: float) -> bool:
        """Stop everything.

        Returns:
            Whether the model has come to rest; a model in the middle of loading does not.
        """
        for _, stopped in list(self._asked):
            stopped.set()
        self._model_thread.shutdown(wait=False, cancel_futures=True)
        return not wait_for([self._loading], timeout=timeout_s).not_done

    def _load(self) -> None:
        try:
            self._engine.load()
        except ModelLoadError as error:
            _log.error("%s", error)
            raise

    def _checked(self, question: Controls) -> Settings:
        """Check the controls by the same rules as the node's parameters."""
        try:
            threshold, area = float(str(question.score_threshold)), int(float(str(question.max_pixels)))
        except (ValueError, OverflowError) as error:
            raise SettingsError(f"score and pixels have to be numbers: {error}") from error
        zoom = "auto" if question.zoom else "off"
        return self._settings.changed(task=question.task, score_threshold=threshold, max_pixels=area, zoom=zoom)

    def _request(self, question: Controls, note: Callable[[str], object]) -> Request:
        settings = self._checked(question)
        prompt = self._prompts.build(question.prompt, settings.task)
        if prompt.task is Task.WATCH:
            return self._about_film(question, prompt, settings, note)
        if question.image is None:
            raise ImageError("there is no image: upload one, or take one with the camera", cause="no_image")
        rgb = read_upload(question.image, question.image_name)
        frame = Frame(rgb, FrameHeader(0, 0, _CAMERA), _CAMERA, time.monotonic())
        return Request(frame, prompt, settings.budget, settings.max_new_tokens)

    def _about_film(
        self, question: Controls, prompt: Prompt, settings: Settings, note: Callable[[str], object]
    ) -> Request:
        if question.film is None:
            # Answered about one picture, it would tell of what it never saw.
            raise PromptError(f"{prompt.text[:80]!r} is asked about a whole video: upload one under 'From a video'")
        clip = read_film(question.film, FilmSampling.of(settings), note)
        budget = settings.watch_budget(settings.budget, len(clip.frames))
        return Request(clip.frames[-1], prompt, budget, settings.max_new_tokens, clip=clip)

    def _answers(
        self, question: Controls, request: Request, settings: Settings, stopped: threading.Event
    ) -> Iterator[Shown]:
        if not self._loading.done():
            yield show_waiting("The model is still loading; your question waits for it.")
        partials: queue.SimpleQueue[Result | None] = queue.SimpleQueue()

        def work() -> Result:
            self._loading.result()
            return perceive(
                self._engine,
                request,
                score_threshold=settings.score_threshold,
                should_stop=stopped.is_set,
                on_partial=partials.put,
                zoom=settings.zoom,
            )

        answer = self._model_thread.submit(work)
        answer.add_done_callback(lambda _: partials.put(None))
        while (partial := _newest(partials)) is not None:
            yield self._show(partial, question)
        yield self._show(answer.result(), question)

    def _show(self, result: Result, question: Controls) -> Shown:
        if result.request.clip is not None and question.film is not None:
            return show_result(result, question.film.name, self.model_name, str(question.film))
        return show_result(result, question.image_name, self.model_name, str(question.image))


def _newest(partials: queue.SimpleQueue[Result | None]) -> Result | None:
    """Wait for the next result and skip those that are already outdated; None once there will be no more."""
    result = partials.get()
    while result is not None and not partials.empty():
        result = partials.get()
    return result
