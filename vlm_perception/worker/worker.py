"""The one thread that talks to the model: waiting frames + standing queries -> results, again and again.

Rules it keeps:
* a frame is asked each query at most once, and which frame and query is next is decided in
  `scheduling/scheduler.py`; with `publish_partial` objects are delivered before, as they become complete;
* at most `max_rate_hz` frames a second reach the model, and none that waited over `max_age_s`
  (but see the policies in docs/cameras-and-prompts.md);
* a query or camera that goes, `pause`, `deactivate` and `stop` abort the running generation within
  one decoder pass, and nothing of it is delivered after the call has returned;
* every frame that is not answered is counted under a cause; no failure ends the thread.

Two locks, always taken in this order: `_delivery` is held while something is published and while
it is changed what may be published; `_changed` guards the waiting frames and is never held for
long, so that a camera's callback does not wait for the model or a publisher.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager

from vlm_perception.engines.base import Engine
from vlm_perception.scheduling.once import Once
from vlm_perception.scheduling.rate import Clock
from vlm_perception.scheduling.scheduler import TurnTaking
from vlm_perception.scheduling.turns import News, Turn
from vlm_perception.settings import Settings
from vlm_perception.types import PixelBudget, Prompt, Result
from vlm_perception.worker.inference import Asker, contained, describe
from vlm_perception.worker.listener import Arrival, Deliver, DropCause, EngineState, WorkerListener
from vlm_perception.worker.memory_backoff import Lowered
from vlm_perception.worker.timeouts import Running

__all__ = ["Arrival", "Deliver", "DropCause", "EngineState", "Worker", "WorkerListener"]


class Worker:
    """Owns the engine and the thread it runs in. It has no cameras and no prompts at first.

    Args:
        engine: Not yet loaded; the worker loads and closes it.
        settings: Policy, rate, age, pixel and token limits.
        listener: Gets results, drops and state changes.
        clock: Monotonic seconds, the same as in `Arrival.received_s`.
    """

    def __init__(
        self, engine: Engine, settings: Settings, listener: WorkerListener, clock: Clock = time.monotonic
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._listener = listener
        # Reentrant: who publishes may ask something else.
        self._delivery = threading.RLock()
        self._changed = threading.Condition()
        self._turns = TurnTaking(settings, clock)
        self._clock = clock
        self._asker = Asker(engine, listener, self._delivery, clock)
        self._thread = threading.Thread()

    @property
    def state(self) -> EngineState:
        """Where the engine is in its life."""
        return self._turns.engine_state

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """The standing queries; none when detection is stopped."""
        return self._turns.prompts

    @property
    def paused(self) -> bool:
        """Whether frames are dropped instead of answered."""
        return self._turns.paused

    @property
    def answering(self) -> bool:
        """Whether the model is being asked right now."""
        return self._turns.asking

    @property
    def running(self) -> Running | None:
        """The pass that the model is in, with its times; None when it is not being asked."""
        return self._asker.running

    @property
    def asking_s(self) -> float | None:
        """Seconds since the running pass began; None when there is none."""
        running = self.running
        return None if running is None else running.asking_s

    @property
    def budget(self) -> PixelBudget:
        """The pixels that the model may see now: those of the settings, or fewer after memory ran out."""
        return self._asker.fit(self._settings)

    @property
    def lowered(self) -> Lowered | None:
        """The limit of pixels after memory ran out; None when there is none."""
        return self._asker.lowered

    def last_asked_s(self, camera: str) -> float:
        """When the model was last done with a frame of that camera; see `TurnTaking.last_asked_s`."""
        return self._turns.last_asked_s(camera)

    def start(self) -> None:
        """Start a thread, which loads the engine first; again after a `stop` whose thread has ended."""
        if self._thread.ident is not None:
            self._thread.join()
        with self._changing() as turns:
            turns.start()
        # What memory was lowered for was another model.
        self._asker = Asker(self._engine, self._listener, self._delivery, self._clock)
        self._thread = threading.Thread(target=self._run, name="vlm_perception_worker")
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> bool:
        """Abort the running generation, wait for the thread, which closes the engine at its end.

        Returns:
            Whether the thread has ended. Loading a model cannot be interrupted, so it may not.
        """
        with self._changing() as turns:
            turns.stop()
        if self._thread.ident is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def apply(self, settings: Settings) -> None:
        """Use other limits from the next frame on; `on_demand` aborts what nobody asked for."""
        with self._changing() as turns:
            self._settings = settings
            turns.apply(settings)

    def set_prompts(self, prompts: tuple[Prompt, ...]) -> bool:
        """Ask these questions from now on, or none; one that stays is not disturbed.

        Returns:
            Whether anything changed.
        """
        with self._changing() as turns:
            return turns.set_prompts(prompts)

    def set_cameras(self, cameras: Mapping[str, float]) -> None:
        """Take frames of these cameras from now on.

        Args:
            cameras: Resolved topic name to its weight, a positive share of turns. A camera that goes
                has its running answer aborted and its waiting frames dropped.
        """
        with self._changing() as turns:
            turns.set_cameras(cameras)

    def pause(self) -> None:
        """Abort the running generation and drop all frames until `resume`."""
        with self._changing() as turns:
            turns.pause()

    def resume(self) -> None:
        """Take frames again."""
        with self._changing() as turns:
            turns.resume()

    def deactivate(self) -> None:
        """Abort the running generation and drop all frames until `activate`, whether paused or not."""
        with self._changing() as turns:
            turns.deactivate()

    def activate(self) -> None:
        """Take frames again, unless paused."""
        with self._changing() as turns:
            turns.activate()

    def detect_once(self, camera: str | None = None) -> Future[Result]:
        """Ask for one answer on the newest frame that waits or arrives, whatever the policy and rate.

        With several standing queries it answers the one whose turn it is. Requests that one answer
        fits share it. The answer goes to the listener too.

        Args:
            camera: Resolved topic name; None takes the newest frame of all.

        Returns:
            The result to come, or a DetectOnceError that says why there is none. Who does not want
            to wait any longer cancels it.
        """
        once = Once(camera)
        with self._changing() as turns:
            turns.ask_once(once)
        return once.future

    def offer(self, arrival: Arrival) -> None:
        """Hand in a new frame without waiting."""
        with self._changed:
            self._turns.put(arrival)
            news = self._turns.take_news()
            self._changed.notify()
        self._tell(news)

    @contextmanager
    def _changing(self) -> Iterator[TurnTaking]:
        """Change what may be delivered; what follows is told when the locks are free."""
        with self._delivery, self._changed:
            yield self._turns
            news = self._turns.take_news()
            self._changed.notify()
        self._tell(news)

    def _tell(self, news: News) -> None:
        for camera, cause in news.drops:
            self._listener.on_drop(camera, cause.value, None)
        for once, reason in news.refused:
            once.fail(reason)

    def _run(self) -> None:
        failure = self._load()
        while failure is None and not self._turns.stopping:
            turns = self._wait_for_turns()
            settings = self._settings
            rows = self._asker.read(turns, settings)
            with self._changed:
                self._turns.mark_passed([row.turn for row in rows])
            self._asker.ask(rows, settings)
            with self._changing() as taking:
                taking.done()
        failure = self._close() or failure
        # Told last: whoever hears it may start again.
        if failure is None:
            self._set_state(EngineState.STOPPED)
        else:
            self._set_state(EngineState.FAILED, failure)

    def _wait_for_turns(self) -> list[Turn]:
        """Wait for something to ask; none when there is something else to see to first."""
        with self._changed:
            turns, news = self._turns.pick(self._asker.limit(self._settings)), self._turns.take_news()
            if not turns and not news and not self._turns.stopping:
                self._changed.wait(self._turns.wait_s())
        self._tell(news)
        return turns

    def _load(self) -> str | None:
        """Load the engine; return why that failed, or None."""
        self._set_state(EngineState.LOADING)
        try:
            with contained():
                self._engine.load()
        except Exception as error:  # noqa: BLE001 - whatever happens, the node has to say so and live on
            return describe(error)
        self._set_state(EngineState.READY)
        return None

    def _close(self) -> str | None:
        """Free the engine; return why that failed, or None."""
        try:
            with contained():
                self._engine.close()
        except Exception as error:  # noqa: BLE001 - who waits for the end must hear of it
            return f"it could not be freed: {describe(error)}"
        return None

    def _set_state(self, state: EngineState, detail: str = "") -> None:
        if state is not self.state:
            with self._changing() as turns:
                turns.engine_state, turns.engine_detail = state, detail
            self._listener.on_state(state, detail)
