"""What all tests of faults have in common: floods, what diagnostics say, and that the node lives on."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import ReliabilityPolicy
from std_msgs.msg import Header

PATIENCE_S = 120.0
# Diagnostics often, and no image that is late because the machine is busy.
WATCHED = {"diagnostics_period_s": 0.1, "no_image_warning_s": 60.0, "max_age_s": 60.0}


def flood(rate_hz: float, count: int, action: Callable[[int], object]) -> None:
    """Do something `count` times, at most `rate_hz` times a second, numbered from 1."""
    pause, began_s = threading.Event(), time.monotonic()
    for number in range(1, count + 1):
        action(number)
        pause.wait(max(0.0, began_s + number / rate_hz - time.monotonic()))


def values_of(message: DiagnosticArray) -> dict[str, str]:
    """Level, message and values of the node's own status."""
    status = message.status[0]
    return {"level": str(status.level[0]), "message": status.message} | {item.key: item.value for item in status.values}


def later(talk: Any, matches: Callable[[dict[str, str]], bool], meanwhile: Callable[[], object] = bool) -> dict:
    """Wait for diagnostics that come after this call and match; `meanwhile` is done again and again."""
    before = len(talk.diagnostics.messages)
    found: list[dict[str, str]] = []

    def done() -> bool:
        meanwhile()
        with talk.robot.changed:
            found[:] = [values for m in talk.diagnostics.messages[before:] if matches(values := values_of(m))]
            if not found:
                talk.robot.changed.wait(0.05)
        return bool(found)

    talk.robot.until(done, f"diagnostics; the last ones were {talk.diagnostics.messages[-1:]}")
    return found[0]


def settle(talk: Any, *topics: str) -> None:
    """Wait until reliable publishers are heard reliably: what is sent while the node changes over may be lost."""

    def is_reliable(topic: str) -> bool:
        heard = talk.robot.client.get_subscriptions_info_by_topic(topic)
        return [info.qos_profile.reliability for info in heard] == [ReliabilityPolicy.RELIABLE]

    for topic in topics or ("/image",):
        talk.robot.until(lambda t=topic: is_reliable(t), f"{topic} is heard reliably")


def assert_lives(talk: Any, number: int, *, counted: Sequence[str] = (), frame_id: str = "camera_optical") -> dict:
    """Check that the next good frame is answered under its own header, that the node is active and what was counted.

    Args:
        talk: Everything the node hears and says.
        number: A stamp in seconds that no frame has had.
        counted: Keys of diagnostics that are above 0.
        frame_id: Of the good frame.

    Returns:
        The answer to that frame, and the values of diagnostics under `diagnostics`.
    """
    sent: list[Header] = []

    def answered() -> bool:
        sent[:] = [talk.show(number).header]
        with talk.robot.changed:
            return talk.robot.changed.wait_for(
                lambda: any(m.header.stamp.sec == number for m in talk.detections.messages), 0.2
            )

    talk.robot.until(answered, "the next good frame is answered")
    answer = talk.answer_to(number)
    assert next(m.header for m in talk.detections.messages if m.header.stamp.sec == number) == sent[0]
    assert (answer["frame_id"], answer["stamp"]["nanosec"]) == (frame_id, sent[0].stamp.nanosec)
    values = later(
        talk,
        lambda values: (
            values["lifecycle state"] == "active" and all(values.get(key, "0") not in ("", "0") for key in counted)
        ),
    )
    return {**answer, "diagnostics": values}


def answers_of(talk: Any) -> list[dict[str, Any]]:
    """All answers so far, in order."""
    return [json.loads(message.data) for message in talk.answers.messages]
