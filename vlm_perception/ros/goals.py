"""A program's own question, from what it sends to the message that answers it; for the action and the service."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future

from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image
from vlm_perception_msgs.msg import Answer, Reject

from vlm_perception.errors import ImageError, NoAnswerError, PromptError
from vlm_perception.ros.context import NodeContext
from vlm_perception.ros.image_messages import pending_frame
from vlm_perception.ros.inputs.cameras import Cameras
from vlm_perception.ros.inputs.prompt_topic import PromptTopic
from vlm_perception.ros.inputs.recent_images import RecentImage
from vlm_perception.ros.outputs.publishers import Outputs
from vlm_perception.ros.outputs.reporter import Reporter
from vlm_perception.ros.outputs.result_messages import answer_json, detections_message, sendable
from vlm_perception.ros.outputs.space_messages import detections_3d_message
from vlm_perception.scheduling.frame_queue import PendingFrame
from vlm_perception.scheduling.goals import Goal, ignore_partial
from vlm_perception.types import DropCause, Result, Task, stamp_ns
from vlm_perception.worker.worker import Worker
from vlm_perception.world.lift import NoSpot, Places

Answered = tuple[Result, Places | None]
_MOST_COUNT = 2**31 - 1
_TIMEOUT = "the answer took over timeout_s and was cut; raise timeout_s, or lower max_pixels or max_new_tokens"
_OVER = {
    DropCause.INACTIVE: "the node was deactivated",
    DropCause.STOPPED: "detection was stopped",
    DropCause.CAMERA_GONE: "the node does not look at its camera any more",
    DropCause.NOT_ASKED: "it was withdrawn",
}


class Goals:
    """Makes goals of requests, has them asked, and writes their answers. Used on the executor.

    Args:
        context: Of the node.
        worker: Is asked.
        cameras: Keep images, and hear latched ones again.
        prompts: Make a prompt of a goal's text.
        outputs: Place objects in space.
        reporter: Knows an answer's times.
        on_told: Hears of each answer that was given, with its places where these were wanted.
    """

    def __init__(
        self,
        context: NodeContext,
        worker: Worker,
        cameras: Cameras,
        prompts: PromptTopic,
        outputs: Outputs,
        reporter: Reporter,
        on_told: Callable[[Result, Places | None], None],
    ) -> None:
        self._context, self._worker, self._cameras = context, worker, cameras
        self._prompts, self._outputs, self._reporter = prompts, outputs, reporter
        self._on_told = on_told

    def read(self, prompt: str, task: str, camera: str, stamp: Time, image: Image | None = None) -> Goal:
        """Make what the worker is asked; see Detect.action.

        Raises:
            PromptError: The prompt or the task cannot be used.
            SettingsError: The camera is no topic name.
            ImageError: The image cannot be read.
            NoAnswerError: No image of that stamp is kept.
        """
        built = self._prompts.build(prompt, _task_of(task))
        if built.task is Task.WATCH:
            raise PromptError("watch needs the seconds before an image, kept for standing ones: send it to ~/prompt")
        topic = self._cameras.full_name(camera, self._context.settings, "camera") if camera else None
        if image is not None and image.height:
            try:
                return Goal(built, topic, pending_frame(image, topic or "", time.monotonic()))
            except ImageError as error:
                raise ImageError(f"the goal's image {error}", cause=error.cause) from error
        looked_at = self._cameras.topics
        if not stamp_ns(stamp) or not looked_at or topic not in (None, *looked_at):
            # Without a camera to wait for the worker refuses it, and says what is wrong.
            return Goal(built, topic)
        newest = self._cameras.recent.newest(topic)
        ahead_s = 0.0 if newest is None else (stamp_ns(stamp) - newest.stamp_ns) * 1e-9
        if newest is not None and 0.0 < ahead_s <= self._context.settings.no_image_warning_s:
            # Who asks may have had the image before the node has, or means one that is yet to be taken.
            goal = Goal(built, topic, stamp_ns=stamp_ns(stamp))
            goal.take(_pending(newest))
            return goal
        kept = self._cameras.recent.nearest(stamp, topic)
        return Goal(built, kept.camera, _pending(kept))

    def ask(
        self, goal: Goal, in_space: bool, on_partial: Callable[[Result], None] = ignore_partial
    ) -> Future[Answered]:
        """Have a goal asked.

        Returns:
            The answer to come, with its places where these are wanted and can be had, or a NoAnswerError.
        """
        answered: Future[Answered] = Future()
        goal.on_partial = on_partial
        goal.future.add_done_callback(lambda future: self._place(future, in_space, answered))
        self._worker.ask(goal)
        if goal.frame is None:
            self._cameras.want_image()
        return answered

    def problem(self, goal: Goal, answered: Answered, in_space: bool) -> str:
        """Say what is not as it was asked for; empty when all is."""
        result, places = answered
        if result.answer.finish_reason == "timeout":
            return _TIMEOUT
        if result.answer.finish_reason == "aborted":
            why = _OVER.get(goal.over) if goal.over else None
            return f"the answer was ended before it was whole: {why or 'the model ended it'}"
        if not in_space:
            return ""
        if places is not None:
            reasons = [spot.text for spot in places.spots if isinstance(spot, NoSpot)]
            nowhere = reasons and len(reasons) == len(places.spots)
            return f"in_space was asked for, and no object has a place: {reasons[0]}" if nowhere else ""
        camera = result.request.frame.camera or "an image of no camera"
        return f"in_space was asked for, and {camera} has no depth: set depth_topics, or leave it out"

    def message(self, answered: Answered) -> Answer:
        """Write an answer."""
        result, places = answered
        return answer_message(result, places, *self._reporter.times_of(result))

    def _place(self, future: Future[Result], in_space: bool, answered: Future[Answered]) -> None:
        """Place the objects of an answer, which may have to wait for depth; on the thread that answered."""
        try:
            result = future.result()
            wanted = in_space and result.answer.finish_reason != "aborted"
            places = self._outputs.place(result, self._context.settings.depth_tolerance_s) if wanted else None
        except NoAnswerError as error:
            answered.set_exception(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, who asked has to hear of it
            answered.set_exception(NoAnswerError(f"objects could not be placed: {type(error).__name__}: {error}"))
        else:
            answered.set_result((result, places))
            self._on_told(result, places)


def answer_message(result: Result, places: Places | None, latency_s: float, age_s: float | None) -> Answer:
    """Write a result as the message that answers a goal; see `answer_json` for the times."""
    message = Answer(
        detections=detections_message(result),
        text=sendable(result.text),
        count=-1 if result.count is None else min(result.count, _MOST_COUNT),
        truncated=result.truncated,
        json=answer_json(result, latency_s, age_s, places),
    )
    for reject in result.rejects:
        score = math.nan if reject.score is None else reject.score
        message.rejects.append(Reject(reason=sendable(reject.reason), text=sendable(reject.text), score=score))
    if places is not None:
        message.detections_3d = detections_3d_message(result, places)
    return message


def _pending(kept: RecentImage) -> PendingFrame:
    return pending_frame(kept.message, kept.camera, kept.received_s)


def _task_of(name: str) -> Task:
    try:
        return Task(name or Task.AUTO.value)
    except ValueError as error:
        known = ", ".join(task.value for task in Task)
        raise PromptError(f"task is {name!r}: use one of {known}, or leave it empty") from error
