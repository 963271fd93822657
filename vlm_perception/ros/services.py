"""`~/enable` pauses and resumes, `~/detect_once` gives one answer on the newest frame."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from vlm_perception.errors import DetectOnceError
from vlm_perception.ros.waiting import Done
from vlm_perception.types import Result
from vlm_perception.worker import Worker


class Services:
    """Offers the node's services.

    Args:
        node: Owner of the services.
        worker: What is paused and asked.
        to_json: Writes a result as `~/answer` does.
        silent_s: Seconds since the newest image of any camera.
        limit_s: After how many of them a request for one answer is given up.
        want_image: Called when the next image is waited for, so that latched ones are heard again.
    """

    def __init__(
        self,
        node: Node,
        worker: Worker,
        to_json: Callable[[Result], str],
        silent_s: Callable[[], float],
        limit_s: Callable[[], float],
        want_image: Callable[[], None],
    ) -> None:
        self._node, self._worker, self._to_json = node, worker, to_json
        self._silent_s, self._limit_s, self._want_image = silent_s, limit_s, want_image
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
        future = self._worker.detect_once()
        self._want_image()
        # An image that has come is answered, however long the model takes.
        await Done(future, lambda: not self._worker.answering and self._silent_s() > self._limit_s())
        try:
            response.message, response.success = self._to_json(future.result()), True
        except CancelledError:
            response.message = f"no image for {self._limit_s():.1f} s; start the camera, or see the log for its topic"
        except DetectOnceError as error:
            response.message = str(error)
        return response
