"""`~/enable` pauses and resumes, `~/detect_once` gives one answer on the newest frame."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import CancelledError

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from vlm_perception.errors import DetectOnceError
from vlm_perception.ros.executor import Done
from vlm_perception.types import Result
from vlm_perception.worker.worker import Worker


class Services:
    """Offers the node's services.

    Args:
        node: Owner of the services.
        worker: What is paused and asked.
        to_json: Writes a result as `~/answer` does.
        usable_s: When an image that can be read last came from any camera, monotonic seconds.
        limit_s: How long one is waited for when somebody asks for one answer.
        want_image: Called when the next image is waited for, so that latched ones are heard again.
    """

    def __init__(
        self,
        node: Node,
        worker: Worker,
        to_json: Callable[[Result], str],
        usable_s: Callable[[], float],
        limit_s: Callable[[], float],
        want_image: Callable[[], None],
    ) -> None:
        self._node, self._worker, self._to_json = node, worker, to_json
        self._usable_s, self._limit_s, self._want_image = usable_s, limit_s, want_image
        node.create_service(SetBool, "~/enable", self._on_enable)
        # In the node's own group nothing else would be called while somebody waits.
        node.create_service(Trigger, "~/detect_once", self._on_detect_once, callback_group=ReentrantCallbackGroup())

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        was_paused = self._worker.paused
        if request.data:
            self._worker.resume()
            self._want_image()
        else:
            self._worker.pause()
        response.success = True
        changed = was_paused == request.data
        state = "detection is on" if request.data else "detection is paused, the model stays loaded"
        response.message = state if changed else f"{state}, as before"
        if changed:
            self._node.get_logger().info(state)
        return response

    async def _on_detect_once(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        asked_s, future = time.monotonic(), self._worker.detect_once()
        self._want_image()

        def is_hopeless() -> bool:
            # An image that has come is answered, however long the model takes.
            waited_s = time.monotonic() - max(asked_s, self._usable_s())
            return not self._worker.answering and waited_s > self._limit_s()

        await Done(future, is_hopeless)
        try:
            response.message, response.success = self._to_json(future.result()), True
        except CancelledError:
            waited = f"no image that can be read for {self._limit_s():.1f} s"
            response.message = f"{waited}; start the camera, or see the log for its topic or what is wrong with them"
        except DetectOnceError as error:
            response.message = str(error)
        return response
