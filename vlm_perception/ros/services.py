"""`~/enable` pauses and resumes, `~/detect_once` gives one answer on the newest frame."""

from __future__ import annotations

import time
from concurrent.futures import CancelledError

from rclpy.callback_groups import ReentrantCallbackGroup
from std_srvs.srv import SetBool, Trigger

from vlm_perception.errors import NoAnswerError
from vlm_perception.ros.context import NodeContext
from vlm_perception.ros.executor import Done
from vlm_perception.ros.inputs.cameras import Cameras
from vlm_perception.ros.outputs.reporter import Reporter
from vlm_perception.worker.worker import Worker


class Services:
    """Offers the node's services.

    Args:
        context: Of the node.
        worker: What is paused and asked.
        cameras: Tell when an image came, and hear latched ones again when one is waited for.
        reporter: Writes a result as `~/answer` does.
    """

    def __init__(self, context: NodeContext, worker: Worker, cameras: Cameras, reporter: Reporter) -> None:
        self._context, self._worker, self._cameras, self._reporter = context, worker, cameras, reporter
        node = context.node
        node.create_service(SetBool, "~/enable", self._on_enable)
        # In the node's own group nothing else would be called while somebody waits.
        node.create_service(Trigger, "~/detect_once", self._on_detect_once, callback_group=ReentrantCallbackGroup())

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        was_paused = self._worker.paused
        if request.data:
            self._worker.resume()
            self._cameras.want_image()
        else:
            self._worker.pause()
        response.success = True
        changed = was_paused == request.data
        state = "detection is on" if request.data else "detection is paused, the model stays loaded"
        response.message = state if changed else f"{state}, as before"
        if changed:
            self._context.info(state)
        return response

    async def _on_detect_once(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        asked_s, future = time.monotonic(), self._worker.detect_once()
        self._cameras.want_image()

        def is_hopeless() -> bool:
            # An image that has come is answered, however long the model takes.
            waited_s = time.monotonic() - max(asked_s, self._cameras.usable_s())
            return not self._worker.answering and waited_s > self._context.settings.no_image_warning_s

        await Done(future, self._context.executor, is_hopeless)
        try:
            response.message, response.success = self._reporter.written(future.result()), True
        except CancelledError:
            waited = f"no image that can be read for {self._context.settings.no_image_warning_s:.1f} s"
            response.message = f"{waited}; start the camera, or see the log for its topic or what is wrong with them"
        except NoAnswerError as error:
            response.message = str(error)
        return response
