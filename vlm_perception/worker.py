"""The one thread that talks to the model: newest frame + active prompt -> result, again and again.

Rules it keeps:
* one frame is answered at most once, and only the newest one that has arrived; with
  `publish_partial` its objects are delivered before, as they become complete;
* at most `max_rate_hz` frames a second reach the model, and none that waited over `max_age_s`;
* a new prompt, or none, aborts the running generation; nothing of the old prompt is delivered
  after `set_prompt` has returned;
* every frame that is not answered is counted under a cause; no failure ends the thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from vlm_perception.engines.base import Engine
from vlm_perception.errors import GeometryError, ImageError, VlmPerceptionError
from vlm_perception.perception import perceive
from vlm_perception.scheduling import Clock, LatestSlot, RateGate
from vlm_perception.settings import Settings
from vlm_perception.types import Prompt, Request, Result
from vlm_perception.worker_seam import Arrival, Deliver, DropCause, EngineState, WorkerListener

__all__ = ["Arrival", "Deliver", "DropCause", "EngineState", "Worker", "WorkerListener"]


class Worker:
    """Owns the engine and the thread it runs in.

    Args:
        engine: Not yet loaded; the worker loads and closes it.
        settings: Rate, age, pixel and token limits.
        listener: Gets results, drops and state changes.
        clock: Monotonic seconds, the same as in `Arrival.received_s`.
    """

    def __init__(
        self, engine: Engine, settings: Settings, listener: WorkerListener, clock: Clock = time.monotonic
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._listener = listener
        self._clock = clock
        self._slot: LatestSlot[Arrival] = LatestSlot()
        self._gate = RateGate(settings.max_rate_hz, clock)
        self._stopping = threading.Event()
        self._state = EngineState.WAITING
        # Guards prompt and generation; a condition, so that the thread can wait for a prompt.
        self._lock = threading.Condition()
        self._prompt: Prompt | None = None
        self._generation = 0
        self._asked_generation = -1
        self._thread = threading.Thread(target=self._run, name="vlm_perception_worker")

    @property
    def state(self) -> EngineState:
        """Where the engine is in its life."""
        return self._state

    @property
    def prompt(self) -> Prompt | None:
        """The active prompt; None when detection is stopped."""
        with self._lock:
            return self._prompt

    def start(self) -> None:
        """Start the thread; it loads the engine first."""
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> bool:
        """Abort the running generation and wait for the thread.

        Returns:
            Whether the thread has ended. Loading a model cannot be interrupted, so it may not.
        """
        self._stopping.set()
        with self._lock:
            self._lock.notify_all()
        self._slot.close()
        if self._thread.ident is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def apply(self, settings: Settings) -> None:
        """Use other limits from the next frame on."""
        self._settings = settings
        self._gate.max_rate_hz = settings.max_rate_hz

    def set_prompt(self, prompt: Prompt | None) -> bool:
        """Ask something else from now on, or nothing.

        Returns:
            Whether anything changed; the same prompt again disturbs nothing.
        """
        with self._lock:
            if prompt == self._prompt:
                return False
            self._prompt = prompt
            self._generation += 1
            self._lock.notify_all()
            return True

    def offer(self, arrival: Arrival) -> None:
        """Hand in a new frame without waiting."""
        if self._slot.put(arrival):
            self._listener.on_drop(arrival.camera, self._cause_of_waiting().value, None)

    def _cause_of_waiting(self) -> DropCause:
        """Why a frame lay untouched in the slot."""
        if self._state is not EngineState.READY:
            return DropCause.NOT_READY
        return DropCause.NO_PROMPT if self.prompt is None else DropCause.REPLACED

    def _run(self) -> None:
        if self._load():
            while not self._stopping.is_set():
                generation = self._wait_for_prompt()
                if generation != self._asked_generation:
                    # Somebody is waiting for the first answer to a new question.
                    self._gate.reset()
                if self._wait_for_gate(generation):
                    arrival = self._slot.take(_TAKE_TIMEOUT_S)
                    if arrival is not None:
                        self._handle(arrival)
        self._engine.close()
        self._set_state(EngineState.STOPPED if self._state is not EngineState.FAILED else self._state)

    def _load(self) -> bool:
        self._set_state(EngineState.LOADING)
        try:
            self._engine.load()
        except Exception as error:  # noqa: BLE001 - whatever happens, the node has to say so and live on
            self._set_state(EngineState.FAILED, _describe(error))
            return False
        self._set_state(EngineState.READY)
        return True

    def _set_state(self, state: EngineState, detail: str = "") -> None:
        if state is not self._state:
            self._state = state
            self._listener.on_state(state, detail)

    def _wait_for_prompt(self) -> int:
        with self._lock:
            self._lock.wait_for(lambda: self._stopping.is_set() or self._prompt is not None)
            return self._generation

    def _wait_for_gate(self, generation: int) -> bool:
        """Wait for the rate gate; False when the prompt changed or the worker stops meanwhile."""
        with self._lock:
            return not self._lock.wait_for(lambda: self._is_over(generation), self._gate.wait_s())

    def _is_over(self, generation: int) -> bool:
        return self._stopping.is_set() or generation != self._generation

    def _handle(self, arrival: Arrival) -> None:
        settings = self._settings
        with self._lock:
            prompt, generation = self._prompt, self._generation
        if prompt is None:
            self._listener.on_drop(arrival.camera, DropCause.NO_PROMPT.value, None)
            return
        if self._clock() - arrival.received_s > settings.max_age_s:
            self._listener.on_drop(arrival.camera, DropCause.STALE.value, None)
            return
        try:
            frame = arrival.read()
            self._gate.mark_passed()
            self._asked_generation = generation
            self._ask(Request(frame, prompt, settings.budget, settings.max_new_tokens), generation, settings)
        except Exception as error:  # noqa: BLE001 - one bad frame must not end the thread
            self._listener.on_drop(arrival.camera, _cause_of(error), error)

    def _ask(self, request: Request, generation: int, settings: Settings) -> None:
        def deliver(publish: Callable[[], None]) -> bool:
            with self._lock:
                if self._is_over(generation):
                    return False
                publish()
                return True

        delivered = False

        def deliver_whole(publish: Callable[[], None]) -> bool:
            nonlocal delivered
            published = deliver(publish)
            delivered = delivered or published
            return published

        def on_partial(result: Result) -> None:
            self._listener.on_partial(result, deliver)

        result = perceive(
            self._engine,
            request,
            score_threshold=settings.score_threshold,
            should_stop=lambda: self._is_over(generation),
            on_partial=on_partial if settings.publish_partial else None,
        )
        if result.answer.finish_reason != "aborted":
            self._listener.on_result(result, deliver_whole)
        if not delivered:
            # A frame of which only a part was published has not been answered either.
            self._listener.on_drop(request.frame.camera, DropCause.PROMPT_CHANGED.value, None)


# The thread looks at prompt and stop flag this often while no frame comes.
_TAKE_TIMEOUT_S = 0.2


def _cause_of(error: Exception) -> str:
    if isinstance(error, ImageError):
        return error.cause
    if isinstance(error, GeometryError):
        return DropCause.BAD_GEOMETRY.value
    if isinstance(error, VlmPerceptionError):
        return DropCause.INFERENCE_ERROR.value
    return DropCause.INTERNAL_ERROR.value


def _describe(error: Exception) -> str:
    return str(error) if isinstance(error, VlmPerceptionError) else f"{type(error).__name__}: {error}"
