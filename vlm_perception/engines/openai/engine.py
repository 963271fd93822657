"""Models on servers as an engine: many answers at a time, each asked of one server, or of another when that fails."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue

from anyio.from_thread import BlockingPortal, start_blocking_portal

from vlm_perception.engines.base import OnText, ShouldStop, ignore_text
from vlm_perception.engines.families import intersect_budgets, plan_resize
from vlm_perception.engines.openai.address import read_key, server_urls
from vlm_perception.engines.openai.chat import Delta, Question
from vlm_perception.engines.openai.image import encode_image
from vlm_perception.engines.openai.pool import Begun, ServerPool
from vlm_perception.engines.openai.reply import ServedReply
from vlm_perception.errors import InferenceError, ModelLoadError, ServerUnavailableError, SettingsError
from vlm_perception.settings import Settings
from vlm_perception.types import Answer, PixelBudget, Request, Timings

# How often somebody who waits for a server looks whether the answer is still wanted.
_LOOK_PERIOD_S = 0.02

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Open:
    """Connections that are open: who closes them, the thread that they live on, and the servers."""

    closing: weakref.finalize[[], OpenAIEngine]
    portal: BlockingPortal
    pool: ServerPool


class OpenAIEngine:
    """A model on one server or on several, asked over HTTP.

    `answer` may be called from several threads at once, each of which waits for its own answer. Connections live in an
    event loop on a thread of their own.

    Args:
        settings: Asked at every `load` for what concerns the servers; nothing is read before.
        has_fallback: Whether somebody else answers where no server does: then it loads without any, too, and waits for
            none that stalls.
    """

    def __init__(self, settings: Callable[[], Settings], *, has_fallback: bool = False) -> None:
        self._ask_settings, self._has_fallback = settings, has_fallback
        self._settings = settings()
        self._open: _Open | None = None
        self._loading = ""

    @property
    def name(self) -> str:
        """The model or the server as it was asked for."""
        return self._ask_settings().model

    @property
    def max_in_flight(self) -> int:
        """See `ConcurrentEngine.max_in_flight`."""
        return self._settings.max_in_flight

    def load(self) -> None:
        """Ask every server about a drawn card; one that does not answer is looked at again later. See `Engine.load`."""
        if self._open is not None:
            return
        settings = self._settings = self._ask_settings()
        try:
            urls, key = server_urls(settings), read_key(settings)
        except SettingsError as error:
            raise ModelLoadError(str(error)) from error
        self._loading = f"asking {', '.join(urls)} about a drawn card"
        try:
            self._open = self._opened_pool(urls, settings, key)
        finally:
            self._loading = ""
        _log.info("loaded %s", self.describe())

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        """See `Engine.answer`; also raises `ServerUnavailableError` where no server can be asked."""
        opened, began_s = self._opened(), time.perf_counter()
        blank = self.blank_answer(request)
        image_format = self._settings.server_image
        frames, times_s = (
            ((request.frame,), ()) if request.clip is None else (request.clip.frames, request.clip.times_s)
        )
        images = [encode_image(frame, blank.model_wh, image_format) for frame in frames]
        instruction, limit = request.prompt.instruction, request.max_new_tokens
        timed = tuple(zip(times_s, images, strict=False))
        question = Question(instruction, images[-1], f"image/{image_format}", blank.model_wh, limit, timed)
        sent_s = time.perf_counter()
        hearing = _Hearing(should_stop, on_text)
        fresh_until_s, may_wait = self._fresh_until_s(request), not self._has_fallback
        ask = partial(opened.pool.ask, question, fresh_until_s, hearing.put, may_wait=may_wait)
        asking = opened.portal.start_task_soon(ask)
        hearing.listen(asking)
        text, tokens, finish_reason = hearing.reply.finish()
        ended_s = time.perf_counter()
        timings = Timings(sent_s - began_s, ended_s - sent_s, 0.0, prefill_s=hearing.first_s or ended_s - sent_s)
        return replace(blank, text=text, tokens=tokens, finish_reason=finish_reason, timings=timings)

    def blank_answer(self, request: Request) -> Answer:
        """See `Engine.blank_answer`."""
        pool = self._opened().pool
        if pool.family is None:
            raise ServerUnavailableError(f"no server has answered yet: {pool.states()}")
        asked = request.budget
        if request.clip is not None:
            # Each frame is an image of its own here, of which no two share their tokens.
            asked = PixelBudget(min(asked.min_pixels, asked.max_pixels // 2), asked.max_pixels // 2)
        budget = intersect_budgets(asked, pool.family.pixels)
        model_wh = plan_resize(request.frame.image_wh, budget, cell_px=pool.family.cell_px)
        return Answer("", model_wh, pool.family.coordinates, "unfinished", (), Timings(0.0, 0.0, 0.0))

    def describe(self) -> dict[str, str]:
        """Facts for diagnostics: see `Engine.describe`, and `servers`: which can be asked, and why others cannot."""
        facts = {"device": "servers", "dtype": "as served", "parameters": "as served", "source": self.name}
        if self._open is None:
            return {**facts, "loading": self._loading} if self._loading else facts
        return {**facts, **self._open.pool.facts(), "drafting": "off: the server writes on its own"}

    def close(self) -> None:
        """Close all connections; the engine may be loaded again."""
        opened, self._open = self._open, None
        if opened is not None:
            opened.closing()

    def _opened_pool(self, urls: tuple[str, ...], settings: Settings, key: str) -> _Open:
        with ExitStack() as closing:
            portal = closing.enter_context(start_blocking_portal("asyncio"))
            pool = portal.call(ServerPool, urls, settings, key)
            closing.callback(portal.call, pool.close)
            try:
                portal.call(pool.open)
            except ModelLoadError as error:
                if not self._has_fallback:
                    raise
                _log.warning("%s; the fallback answers until one can", error)
            closing.callback(portal.start_task_soon(pool.watch).cancel)
            # At the end of the process at the latest: after that a loop that nobody stopped is waited for, for ever.
            return _Open(weakref.finalize(self, closing.pop_all().close), portal, pool)

    def _opened(self) -> _Open:
        if self._open is None:
            raise InferenceError(f"{self.name} is not loaded: call load() first")
        return self._open

    def _fresh_until_s(self, request: Request) -> float:
        """Until when another server may be asked; what is no camera's image ages from now on."""
        settings, frame = self._settings, request.frame
        began_s = frame.received_s if frame.camera else time.monotonic()
        return began_s + (settings.timeout_s if settings.frame_policy == "every" else settings.max_age_s)


class _Hearing:
    """What the thread that asked hears of the servers.

    Attributes:
        reply: What was written.
        first_s: Seconds until the first piece of it; None before.
    """

    def __init__(self, should_stop: ShouldStop, on_text: OnText) -> None:
        self._should_stop = should_stop
        self._events: SimpleQueue[Begun | Delta | None] = SimpleQueue()
        self.reply = ServedReply(on_text)
        self.first_s: float | None = None
        self._began_s = time.perf_counter()

    def put(self, event: Begun | Delta) -> None:
        """Say something, from any thread."""
        self._events.put(event)

    def listen(self, asking: Future[None]) -> None:
        """Read what is said until the answer ends or is not wanted any more; then it is not asked for any more.

        Raises:
            InferenceError: There will be no answer.
        """
        asking.add_done_callback(lambda _: self._events.put(None))
        while not self.reply.over and not self._should_stop():
            try:
                event = self._events.get(timeout=_LOOK_PERIOD_S)
            except Empty:
                continue
            if event is None:
                try:
                    return asking.result()
                except CancelledError as error:
                    raise InferenceError("the servers were closed during an answer") from error
            if isinstance(event, Begun):
                # What was told cannot be taken back: all of another server's answer is told at its end.
                self.reply = ServedReply(ignore_text) if self.reply.has_begun else self.reply
            else:
                self.first_s = self.first_s or time.perf_counter() - self._began_s
                self.reply.read(event)
        asking.cancel()
        return None
