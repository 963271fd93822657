"""What the two cameras share: they start when their listeners are there, and say how they are used."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence

from rclpy.publisher import Publisher

from vlm_perception.settings import Parameter

# One side sees the other first; what is published before the other has seen it is lost.
_SETTLED_S = 0.5
# Who is started together with the camera is there by then; a camera that nobody hears yet films on.
PATIENCE_S = 3.0


class Audience:
    """Whether those who listen are there, and have had the time to find this camera's topics, too.

    Args:
        image: The topic that somebody has to listen to.
        others: Topics that belong to it; whoever listens to them is waited for together with that one.
        patience_s: How long to wait at most, or None to wait until somebody is there.
    """

    def __init__(self, image: Publisher, others: Iterable[Publisher] = (), patience_s: float | None = None) -> None:
        self._publishers = (image, *others)
        self._made_s = self._changed_s = time.monotonic()
        self._patience_s = patience_s
        self._counts: tuple[int, ...] = ()
        self._is_there = False

    def is_there(self) -> bool:
        """Look who listens; once somebody was there this stays true."""
        now_s = time.monotonic()
        counts = tuple(publisher.get_subscription_count() for publisher in self._publishers)
        if counts != self._counts:
            self._counts, self._changed_s = counts, now_s
        waited_enough = self._patience_s is not None and now_s - self._made_s >= self._patience_s
        if waited_enough or (counts[0] > 0 and now_s - self._changed_s >= _SETTLED_S):
            self._is_there = True
        return self._is_there


def wants_help(args: Sequence[str] | None) -> bool:
    """Whether a command line asks for help; None means that of the process."""
    return not {"-h", "--help"}.isdisjoint(sys.argv[1:] if args is None else args)


def usage(program: str, about: str, parameters: Sequence[Parameter], example: str) -> str:
    """Return the help text of a camera.

    Args:
        program: Its name.
        about: What it does and publishes.
        parameters: What can be set, with the defaults.
        example: One value that is useful, such as `seed:=5`.
    """
    lines = [f"usage: {program} [--ros-args -p NAME:=VALUE ... -r OLD:=NEW ...]", "", about, "", "parameters:"]
    for parameter in parameters:
        default = f"default {parameter.default}" if parameter.default != "" else "no default"
        unit = f" {parameter.unit}" if parameter.unit else ""
        lines.append(f"  {parameter.name:<15} {parameter.description} ({default}{unit})")
    return "\n".join([*lines, "", f"example: ros2 run vlm_perception {program} --ros-args -p {example}"])
