"""The thread that asks the model: pending frames + standing prompts -> results, again and again.

It asks on itself, one pass after the other. An engine that can be asked several things at once (`ConcurrentEngine`) is
asked on threads beside it, while it goes on picking turns.

Rules it keeps:
* a frame is asked each prompt at most once, and which frame and prompt is next is decided in
  `scheduling/scheduler.py`; with `publish_partial` objects are delivered before, as they become complete;
* at most `max_rate_hz` frames a second reach the model, and none that waited over `max_age_s`
  (but see the policies in docs/cameras.md);
* a prompt or camera that goes, `pause`, `deactivate` and `stop` abort the running generations within
  one decoder pass, and nothing of them is delivered after the call has returned;
* no answer of a camera is followed by one to the same prompt about an earlier frame (`delivery.py`);
* every frame that is not answered is counted under a cause; no failure of one answer ends the thread, but a lost
  device and too many failures in a row do.

Two locks, always taken in this order, and those of `tracking.py` after them: `Delivery.lock` is held while something is
published and while it is changed what may be published; `_changed` guards the pending frames and is never held for
long, so that a camera's callback does not wait for the model or a publisher.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager

from vlm_perception.engines.base import Engine, EngineState
from vlm_perception.frames.history import FrameHistories
from vlm_perception.scheduling.frame_queue import PendingFrame
from vlm_perception.scheduling.goals import Goal
from vlm_perception.scheduling.rate import Clock
from vlm_perception.scheduling.scheduler import Scheduler
from vlm_perception.scheduling.turns import News, OnceRequest, Turn
from vlm_perception.settings import Settings
from vlm_perception.types import PixelBudget, Prompt, Result, Task
from vlm_perception.worker.delivery import Delivery
from vlm_perception.worker.inference import Inference, contained, describe
from vlm_perception.worker.listener import WorkerListener
from vlm_perception.worker.memory_backoff import PixelLimit
from vlm_perception.worker.timeouts import RunningPass
from vlm_perception.worker.tracking import Tracking

# More than any server takes of one robot; what is beyond it waits for its turn.
_MOST_IN_FLIGHT = 256


class Worker:
    """Owns the engine and the thread it runs in. It has no cameras and no prompts at first.

    Args:
        engine: Not yet loaded; the worker loads and closes it.
        settings: Policy, rate, age, pixel and token limits.
        listener: Gets results, drops and state changes.
        clock: Monotonic seconds, the same as in `PendingFrame.received_s`.
        tracking: Follows the objects of answers; None follows none.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        listener: WorkerListener,
        clock: Clock = time.monotonic,
        tracking: Tracking | None = None,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._listener = listener
        self._changed = threading.Condition()
        self._scheduler = Scheduler(settings, clock)
        self._delivery = Delivery(self._scheduler, self._changed)
        self._clock = clock
        self._tracking = tracking
        self._histories = FrameHistories()
        self._inference = self._new_inference()
        self._thread = threading.Thread()

    @property
    def state(self) -> EngineState:
        """Where the engine is in its life."""
        return self._scheduler.engine_state

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """The standing prompts; none when detection is stopped."""
        return self._scheduler.prompts

    @property
    def paused(self) -> bool:
        """Whether frames are dropped instead of answered."""
        return self._scheduler.paused

    @property
    def answering(self) -> bool:
        """Whether the model is being asked right now."""
        return self._scheduler.asking

    @property
    def running(self) -> RunningPass | None:
        """The pass that the model is in, with its times; see `Inference.running`. None when it is not being asked."""
        return self._inference.running

    @property
    def asking_s(self) -> float | None:
        """Seconds since the running pass began; None when there is none."""
        running = self.running
        return None if running is None else running.asking_s

    @property
    def budget(self) -> PixelBudget:
        """The pixels that the model may see now: those of the settings, or fewer after memory ran out."""
        return self._inference.fit(self._settings)

    @property
    def lowered(self) -> PixelLimit | None:
        """The limit of pixels after memory ran out; None when there is none."""
        return self._inference.lowered

    def last_asked_s(self, camera: str) -> float:
        """When the frame of that camera was chosen that was asked about last; see `Scheduler.last_asked_s`."""
        return self._scheduler.last_asked_s(camera)

    def start(self) -> None:
        """Start a thread, which loads the engine first; again after a `stop` whose thread has ended."""
        if self._thread.ident is not None:
            self._thread.join()
        with self._changing() as scheduler:
            scheduler.start()
        # What memory was lowered for was another model.
        self._inference = self._new_inference()
        self._thread = threading.Thread(target=self._run, name="vlm_perception_worker")
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> bool:
        """Abort the running generations, wait for the thread, which closes the engine at its end.

        Returns:
            Whether the thread has ended. Loading a model cannot be interrupted, so it may not.
        """
        with self._changing() as scheduler:
            scheduler.stop()
        tracked = self._tracking is None or self._tracking.stop(timeout_s)
        if self._thread.ident is None:
            return tracked
        self._thread.join(timeout_s)
        return tracked and not self._thread.is_alive()

    def apply(self, settings: Settings) -> None:
        """Use other limits from the next frame on; `on_demand` aborts what nobody asked for."""
        with self._changing() as scheduler:
            self._settings = settings
            scheduler.apply(settings)
            if self._tracking is not None:
                self._tracking.apply(settings)

    def set_prompts(self, prompts: tuple[Prompt, ...]) -> bool:
        """Ask these prompts from now on, or none; one that stays is not disturbed.

        Returns:
            Whether anything changed.
        """
        with self._changing() as scheduler:
            return scheduler.set_prompts(prompts)

    def set_cameras(self, cameras: Mapping[str, float]) -> None:
        """Take frames of these cameras from now on.

        Args:
            cameras: Resolved topic name to its weight, a positive share of turns. A camera that goes
                has its running answer aborted and its pending frames dropped.
        """
        with self._changing() as scheduler:
            scheduler.set_cameras(cameras)

    def pause(self) -> None:
        """Abort the running generation and drop all frames until `resume`."""
        with self._changing() as scheduler:
            scheduler.pause()

    def resume(self) -> None:
        """Take frames again."""
        with self._changing() as scheduler:
            scheduler.resume()

    def deactivate(self) -> None:
        """Abort the running generation and drop all frames until `activate`, whether paused or not."""
        with self._changing() as scheduler:
            scheduler.deactivate()

    def activate(self) -> None:
        """Take frames again, unless paused."""
        with self._changing() as scheduler:
            scheduler.activate()

    def detect_once(self, camera: str | None = None) -> Future[Result]:
        """Ask for one answer on the newest frame that waits or arrives, whatever the policy and rate.

        With several standing prompts it answers the one whose turn it is. Requests that one answer
        fits share it. The answer goes to the listener too.

        Args:
            camera: Resolved topic name; None takes the newest frame of all.

        Returns:
            The result to come, or a NoAnswerError that says why there is none. Who does not want
            to wait any longer cancels it.
        """
        once = OnceRequest(camera)
        with self._changing() as scheduler:
            scheduler.ask_once(once)
        return once.future

    def ask(self, goal: Goal) -> None:
        """Ask somebody's own question, paused or not; its future has the answer, which nobody else is told."""
        with self._changing() as scheduler:
            scheduler.ask(goal)

    def withdraw(self, goal: Goal) -> None:
        """End a goal within one decoder pass; what is complete by then is its answer."""
        with self._changing() as scheduler:
            scheduler.withdraw(goal)

    def offer(self, pending: PendingFrame) -> None:
        """Hand in a new frame without waiting; on one thread."""
        pending.before = self._histories.offer(pending.camera, pending.received_s, pending.source)
        with self._changed:
            self._scheduler.put(pending)
            news = self._scheduler.take_news()
            self._changed.notify_all()
        self._tell(news)
        if self._tracking is not None:
            self._tracking.offer(pending)

    def wants_every_frame(self, camera: str) -> bool:
        """Whether somebody looks at a camera's tracks, so that more than its newest frame counts; on the executor."""
        return self._tracking is not None and self._tracking.wants(camera)

    @contextmanager
    def _changing(self) -> Iterator[Scheduler]:
        """Change what may be delivered; what follows is told when the locks are free."""
        with self._delivery.lock:
            with self._changed:
                yield self._scheduler
                news = self._scheduler.take_news()
                self._changed.notify_all()
            self._follow()
        self._tell(news)

    def _follow(self) -> None:
        """Let what is followed, and what is kept of the last seconds, be what is asked."""
        now, settings = self._scheduler, self._settings
        watches = any(prompt.task is Task.WATCH for prompt in now.prompts)
        takes = now.active and not now.stopping and not now.paused
        least_px = settings.watch_budget(settings.budget, settings.watch_frames).max_pixels
        cameras = now.cameras if watches and takes else ()
        self._histories.use(cameras, settings.watch_window_s, settings.watch_rate_hz, least_px)
        if self._tracking is not None:
            active = now.active and not now.stopping
            self._tracking.follow(now.prompts, now.cameras, active=active, halted=not active or now.paused)

    def _new_inference(self) -> Inference:
        return Inference(self._engine, self._listener, self._delivery, self._clock, self._tracking)

    def _tell(self, news: News) -> None:
        for camera, cause in news.drops:
            self._listener.on_drop(camera, cause.value, None)
        for waiting, reason in news.refused:
            waiting.fail(reason)

    def _run(self) -> None:
        failure = self._load()
        if failure is None:
            # Leaving waits for all answers that are on their way; without any it has no threads.
            with ThreadPoolExecutor(_MOST_IN_FLIGHT, "vlm_perception_answer") as beside:
                while not self._is_over():
                    self._take_turns(beside)
                failure = self._inference.breakdown(self._settings) or None
                with self._changing() as scheduler:
                    scheduler.give_up()
        closed = self._close()
        failure = failure or closed
        # Told last: whoever hears it may start again.
        if failure is None:
            self._set_state(EngineState.STOPPED)
        else:
            self._set_state(EngineState.FAILED, failure)

    def _is_over(self) -> bool:
        """Whether nothing more is asked."""
        return self._scheduler.stopping or bool(self._inference.breakdown(self._settings))

    def _take_turns(self, beside: Executor) -> None:
        """Wait for something to ask, and ask it."""
        turns = self._wait_for_turns()
        readable = self._inference.read(turns)
        with self._changed:
            self._scheduler.mark_passed(readable)
        if not turns:
            return
        if self._inference.is_concurrent:
            beside.submit(self._ask, turns, readable)
        else:
            self._ask(turns, readable)

    def _ask(self, turns: list[Turn], readable: list[Turn]) -> None:
        try:
            self._inference.ask(readable, self._settings)
        finally:
            with self._changing() as scheduler:
                scheduler.done(turns)

    def _wait_for_turns(self) -> list[Turn]:
        """Wait for something to ask; none when there is something else to see to first."""
        with self._changed:
            self._scheduler.room = self._inference.room
            turns, news = self._scheduler.pick(self._inference.limit(self._settings)), self._scheduler.take_news()
            if not turns and not news and not self._is_over():
                self._changed.wait(self._scheduler.wait_s())
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
            with self._changing() as scheduler:
                scheduler.engine_state, scheduler.engine_detail = state, detail
            self._listener.on_state(state, detail)
