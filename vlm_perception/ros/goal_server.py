"""`~/detect`: a robot's own question as an action, and `~/detect_at`, the same about one stamp as a service.

They are answered to whoever asked and to nobody else. A goal that cannot be answered is accepted and aborted, because
in a ROS 2 action (https://design.ros2.org/articles/actions.html) a refusal has no room for the reason.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from builtin_interfaces.msg import Duration
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from sensor_msgs.msg import Image
from vlm_perception_msgs.action import Detect
from vlm_perception_msgs.srv import DetectAt

from vlm_perception.errors import NoAnswerError, VlmPerceptionError
from vlm_perception.ros.context import NodeContext
from vlm_perception.ros.executor import Done, steady_timer
from vlm_perception.ros.goals import Answered, Goals
from vlm_perception.ros.inputs.cameras import Cameras
from vlm_perception.ros.outputs.result_messages import detections_message, sendable
from vlm_perception.scheduling.goals import Goal
from vlm_perception.types import Result, stamp_ns
from vlm_perception.worker.worker import Worker

# A client's service keeps ten responses by default: of more goals that end together it would never hear the result.
MAX_GOALS = 8
_LOOK_S = 0.05
_LAST_WORDS_S = 0.5
# How long a result is kept for a client that has not asked for it yet. rclpy's 15 minutes would fill the memory.
_RESULT_KEPT_S = 10


@dataclass(slots=True, eq=False)
class _Asked:
    """A goal or request on its way.

    Attributes:
        handle: What the client of a goal is told by; None of a request.
        began_s: When it was accepted, monotonic seconds.
        goal: What the worker is asked; None until it was read.
        stage: What the client was told last; see Detect.action.
        problem: Why the node ended it; empty while it has not.
    """

    handle: ServerGoalHandle | None
    began_s: float
    goal: Goal | None = None
    stage: int = -1
    problem: str = ""

    @property
    def limit_s(self) -> float:
        """How long it may take, seconds."""
        if self.handle is None:
            return math.inf
        limit = self.handle.request.time_limit
        return limit.sec + limit.nanosec * 1e-9 or math.inf


class GoalServer:
    """Offers the action and the service.

    Args:
        context: Of the node.
        worker: Ends goals.
        cameras: Tell when an image came.
        goals: Asks and answers.
    """

    def __init__(self, context: NodeContext, worker: Worker, cameras: Cameras, goals: Goals) -> None:
        self._context, self._worker, self._cameras, self._goals = context, worker, cameras, goals
        self._asked: list[_Asked] = []
        # In the node's own group nothing else would be called while somebody waits.
        group = ReentrantCallbackGroup()
        self._server = ActionServer(
            context.node,
            Detect,
            "~/detect",
            self._execute,
            callback_group=group,
            goal_callback=self._on_goal,
            handle_accepted_callback=self._on_accepted,
            cancel_callback=self._on_cancel,
            result_timeout=_RESULT_KEPT_S,
        )
        context.node.create_service(DetectAt, "~/detect_at", self._on_detect_at, callback_group=group)
        self._timer = steady_timer(context.node, _LOOK_S, self._look)
        self._timer.cancel()

    def close(self) -> None:
        """Tell those who still wait that it is over, and take the action away; while nobody else spins the node."""
        executor, ends_s = self._context.node.executor, time.monotonic() + _LAST_WORDS_S
        if executor is not None and self._asked:
            while self._asked and time.monotonic() < ends_s:
                executor.spin_once(timeout_sec=_LOOK_S)
            for _ in range(2 * MAX_GOALS):
                # rclpy sends each result in a task of its own.
                executor.spin_once(timeout_sec=0.0)
        self._server.destroy()

    # On the executor.

    def _on_goal(self, request: Detect.Goal) -> GoalResponse:
        return GoalResponse.REJECT if self._refusal(request.prompt) else GoalResponse.ACCEPT

    def _refusal(self, prompt: str) -> str:
        """Why nothing more is taken, which is counted and logged; empty while there is room."""
        if len(self._asked) < MAX_GOALS:
            return ""
        count = self._context.counters.total.count_error("goals_full")
        text = f"{MAX_GOALS} goals are on their way, the limit: send {prompt[:80]!r} when one is through"
        self._context.warn("goals_full", f"a goal was refused, {text} ({count} so far)")
        return text

    def _on_accepted(self, handle: ServerGoalHandle) -> None:
        # From here on it counts and can be cancelled, which may come before it is executed.
        self._begin(handle)
        handle.execute()

    def _begin(self, handle: ServerGoalHandle | None = None) -> _Asked:
        asked = _Asked(handle, time.monotonic())
        self._asked.append(asked)
        self._timer.reset()
        return asked

    def _of(self, handle: ServerGoalHandle) -> _Asked | None:
        return next((asked for asked in self._asked if asked.handle is handle), None)

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        if asked := self._of(handle):
            self._end(asked, "it was cancelled")
        return CancelResponse.ACCEPT

    async def _execute(self, handle: ServerGoalHandle) -> Detect.Result:
        asked = self._of(handle) or self._begin(handle)
        result, odd = Detect.Result(), ""
        try:
            answered = await self._answer(asked, handle.request)
            result.answer = self._goals.message(answered)
            if asked.goal is not None:
                odd = self._goals.problem(asked.goal, answered, handle.request.in_space)
        except VlmPerceptionError as error:
            odd = str(error)
        finally:
            self._asked.remove(asked)
        if not odd:
            # A whole answer is one, even where its end was wished for before it was heard of.
            handle.succeed()
            return result
        result.problem = sendable(asked.problem or odd)
        if handle.is_cancel_requested:
            handle.canceled()
        else:
            self._count(f"a goal of ~/detect was aborted: {result.problem}")
            handle.abort()
        return result

    async def _answer(self, asked: _Asked, request: Detect.Goal) -> Answered:
        if asked.problem:
            raise NoAnswerError(asked.problem)
        if asked.limit_s < 0.0:
            raise NoAnswerError(f"time_limit is {asked.limit_s:g} s: use more than 0, or 0 for no limit of its own")
        asked.goal = self._goals.read(request.prompt, request.task, request.camera, request.stamp, request.image)
        # The handle is kept for as long as the result; an image is as large as a thousand results.
        request.image = Image()

        def on_partial(result: Result) -> None:
            self._context.executor.call(lambda: self._feed(asked, result))

        answered = self._goals.ask(asked.goal, request.in_space, on_partial)
        await Done(answered, self._context.executor)
        return answered.result()

    async def _on_detect_at(self, request: DetectAt.Request, response: DetectAt.Response) -> DetectAt.Response:
        if full := self._refusal(request.prompt):
            response.message = full
            return response
        asked = self._begin()
        try:
            if not stamp_ns(request.stamp):
                raise NoAnswerError("stamp is 0: give that of an image, or ask about the next one by ~/detect")
            asked.goal = goal = self._goals.read(request.prompt, request.task, request.camera, request.stamp)
            answered = self._goals.ask(goal, request.in_space)
            await Done(answered, self._context.executor)
            response.answer = self._goals.message(answered.result())
            response.message = self._goals.problem(goal, answered.result(), request.in_space)
        except VlmPerceptionError as error:
            response.message = sendable(asked.problem or str(error))
        finally:
            self._asked.remove(asked)
        response.success = not response.message
        if response.message:
            self._count(f"~/detect_at gave no answer: {response.message}")
        return response

    def _look(self) -> None:
        """End what takes too long, and tell clients how far theirs is."""
        now_s = time.monotonic()
        for asked in self._asked:
            if asked.goal is None:
                continue
            if now_s - asked.began_s > asked.limit_s:
                self._end(asked, f"it took over its time_limit of {asked.limit_s:g} s")
            elif asked.goal.frame is None and (problem := self._silence(asked.goal, asked.began_s, now_s)):
                self._end(asked, problem)
            self._feed(asked)
        if not self._asked:
            self._timer.cancel()

    def _silence(self, goal: Goal, began_s: float, now_s: float) -> str:
        """Why the image that a goal waits for is not to be hoped for; empty while it is."""
        limit_s, of = self._context.settings.no_image_warning_s, f" of {goal.camera}" if goal.camera else ""
        # Those of a clock that was set back would come for ever.
        since_s = began_s if goal.stamp_ns else max(began_s, self._cameras.usable_s(goal.camera))
        if now_s - since_s <= limit_s:
            return ""
        if goal.stamp_ns:
            return f"no image{of} of stamp {goal.stamp_ns * 1e-9:.3f} or later came within {limit_s:.1f} s"
        remedy = "start the camera, or see the log for its topic or what is wrong with them"
        return f"no image{of} that can be read for {limit_s:.1f} s; {remedy}"

    def _feed(self, asked: _Asked, result: Result | None = None) -> None:
        """Tell a client that more objects are complete, or that its goal is a stage further."""
        if asked.handle is None or asked not in self._asked:
            return
        goal, stage = asked.goal, Detect.Feedback.WAITING_FOR_IMAGE
        if goal is not None and goal.frame is not None:
            stage = Detect.Feedback.ANSWERING if goal.picked else Detect.Feedback.WAITING_FOR_MODEL
        if result is None and stage == asked.stage:
            return
        asked.stage = stage
        feedback = Detect.Feedback(stage=stage, elapsed=_duration(time.monotonic() - asked.began_s))
        if result is not None:
            feedback.detections = detections_message(result)
        asked.handle.publish_feedback(feedback)

    def _end(self, asked: _Asked, problem: str) -> None:
        if not asked.problem:
            asked.problem = problem
            if asked.goal is not None:
                self._worker.withdraw(asked.goal)

    def _count(self, text: str) -> None:
        count = self._context.counters.total.count_error("goal")
        self._context.warn("goal", f"{text} ({count} so far)")


def _duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(sec=whole, nanosec=int((seconds - whole) * 1e9))
