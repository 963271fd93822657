"""What a user does with the node, and what it says to that."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from robot import KEPT, LATCHED, Heard, Robot, header, values_of
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String
from vision_msgs.msg import Detection2DArray

from vlm_perception.engines.base import Engine
from vlm_perception.ros.image_messages import image_message


class Talk:
    """Camera, prompt and everything the node says, connected.

    Args:
        robot: Where the node runs.
        engine: Of the node that is started; None when it runs already.
        camera_topic: Of the camera that is heard.
        camera_type: Of its images.
        camera_qos: What the camera offers.
        prompt_qos: What the publisher of prompts offers.
        node: Further arguments of `Robot.node`.
    """

    def __init__(
        self,
        robot: Robot,
        engine: Engine | None = None,
        *,
        camera_topic: str = "/image",
        camera_type: Any = Image,
        camera_qos: Any = 1,
        prompt_qos: Any = 10,
        **node: Any,
    ) -> None:
        self.robot = robot
        self.camera = robot.camera(camera_topic, camera_type, camera_qos)
        self.prompt_publisher = robot.client.create_publisher(String, "/vlm_perception/prompt", prompt_qos)
        self.detections = robot.hear("/vlm_perception/detections", Detection2DArray)
        self.answers = robot.hear("/vlm_perception/answer", String)
        self.active = robot.hear("/vlm_perception/active_prompt", String, LATCHED)
        self.diagnostics = robot.hear("/diagnostics", DiagnosticArray)
        self.logs = robot.hear_log()
        if engine is not None:
            self.node = robot.node(engine, **node)
        elif robot.nodes:
            self.node = robot.nodes[0]
        if robot.nodes:
            # Those that latch what they say are heard twice, once the node has seen that they do.
            listeners = 2 if self.prompt_publisher.qos_profile.durability == KEPT else 1
            robot.until(lambda: self.prompt_publisher.get_subscription_count() == listeners, "the node hears prompts")
            robot.settle(camera_topic)
        else:
            said = (self.detections, self.answers, self.active, self.diagnostics)
            robot.until(lambda: all(heard.subscription.get_publisher_count() for heard in said), "the node speaks")
            hears = (self.camera, self.prompt_publisher)
            robot.until(lambda: all(publisher.get_subscription_count() for publisher in hears), "the node listens")

    def ask(self, text: str) -> None:
        """Send a prompt and wait until the node says that it is active."""
        before = len(self.active.messages)
        self.prompt_publisher.publish(String(data=text))
        self.active.wait_for(lambda m: m.data == text.strip(), after=before)

    def show(self, number: int, rgb: NDArray[np.uint8] | None = None) -> Image:
        """Publish one frame whose stamp is `number` seconds."""
        message = image_message(np.zeros((28, 42, 3), np.uint8) if rgb is None else rgb, header(number))
        self.camera.publish(message)
        return message

    def show_until(self, heard: Heard, matches: Callable[[Any], bool] = lambda _: True, first: int = 1) -> Any:
        """Publish frames with rising stamps until a matching message comes (best effort may lose some)."""
        numbers, found = itertools.count(first), []

        def done() -> bool:
            self.show(next(numbers))
            with self.robot.changed:
                found[:] = [m for m in heard.messages if matches(m)][:1]
                if not found:
                    self.robot.changed.wait(0.05)
            return bool(found)

        self.robot.until(done, "an answer to a frame")
        return found[0]

    def told(self) -> list[dict[str, Any]]:
        """All answers so far, in order."""
        with self.robot.changed:
            return [json.loads(message.data) for message in self.answers.messages]

    def answer_to(self, number: int) -> dict[str, Any]:
        """The answer about the frame of that stamp."""
        said = self.answers.wait_for(lambda m: json.loads(m.data)["stamp"]["sec"] == number)
        return dict(json.loads(said.data))

    def diagnostic(self, key: str, *expected: str) -> dict[str, str]:
        """Wait until diagnostics show one of some values, and return all values of that message."""
        return values_of(self.diagnostics.wait_for(lambda m: values_of(m).get(key) in expected))

    def later(
        self, matches: Callable[[dict[str, str]], bool], meanwhile: Callable[[], object] = bool
    ) -> dict[str, str]:
        """Wait for diagnostics that come after this call and match; `meanwhile` is done again and again."""
        before, found = len(self.diagnostics.messages), []

        def done() -> bool:
            meanwhile()
            with self.robot.changed:
                found[:] = [values for m in self.diagnostics.messages[before:] if matches(values := values_of(m))]
                if not found:
                    self.robot.changed.wait(0.05)
            return bool(found)

        self.robot.until(done, f"diagnostics; the last ones were {self.diagnostics.messages[-1:]}")
        return found[0]

    def dropped(self, cause: str) -> int:
        """How many frames were dropped for a cause, by the last diagnostics."""
        last = self.diagnostics.messages[-1:]
        return int(values_of(*last).get(f"dropped: {cause}", "0")) if last else 0

    def lives(self, number: int, *counted: str) -> dict[str, Any]:
        """Check that the next good frame is answered under its own header, the state of the node and what was counted.

        Args:
            number: A stamp in seconds that no frame has had.
            counted: Keys of diagnostics that are above 0.

        Returns:
            The answer to that frame, and the values of diagnostics under `diagnostics`.
        """
        sent: list[Header] = []

        def answered() -> bool:
            sent[:] = [self.show(number).header]
            with self.robot.changed:
                return self.robot.changed.wait_for(
                    lambda: any(m.header.stamp.sec == number for m in self.detections.messages), 0.2
                )

        self.robot.until(answered, "the next good frame is answered")
        answer = self.answer_to(number)
        assert next(m.header for m in self.detections.messages if m.header.stamp.sec == number) == sent[0]
        assert (answer["frame_id"], answer["stamp"]["nanosec"]) == (sent[0].frame_id, sent[0].stamp.nanosec)
        active = self.later(
            lambda values: (
                values["lifecycle state"] == "active" and all(values.get(key, "0") not in ("", "0") for key in counted)
            )
        )
        return {**answer, "diagnostics": active}
