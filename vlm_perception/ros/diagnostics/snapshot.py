"""Everything that tells how the node is: what `/diagnostics` shows and what is judged by `rules.py`. No ROS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vlm_perception.engines.base import EngineState
from vlm_perception.ros.counters import CounterReport
from vlm_perception.ros.lifecycle.states import State
from vlm_perception.types import PixelBudget, Prompt
from vlm_perception.worker.memory_backoff import PixelLimit
from vlm_perception.worker.tracking import TrackingReport


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """How the memory is.

    Attributes:
        objects: How many things are remembered; None while there is no memory.
        problem: Why its file could not be opened, read or written last; empty after it could.
    """

    objects: int | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """The node at one moment.

    Attributes:
        lifecycle: Where the node is in its life.
        problem: Why the last change of that did not come about, or empty.
        engine_state: Where the model is in its life.
        engine: Facts from `Engine.describe`, and its name.
        prompts: The standing prompts.
        silent_s: Seconds since the last image, by resolved image topic.
        total: Counters of the whole node.
        cameras: Counters of each camera, by resolved image topic.
        policy: The frame policy.
        paused: Whether detection is paused.
        max_age_s: A frame that waited longer is dropped.
        no_image_warning_s: An image later than this is a warning.
        budget: The pixels that the model may see now.
        lowered: Why they are fewer than those of the parameters, or None.
        asking_s: For how long the model has been asked; None while it is not.
        hang: That the model does not come back, or empty.
        namesakes: That other nodes have the same name, or empty.
        qos_mismatches: What is offered and asked for on a topic and does not fit, by resolved topic.
        tracking: What the trackers did.
        memory: How the memory is.
        resident_mb: Memory that the process takes, MB.
    """

    lifecycle: State
    problem: str
    engine_state: EngineState
    engine: Mapping[str, str]
    prompts: Sequence[Prompt]
    silent_s: Mapping[str, float]
    total: CounterReport
    cameras: Mapping[str, CounterReport]
    policy: str
    paused: bool
    max_age_s: float
    no_image_warning_s: float
    budget: PixelBudget
    lowered: PixelLimit | None = None
    asking_s: float | None = None
    hang: str = ""
    namesakes: str = ""
    qos_mismatches: Mapping[str, str] = field(default_factory=dict)
    tracking: TrackingReport = field(default_factory=TrackingReport)
    memory: MemoryReport = MemoryReport()
    resident_mb: float = 0.0
