"""A robot's program that sends goals to `~/detect`.

It does so on its own executor's thread: rclpy's action client may miss a response that comes while another thread is
still noting down what it is the response to.
"""

from __future__ import annotations

from typing import Any

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from robot import Robot
from vlm_perception_msgs.action import Detect

SUCCEEDED, CANCELED, ABORTED = GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_CANCELED, GoalStatus.STATUS_ABORTED


class Asked:
    """One goal that was accepted; `feedback` in order."""

    def __init__(self, robot: Robot, handle: Any, feedback: list[Detect.Feedback]) -> None:
        self._robot, self._handle, self.feedback = robot, handle, feedback
        self._result = robot.as_client(handle.get_result_async)

    @property
    def is_over(self) -> bool:
        return bool(self._result.done())

    def result(self) -> tuple[int, Detect.Result]:
        """Wait for the end: its status and result."""
        self._robot.until(self._result.done, "the goal's result")
        return self._result.result().status, self._result.result().result

    def cancel(self) -> None:
        """Ask for its end, and wait until that is accepted."""
        said = self._robot.as_client(self._handle.cancel_goal_async)
        self._robot.until(said.done, "the cancel is answered")

    def wait_stage(self, stage: int) -> None:
        self._robot.until(lambda: any(told.stage == stage for told in self.feedback), f"stage {stage}")


class Goals:
    """The client of the action."""

    def __init__(self, robot: Robot) -> None:
        self._robot, self._client = robot, ActionClient(robot.client, Detect, "/vlm_perception/detect")
        robot.until(self._client.server_is_ready, "the action is there")

    def send(self, prompt: str = "mug", **fields: Any) -> Asked:
        """Send a goal and wait until it is accepted."""
        asked = self.offer(prompt, **fields)
        assert asked is not None, "refused"
        return asked

    def offer(self, prompt: str = "mug", **fields: Any) -> Asked | None:
        """Send a goal; None when it is refused."""
        feedback: list[Detect.Feedback] = []
        goal = Detect.Goal(prompt=prompt, **fields)
        sent = self._robot.as_client(
            lambda: self._client.send_goal_async(goal, lambda told: feedback.append(told.feedback))
        )
        self._robot.until(sent.done, "the goal is answered")
        return Asked(self._robot, sent.result(), feedback) if sent.result().accepted else None

    def close(self) -> None:
        self._client.destroy()
