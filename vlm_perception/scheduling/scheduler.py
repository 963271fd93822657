"""What the model is asked next: which camera's frame, and which of the standing prompts.

A turn is one prompt about one frame. Turns are shared out among the cameras that have a frame
(`fair_queue.py`); within a camera the prompt that was asked longest ago is next. So each prompt is
put to the newest frame there is, instead of all to one frame that grows old meanwhile; only while
no newer frame waits, or may pass the rate gate, is the frame at hand asked the rest, which is
cheap, because the engine has read it already. Under the policy `every` no frame may be left out,
so all prompts are put to one frame before the next.

Goals are questions that somebody waits for. All together they have the share of one more camera of mean weight, first
come, first served; neither the standing prompts, a pause, the policy nor the rate gate holds them up.

An engine that can answer several turns at once is asked further ones while earlier ones are on their way, up to `room`
of each camera. Where the model is what all wait for, the fair queue gives each place that becomes free to one of those
that have a frame (SFQ(D): Jin, Chase and Kaur, SIGMETRICS 2004), so that shares of answers stay as the weights are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from vlm_perception.engines.base import EngineState
from vlm_perception.scheduling.fair_queue import FairQueue
from vlm_perception.scheduling.frame_queue import FrameQueue, PendingFrame
from vlm_perception.scheduling.goals import Goal
from vlm_perception.scheduling.rate import Clock, RateGate
from vlm_perception.scheduling.turns import News, OnceRequest, Turn
from vlm_perception.settings import FramePolicy, Settings
from vlm_perception.types import DropCause, Prompt

_OVERFLOW: Mapping[FramePolicy, DropCause] = {
    "newest": DropCause.REPLACED,
    "every": DropCause.QUEUE_FULL,
    "on_demand": DropCause.NOT_ASKED,
}


# Their place in the fair queue, which no topic can have.
_GOALS = ""


class Scheduler:
    """Frames, prompts and cameras of one worker. Not thread-safe: the worker guards it.

    Args:
        settings: Policy, queue length, rate and age limits.
        clock: Monotonic seconds.

    Attributes:
        prompts: The standing prompts.
        paused: Whether frames are dropped instead of asked about.
        active: Whether frames are taken at all; a pause goes on beside it.
        stopping: Whether it is over, until the next `start`.
        room: How many turns of a camera may be on their way, where all weigh the same; without bound where those of
            one pass are through before the next is picked.
        engine_state: Where the engine is in its life.
        engine_detail: Why it failed, or empty.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.prompts: tuple[Prompt, ...] = ()
        self.paused = self.stopping = False
        self.active = True
        self.room = math.inf
        self.engine_state = EngineState.WAITING
        self.engine_detail = ""
        self._gate = RateGate(settings.max_rate_hz, clock)
        self._settings = settings
        self._clock = clock
        self._fair = FairQueue()
        self._queues: dict[str, FrameQueue] = {}
        self._asked: dict[tuple[str, Prompt], int] = {}
        self._asked_s: dict[str, float] = {}
        self._n_turns = 0
        self._active: list[Turn] = []
        self._once: list[OnceRequest] = []
        self._goals: list[Goal] = []
        self._fair.set_weights({_GOALS: 1.0})
        self._drops: list[tuple[str, DropCause]] = []

    def put(self, pending: PendingFrame) -> None:
        """Let a new frame wait."""
        queue = self._queues.get(pending.camera)
        for goal in self._goals:
            if queue is not None:
                goal.take(pending)
        if queue is None:
            self._drop(pending.camera, DropCause.CAMERA_GONE, 1)
        elif (cause := self._halted()) is not None:
            self._drop(pending.camera, cause, 1)
        else:
            self._drop(pending.camera, self._overflow_cause(), queue.put(pending))

    def set_prompts(self, prompts: tuple[Prompt, ...]) -> bool:
        """Ask other prompts from now on; False when they are the same."""
        prompts = tuple(dict.fromkeys(prompts))
        if prompts == self.prompts:
            return False
        if set(prompts) - set(self.prompts):
            # Somebody is waiting for the first answer to a new prompt.
            self._gate.reset()
        self.prompts = prompts
        self._asked = {key: turn for key, turn in self._asked.items() if key[1] in prompts}
        for queue in self._queues.values():
            if queue.begun is not None:
                queue.begun.owed = [prompt for prompt in queue.begun.owed if prompt in prompts]
        self._end([turn for turn in self._standing if turn.prompt not in prompts], DropCause.PROMPT_CHANGED)
        return True

    def set_cameras(self, weights: Mapping[str, float]) -> None:
        """Take frames of these cameras from now on; a camera that stays keeps its frames."""
        for camera in self._queues.keys() - weights.keys():
            self._drop(camera, DropCause.CAMERA_GONE, self._queues[camera].clear())
        self._queues = {camera: self._queues.get(camera) or FrameQueue(self._capacity) for camera in weights}
        self._fair.set_weights({**weights, _GOALS: sum(weights.values()) / len(weights) if weights else 1.0})
        self._asked = {key: turn for key, turn in self._asked.items() if key[0] in weights}
        self._asked_s = {camera: done_s for camera, done_s in self._asked_s.items() if camera in weights}
        gone = [turn for turn in self._active if turn.camera not in weights]
        self._end([turn for turn in gone if turn.goal is None or not turn.goal.is_given], DropCause.CAMERA_GONE)
        for goal in self._goals:
            if goal.frame is not None and not goal.is_given and goal.frame.camera not in weights:
                goal.frame = None

    def pause(self) -> None:
        """Drop all frames until `resume`."""
        self.paused = True
        self._halt(DropCause.PAUSED, self._standing)

    def resume(self) -> None:
        """Take frames again."""
        self.paused = False

    def deactivate(self) -> None:
        """Drop all frames until `activate`."""
        self.active = False
        self._halt(DropCause.INACTIVE, self._active)

    def activate(self) -> None:
        """Take frames again, unless paused."""
        self.active = True

    def start(self) -> None:
        """Begin anew after `stop`."""
        self.stopping = False

    def stop(self) -> None:
        """Drop all frames and take no more until `start`."""
        self.stopping = True
        self._halt(DropCause.STOPPED, self._active)

    def apply(self, settings: Settings) -> None:
        """Use other limits, or another policy, from now on."""
        self._settings = settings
        self._gate.max_rate_hz = settings.max_rate_hz
        for camera, queue in self._queues.items():
            self._drop(camera, self._overflow_cause(), queue.resize(self._capacity))
        if settings.frame_policy == "on_demand":
            self._end([turn for turn in self._standing if not turn.once], DropCause.NOT_ASKED)

    def ask_once(self, once: OnceRequest) -> None:
        """Let somebody wait for one answer."""
        self._once.append(once)

    def ask(self, goal: Goal) -> None:
        """Let somebody's own question be asked."""
        self._goals.append(goal)

    def withdraw(self, goal: Goal) -> None:
        """End a goal, wherever it is: what is complete of its answer is the answer."""
        goal.withdrawn = True
        self._end([turn for turn in self._active if turn.goal is goal], DropCause.NOT_ASKED)

    def pick(self, limit: int) -> list[Turn]:
        """Choose what is asked now, in one pass: at most `limit` turns, none when there is nothing to do."""
        once = self._pick_once() if self._may_ask() else []
        return once or self._pick_fair(limit)

    def mark_passed(self, turns: Sequence[Turn]) -> None:
        """Count frames at the rate gate: those that these turns, now about to be asked, begin."""
        begun = sum(turn.begins and turn.over is None for turn in turns)
        if begun:
            self._gate.mark_passed(begun)

    def wait_s(self) -> float | None:
        """Seconds until the rate gate lets a waiting frame pass; None when none waits for it."""
        may = self._may_ask() and self._settings.frame_policy != "on_demand"
        waits = may and any(queue.peek() and self._has_room(camera) for camera, queue in self._queues.items())
        return self._gate.wait_s() if waits else None

    def is_first(self, turn: Turn) -> bool:
        """Whether no answer about an earlier frame is to be told before that to this turn, which is on its way."""
        return not self._before(turn)

    def must_wait(self, turn: Turn) -> bool:
        """Whether the answer to this turn may not be told yet, to keep the order of the frames."""
        return self._settings.frame_policy == "every" and not self.is_first(turn)

    def overtake(self, turn: Turn) -> None:
        """The answer to this turn is told now, so that nobody wants those about earlier frames any more."""
        if self._settings.frame_policy != "every":
            self._end(self._before(turn), DropCause.OVERTAKEN)

    def give_up(self) -> None:
        """The model cannot be asked any more: end what is on its way."""
        self._end(self._active, DropCause.STOPPED)

    def done(self, turns: Sequence[Turn]) -> None:
        """Turns that were picked are through; who got no answer because of a change waits for the next."""
        self._once += [once for turn in turns if turn.over for once in turn.once if not once.future.done()]
        self._asked_s.update((turn.camera, turn.picked_s) for turn in turns if turn.over is None and turn.goal is None)
        self._active = [turn for turn in self._active if turn not in turns]

    def take_news(self) -> News:
        """Return what has to be told, each once."""
        refused = [(once, reason) for once in self._once if (reason := self._refusal(once))]
        self._once = [once for once in self._once if not self._refusal(once) and not once.future.cancelled()]
        hopeless = [(goal, reason) for goal in self._goals if (reason := self._goal_refusal(goal))]
        self._goals = [goal for goal in self._goals if not self._goal_refusal(goal)]
        drops, self._drops = tuple(self._drops), []
        return News(drops, (*refused, *hopeless))

    @property
    def cameras(self) -> tuple[str, ...]:
        """The cameras of which frames are taken."""
        return tuple(self._queues)

    @property
    def asking(self) -> bool:
        """Whether turns that were picked are on their way."""
        return bool(self._active)

    def last_asked_s(self, camera: str) -> float:
        """When the frame of that camera was chosen with which the model was done last: infinity while it is asked.

        Who wants an answer after that is not served by it. 0 before the first; a turn that a change had made void does
        not count.
        """
        asking = any(turn.camera == camera for turn in self._standing)
        return math.inf if asking else self._asked_s.get(camera, 0.0)

    @property
    def _standing(self) -> list[Turn]:
        """Turns on their way of the standing prompts."""
        return [turn for turn in self._active if turn.goal is None]

    @property
    def _capacity(self) -> int:
        return self._settings.queue_length if self._settings.frame_policy == "every" else 1

    def _may_ask(self) -> bool:
        ready = self.engine_state is EngineState.READY
        return ready and bool(self.prompts) and self._halted() is None

    def _halted(self) -> DropCause | None:
        """Why no frames are taken, whatever the model does; None while they are."""
        if self.stopping:
            return DropCause.STOPPED
        if not self.active:
            return DropCause.INACTIVE
        return DropCause.PAUSED if self.paused else None

    def _halt(self, cause: DropCause, turns: Sequence[Turn]) -> None:
        for camera, queue in self._queues.items():
            self._drop(camera, cause, queue.clear())
        self._end(turns, cause)

    def _overflow_cause(self) -> DropCause:
        """Why a frame has to make room for others."""
        if self.engine_state is not EngineState.READY:
            return DropCause.NOT_READY
        return _OVERFLOW[self._settings.frame_policy] if self.prompts else DropCause.NO_PROMPT

    def _refusal(self, once: OnceRequest) -> str:
        """Why a request for one answer is hopeless; empty when it is not."""
        if reason := self._outage():
            return reason
        if self.paused:
            return "detection is paused; resume it with ~/enable first"
        if not self.prompts:
            return "there is no prompt; send one to ~/prompt first"
        return self._missing(once.camera)

    def _goal_refusal(self, goal: Goal) -> str:
        """Why a goal is hopeless; empty when it is not."""
        if goal.withdrawn:
            return "it was withdrawn before the model was asked"
        return self._outage() or goal.missed or ("" if goal.is_given else self._missing(goal.camera))

    def _outage(self) -> str:
        """Why nothing is answered at all; empty when it is, or may soon be."""
        if self.engine_state is EngineState.FAILED:
            return f"the model cannot be used: {self.engine_detail}"
        if self.stopping or self.engine_state is EngineState.STOPPED:
            return "detection is stopped, the model is not loaded; configure and activate the node first"
        return "" if self.active else "the node is not active: wait while it loads its model, or activate it"

    def _missing(self, camera: str | None) -> str:
        """Why no frame of a camera, or of any for None, can come; empty when one can."""
        if self._queues if camera is None else camera in self._queues:
            return ""
        known = ", ".join(self._queues) or "none; set image_topics"
        return f"there is no camera {camera or ''}".rstrip() + f"; known cameras: {known}"

    def _pick_once(self) -> list[Turn]:
        """Take the newest frame that somebody asked for; it does not wait for the rate gate."""
        roomy = filter(self._has_room, self._queues)
        wanted = [camera for camera in roomy if any(once.fits(camera) for once in self._once)]
        frames = [pending for camera in wanted if (pending := self._candidate(camera, gate_is_open=True))]
        if not frames:
            return []
        newest = max(frames, key=lambda pending: pending.received_s)
        served = tuple(once for once in self._once if once.fits(newest.camera))
        self._once = [once for once in self._once if once not in served]
        return [self._take(newest, served)]

    def _pick_fair(self, limit: int) -> list[Turn]:
        turns: list[Turn] = []
        if self.engine_state is not EngineState.READY or self.stopping or not self.active:
            return turns
        may_ask = self._may_ask() and self._settings.frame_policy != "on_demand"
        gate_is_open = may_ask and self._gate.wait_s() == 0.0
        while len(turns) < limit:
            roomy = filter(self._has_room, self._queues if may_ask else ())
            frames = {camera: frame for camera in roomy if (frame := self._candidate(camera, gate_is_open))}
            goals = [(goal, goal.frame) for goal in self._goals if goal.frame is not None and self._has_room(_GOALS)]
            if not frames and not goals:
                break
            chosen = self._fair.next([*frames, _GOALS] if goals else frames)
            turns.append(self._take_goal(*goals[0]) if chosen == _GOALS else self._take(frames[chosen]))
        return turns

    def _has_room(self, camera: str) -> bool:
        """Whether one more turn of a camera, or of the goals, may be on its way."""
        share = self._fair.share(camera)
        own = sum(camera == (turn.camera if turn.goal is None else _GOALS) for turn in self._active)
        # One more than its share, or what it is owed could never be made up for. What is rounded is no greater weight.
        own_room = self.room if share < 1.0 + 1e-6 else self.room * share + 1
        if camera == _GOALS:
            return own < own_room
        return own < own_room and len(self._standing) < self.room * len(self._queues)

    def _before(self, turn: Turn) -> list[Turn]:
        """Return what was asked before about earlier frames: by the same prompt, or under `every` by any."""
        if self.room == math.inf or turn.goal is not None:
            # Told in the order in which they were picked.
            return []
        every, earlier = self._settings.frame_policy == "every", self._active[: self._active.index(turn)]
        return [
            each
            for each in earlier
            if each.goal is None
            and (each.over, each.camera) == (None, turn.camera)
            and each.pending is not turn.pending
            and (every or each.prompt == turn.prompt)
        ]

    def _candidate(self, camera: str, gate_is_open: bool) -> PendingFrame | None:
        """Return the frame of a camera that can be asked about now."""
        queue, every = self._queues[camera], self._settings.frame_policy == "every"
        begun = queue.begun
        if begun is not None and (begun.broken or not begun.owed or self._is_stale(begun)):
            queue.begun = None
        while gate_is_open and (pending := queue.peek()) is not None and self._is_stale(pending):
            queue.pop()
            self._drop(camera, DropCause.STALE, 1)
        newer = queue.peek() if gate_is_open else None
        return queue.begun if queue.begun is not None and (every or newer is None) else newer

    def _is_stale(self, pending: PendingFrame) -> bool:
        # Under `every` frames are meant to wait: an age limit would leave some out.
        if self._settings.frame_policy == "every":
            return False
        return self._clock() - pending.received_s > self._settings.max_age_s

    def _take(self, pending: PendingFrame, once: tuple[OnceRequest, ...] = ()) -> Turn:
        camera = pending.camera
        queue = self._queues[camera]
        begins = pending is not queue.begun
        if begins:
            queue.pop()
            queue.begun = pending
            pending.owed = sorted(self.prompts, key=lambda prompt: self._asked.get((camera, prompt), 0))
        prompt = pending.owed.pop(0)
        self._n_turns += 1
        self._asked[camera, prompt] = self._n_turns
        turn = Turn(pending, prompt, begins, once, self._clock())
        self._active.append(turn)
        return turn

    def _take_goal(self, goal: Goal, frame: PendingFrame) -> Turn:
        self._goals.remove(goal)
        goal.picked = True
        turn = Turn(frame, goal.prompt, False, (), self._clock(), goal)
        self._active.append(turn)
        return turn

    def _end(self, turns: Sequence[Turn], cause: DropCause) -> None:
        for turn in turns:
            if turn.is_wanted:
                turn.over = cause

    def _drop(self, camera: str, cause: DropCause, count: int) -> None:
        self._drops += [(camera, cause)] * count
