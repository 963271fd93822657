"""Carries objects from answer to answer and frame to frame, beside the model and never in a camera's way.

One thread takes each camera's frames in the order in which they came and carries the tracks; between them it catches
answers up, whose frames are old when they come. (Two threads would wait for each other's turn at Python more often than
they would run beside each other.) It runs only in the mode `camera_rate`.

Three kinds of locks, taken in this order and never the other way round: `_delivery` is held while tracks are
published and while it is changed what may be; a camera's own around the quick calls of its tracker; `_changed` guards
the lines of frames and answers for microseconds, and a camera's callback takes this one only.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from vlm_perception.scheduling.frame_queue import PendingFrame
from vlm_perception.settings import Settings
from vlm_perception.types import Frame, Move, Prompt, Result
from vlm_perception.worker.listener import Deliver
from vlm_perception.world.catch_up import CatchUp
from vlm_perception.world.tracker import Tracker
from vlm_perception.world.tracks import Tracks

_T = TypeVar("_T")
# A third of a second at 30 Hz: longer is no longer "now", and every frame that waits holds its pixels.
_LINE_FRAMES = 10
_LINE_ANSWERS = 16
_CATCH_UPS = 50
# After each frame: with one alone, frames that never stop coming would not be overtaken.
_STEPS = 2
_JOIN_S = 2.0


class TracksListener(Protocol):
    """Who wants tracks, and gets them."""

    def wants_tracks(self, camera: str) -> bool:
        """Whether anybody looks at this camera's tracks now; asked for every frame, where it comes in: be quick."""
        ...

    def on_tracks(
        self, frame: Frame, tracks: Tracks, prompts: Sequence[Prompt], deliver: Deliver, is_newest: bool
    ) -> None:
        """A frame's tracks are there, on a thread of the tracker's.

        Args:
            frame: Every one of the camera, in order.
            tracks: Where everything is in it.
            prompts: What is asked for.
            deliver: As in `WorkerListener.on_result`.
            is_newest: Whether no later frame waits, so that there is time for a picture.
        """
        ...

    def on_tracking_failure(self, camera: str, error: Exception) -> None:
        """The tracker failed and begins anew, or a frame could not be read (ImageError); on any thread."""
        ...


@dataclass(frozen=True, slots=True)
class TrackingReport:
    """What was done so far.

    Attributes:
        mode: The parameter `tracking`.
        tracks: Objects that are followed in the newest frame of every camera.
        carried: Frames to which tracks were carried.
        skipped: Frames that somebody wanted and that were left out, because the line was full.
        catch_ups: Answers that were caught up.
        not_kept: Answers whose frame was not at hand any more.
        catch_up_p50_s: Median time of a catch-up, of the last 50; None before the first.
    """

    mode: str = "off"
    tracks: int = 0
    carried: int = 0
    skipped: int = 0
    catch_ups: int = 0
    not_kept: int = 0
    catch_up_p50_s: float | None = None


@dataclass(slots=True)
class _Camera:
    tracker: Tracker
    lock: threading.Lock = field(default_factory=threading.Lock)
    line: deque[PendingFrame] = field(default_factory=deque)
    n_tracks: int = 0
    # Whether somebody wanted the last frame; else none is kept, to which an answer could be carried.
    wanted: bool = False


@dataclass(frozen=True, slots=True)
class _CatchingUp:
    """An answer on its way to the newest frame."""

    result: Result
    camera: _Camera
    tracker: Tracker
    catch_up: CatchUp
    began_s: float


class Tracking:
    """The trackers of all cameras and their thread. It has no cameras and no prompts at first.

    Args:
        settings: `tracking`, `lost_after_s`.
        listener: Wants tracks or not, and gets them.
    """

    def __init__(self, settings: Settings, listener: TracksListener) -> None:
        self._settings, self._listener = settings, listener
        # One count for all cameras and modes, so that an id never means two things.
        self._ids = itertools.count(1)
        self._delivery = threading.RLock()
        self._changed = threading.Condition()
        self._cameras: Mapping[str, _Camera] = {}
        self._prompts: tuple[Prompt, ...] = ()
        self._halted = True
        self._answers: deque[Result] = deque(maxlen=_LINE_ANSWERS)
        self._running: threading.Event | None = None
        self._thread: threading.Thread | None = None
        self._carried = self._skipped = self._not_kept = self._catch_ups = 0
        self._catch_up_s: deque[float] = deque(maxlen=_CATCH_UPS)

    def follow(self, prompts: tuple[Prompt, ...], cameras: Sequence[str], *, active: bool, halted: bool) -> None:
        """Follow what the worker asks; nothing of what is gone is published after this has returned.

        Args:
            prompts: The standing prompts.
            cameras: Resolved topics.
            active: Whether the node is active; if not, tracks are forgotten and the thread ends.
            halted: Whether no frames are taken, because the node is paused or not active.
        """
        with self._delivery:
            if not active or self._settings.tracking == "off":
                self._cameras = {}
            else:
                self._cameras = {camera: self._cameras.get(camera) or self._new(prompts) for camera in cameras}
            if prompts != self._prompts:
                self._prompts = prompts
                for name, camera in self._cameras.items():
                    with camera.lock:
                        self._contained(name, camera, lambda each=camera: each.tracker.set_prompts(prompts))  # type: ignore[misc]
            with self._changed:
                self._halted = halted
                self._answers = deque((r for r in self._answers if r.request.prompt in prompts), _LINE_ANSWERS)
                if halted or not prompts:
                    self._answers.clear()
                    for camera in self._cameras.values():
                        camera.line.clear()
            self._run_thread(active and self._settings.tracking == "camera_rate")

    def apply(self, settings: Settings) -> None:
        """Use other settings; `follow` comes next. Another `lost_after_s` begins with new tracks."""
        with self._delivery:
            if (settings.tracking, settings.lost_after_s) != (self._settings.tracking, self._settings.lost_after_s):
                self._cameras = {}
            self._settings = settings

    def stop(self, timeout_s: float = _JOIN_S) -> bool:
        """End the thread; returns whether it has ended."""
        self.follow(self._prompts, (), active=False, halted=True)
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def wants(self, camera: str) -> bool:
        """Whether somebody looks at a camera's tracks; whether there are any now is another matter."""
        return self._running is not None and camera in self._cameras and self._listener.wants_tracks(camera)

    def offer(self, pending: PendingFrame) -> None:
        """Hand in a new frame without waiting; it is left alone unless somebody wants its tracks."""
        camera = self._cameras.get(pending.camera)
        if camera is None:
            return
        camera.wanted = not self._halted and bool(self._prompts) and self.wants(pending.camera)
        if not camera.wanted:
            return
        with self._changed:
            camera.line.append(pending)
            if len(camera.line) > _LINE_FRAMES:
                camera.line.popleft()
                self._skipped += 1
            self._changed.notify_all()

    def ask(self, frame: Frame) -> None:
        """Keep this frame until its answer is there, which is about to be asked for."""
        camera = self._cameras.get(frame.camera)
        if camera is not None and camera.wanted:
            with camera.lock:
                self._contained(frame.camera, camera, lambda: camera.tracker.ask(frame))

    def moves(self, frame: Frame, prompt: Prompt) -> tuple[Move, ...]:
        """Tell how far the objects of a prompt have come since its last answer, as far as they are followed."""
        camera = self._cameras.get(frame.camera)
        if camera is None or not camera.wanted:
            return ()
        with camera.lock:
            return self._contained(frame.camera, camera, lambda: camera.tracker.moves(frame, prompt)) or ()

    def identify(self, result: Result) -> Result:
        """Give the objects of an answer, whole or partial, their ids, before it is published."""
        name = result.request.frame.camera
        camera = self._cameras.get(name)
        if camera is None:
            return result
        with camera.lock:
            found = self._contained(name, camera, lambda: camera.tracker.identify(result)) or result
        if not found.partial and camera.wanted:
            with self._changed:
                # One that has not begun is worth less than the next: answers may come faster than they are caught up.
                waiting = [each for each in self._answers if not _is_superseded(each, found)]
                self._answers = deque([*waiting, found], _LINE_ANSWERS)
                self._changed.notify_all()
        return found

    def report(self) -> TrackingReport:
        """Tell what was done so far; on any thread."""
        with self._changed:
            times = sorted(self._catch_up_s)
            return TrackingReport(
                self._settings.tracking,
                sum(camera.n_tracks for camera in self._cameras.values()),
                self._carried,
                self._skipped,
                self._catch_ups,
                self._not_kept,
                times[len(times) // 2] if times else None,
            )

    def _new(self, prompts: Sequence[Prompt]) -> _Camera:
        return _Camera(self._new_tracker(prompts))

    def _new_tracker(self, prompts: Sequence[Prompt]) -> Tracker:
        tracker = Tracker(self._ids, self._settings.lost_after_s)
        tracker.set_prompts(prompts)
        return tracker

    def _contained(self, name: str, camera: _Camera, action: Callable[[], _T]) -> _T | None:
        """Call the tracker, its lock held; one that fails is replaced, the node lives on, and None comes back."""
        try:
            return action()
        except Exception as error:  # noqa: BLE001 - a lost track must cost no answer and no thread
            camera.tracker = self._new_tracker(self._prompts)
            self._listener.on_tracking_failure(name, error)
            return None

    def _run_thread(self, wanted: bool) -> None:
        if wanted == (self._running is not None):
            return
        if not wanted:
            with self._changed:
                self._running = None
                self._changed.notify_all()
            return
        running = threading.Event()
        self._running = running
        self._thread = threading.Thread(target=self._run, name="vlm_perception_tracks", args=(running,))
        self._thread.start()

    def _run(self, running: threading.Event) -> None:
        """Carry frames as they come, and answers between them: a little after each frame, more while none waits."""
        catching_up: _CatchingUp | None = None
        while True:
            with self._changed:
                if self._running is not running:
                    return
                camera, result = self._next_camera(), None
                pending = None if camera is None else camera.line.popleft()
                if catching_up is None:
                    # What was asked about is carried first: an answer may come before its own frame was looked at.
                    result = next((each for each in self._answers if not self._is_ahead(each)), None)
                    if result is not None:
                        self._answers.remove(result)
                if pending is None and result is None and catching_up is None:
                    self._changed.wait()
                    continue
            if camera is not None and pending is not None:
                self._carry(camera, pending)
            if result is not None:
                catching_up = self._begin(result)
            elif catching_up is not None and not all(self._step(catching_up) for _ in range(_STEPS)):
                catching_up = None

    def _next_camera(self) -> _Camera | None:
        """Return the camera whose frame has waited longest."""
        waiting = [camera for camera in self._cameras.values() if camera.line]
        return min(waiting, key=lambda each: each.line[0].received_s, default=None)

    def _carry(self, camera: _Camera, pending: PendingFrame) -> None:
        try:
            frame = pending.read()
        except Exception as error:  # noqa: BLE001 - one bad frame must not end the thread
            self._listener.on_tracking_failure(pending.camera, error)
            return
        with camera.lock:
            tracks = self._contained(pending.camera, camera, lambda: camera.tracker.advance(frame))
        if tracks is None:
            return
        # A catch-up of a prompt that has just gone may have come between.
        prompts = self._prompts
        kept = tuple(track for track in tracks.tracks if track.prompt in prompts)
        told = replace(tracks, tracks=kept)
        with self._changed:
            self._carried += 1
            camera.n_tracks = len(kept)

        def deliver(publish: Callable[[], None]) -> bool:
            with self._delivery:
                if self._halted or self._prompts != prompts or self._cameras.get(pending.camera) is not camera:
                    return False
                publish()
                return True

        if prompts:
            try:
                self._listener.on_tracks(frame, told, prompts, deliver, is_newest=not camera.line)
            except Exception as error:  # noqa: BLE001 - one frame that cannot be published must not end the thread
                self._listener.on_tracking_failure(pending.camera, error)

    def _is_ahead(self, result: Result) -> bool:
        """Whether the frame of an answer still waits."""
        camera = self._cameras.get(result.request.frame.camera)
        return bool(camera and camera.line and camera.line[0].received_s <= result.request.frame.received_s)

    def _begin(self, result: Result) -> _CatchingUp | None:
        """Begin to catch an answer up; None where its frame is not kept."""
        name, began_s = result.request.frame.camera, time.monotonic()
        camera = self._cameras.get(name)
        if camera is None:
            return None
        with camera.lock:
            tracker = camera.tracker
            catch_up = self._contained(name, camera, lambda: tracker.start_catch_up(result))
        if catch_up is None:
            with self._changed:
                self._not_kept += 1
            return None
        return _CatchingUp(result, camera, tracker, catch_up, began_s)

    def _step(self, current: _CatchingUp) -> bool:
        """Carry an answer one frame on; False when it is done with, for good or ill."""
        name, camera, failure = current.result.request.frame.camera, current.camera, None
        if camera.tracker is not current.tracker or current.result.request.prompt not in self._prompts:
            return False
        try:
            if current.catch_up.step():
                return True
        except Exception as error:  # noqa: BLE001 - raised again below, where the tracker is replaced
            failure = error

        def finish() -> None:
            if failure is not None:
                raise failure
            current.tracker.finish_catch_up(current.catch_up)

        with camera.lock:
            # A prompt may have gone meanwhile; a tracker that was replaced is nobody's.
            if camera.tracker is current.tracker and current.result.request.prompt in self._prompts:
                self._contained(name, camera, finish)
        with self._changed:
            self._catch_ups += 1
            self._catch_up_s.append(time.monotonic() - current.began_s)
        return False


def _is_superseded(old: Result, new: Result) -> bool:
    before, after = old.request, new.request
    return (before.frame.camera, before.prompt) == (after.frame.camera, after.prompt)
