"""State and counters -> a `DiagnosticStatus` of the node and, with several cameras, one of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from vlm_perception.health import HealthReport
from vlm_perception.lifecycle import State
from vlm_perception.pixel_relief import Lowered
from vlm_perception.process_memory import resident_mb
from vlm_perception.types import PixelBudget, Prompt
from vlm_perception.worker import DropCause, EngineState

# Drops that are the node doing its job, not something being wrong.
_NORMAL_DROPS = {
    DropCause.REPLACED,
    DropCause.NOT_ASKED,
    DropCause.NO_PROMPT,
    DropCause.NOT_READY,
    DropCause.PAUSED,
    DropCause.PROMPT_CHANGED,
    DropCause.CAMERA_GONE,
    DropCause.STOPPED,
}


@dataclass(frozen=True, slots=True)
class NodeState:
    """What is shown beside the counters.

    Attributes:
        lifecycle: Where the node is in its life.
        problem: Why the last change of that did not come about, or empty.
        engine_state: Where the model is in its life.
        engine: Facts from `Engine.describe`, and its name.
        prompts: The standing queries.
        silent_s: Seconds since the last image, by resolved image topic.
        cameras: Counters of each camera, by the same.
        policy: The frame policy.
        paused: Whether detection is paused.
        no_image_warning_s: An image later than this is a warning.
        qos_mismatches: What is offered and asked for on a topic and does not fit, by resolved topic.
        budget: The pixels that the model may see now.
        lowered: Why they are fewer than those of the parameters, or None.
        asking_s: For how long the model has been asked; None while it is not.
        hang: That the model does not come back, or empty.
    """

    lifecycle: State
    problem: str
    engine_state: EngineState
    engine: Mapping[str, str]
    prompts: Sequence[Prompt]
    silent_s: Mapping[str, float]
    cameras: Mapping[str, HealthReport]
    policy: str
    paused: bool
    no_image_warning_s: float
    qos_mismatches: Mapping[str, str]
    budget: PixelBudget
    lowered: Lowered | None
    asking_s: float | None
    hang: str


class Diagnostics:
    """Makes the messages; remembers the last report, so that new failures show and old ones fade."""

    def __init__(self, node_name: str) -> None:
        self._name = node_name
        self._last_failures = 0

    def message(self, report: HealthReport, state: NodeState, stamp: Time) -> DiagnosticArray:
        """Make the message for `/diagnostics`."""
        level, text = self._judge(report, state)
        status = DiagnosticStatus(level=level, name=f"{self._name}: perception", message=text, hardware_id=self._name)
        status.values = [KeyValue(key=key, value=value) for key, value in _values(report, state).items()]
        several = state.cameras.items() if len(state.cameras) > 1 else ()
        cameras = [self._camera_status(camera, counted, state) for camera, counted in several]
        array = DiagnosticArray(status=[status, *cameras])
        array.header.stamp = stamp
        return array

    def _camera_status(self, camera: str, report: HealthReport, state: NodeState) -> DiagnosticStatus:
        silent_s = state.silent_s[camera]
        late = silent_s > state.no_image_warning_s
        level, text = (DiagnosticStatus.WARN, f"no image on {camera}") if late else (DiagnosticStatus.OK, "images come")
        if camera in state.qos_mismatches:
            level, text = DiagnosticStatus.WARN, state.qos_mismatches[camera]
        values = {"last image (s ago)": f"{silent_s:.2f}", **_counts(report), **_drops(report)}
        pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
        name = f"{self._name}: {camera}"
        return DiagnosticStatus(level=level, name=name, message=text, hardware_id=camera, values=pairs)

    def _judge(self, report: HealthReport, state: NodeState) -> tuple[bytes, str]:
        failures = sum(n for cause, n in report.drops.items() if cause not in _NORMAL_DROPS)
        failures += sum(report.errors.values())
        new_failures, self._last_failures = failures - self._last_failures, failures
        if state.problem:
            return DiagnosticStatus.ERROR, state.problem
        if state.hang:
            return DiagnosticStatus.ERROR, state.hang
        if state.lifecycle is State.CONFIGURING:
            return DiagnosticStatus.WARN, f"loading the model: {state.engine.get('loading', 'begins')}"
        if state.lifecycle is not State.ACTIVE:
            return DiagnosticStatus.OK, f"the node is {state.lifecycle.label}"
        # Why no image comes, before that none comes; who else hears nothing, after it.
        deaf = [text for topic, text in state.qos_mismatches.items() if topic in state.silent_s]
        if deaf:
            return DiagnosticStatus.WARN, "; ".join(deaf)
        if report.since_frame_s is None or report.since_frame_s > state.no_image_warning_s:
            return DiagnosticStatus.WARN, f"no image on {', '.join(state.silent_s)}"
        silent = [topic for topic, since_s in state.silent_s.items() if since_s > state.no_image_warning_s]
        if silent:
            return DiagnosticStatus.WARN, f"no image on {', '.join(silent)}"
        if state.qos_mismatches:
            return DiagnosticStatus.WARN, "; ".join(state.qos_mismatches.values())
        if state.lowered is not None and state.budget.max_pixels == state.lowered.max_pixels:
            fewer, more = state.lowered.max_pixels, state.lowered.instead_of
            return DiagnosticStatus.WARN, f"out of memory recovered: looking at {fewer} px instead of {more}"
        if new_failures > 0:
            return DiagnosticStatus.WARN, f"{new_failures} new failures, see drops and errors"
        if state.paused:
            return DiagnosticStatus.OK, "paused by ~/enable"
        return DiagnosticStatus.OK, "detecting" if state.prompts else "waiting for a prompt"


def _values(report: HealthReport, state: NodeState) -> dict[str, str]:
    values = {
        "lifecycle state": state.lifecycle.label,
        "engine state": state.engine_state.value,
        **{f"engine {key}": value for key, value in state.engine.items()},
        "prompt": "; ".join(prompt.text for prompt in state.prompts),
        "task": "; ".join(prompt.task.value for prompt in state.prompts),
        "frame policy": state.policy,
        "paused": str(state.paused).lower(),
        "image topic": ", ".join(state.silent_s),
        "min_pixels in force": str(state.budget.min_pixels),
        "max_pixels in force": str(state.budget.max_pixels),
        "model busy (s)": "" if state.asking_s is None else f"{state.asking_s:.2f}",
        **_counts(report),
        "resident memory (MB)": f"{resident_mb():.0f}",
        "time since last image (s)": "" if report.since_frame_s is None else f"{report.since_frame_s:.2f}",
    }
    values.update(_drops(report))
    values.update({f"QoS mismatch: {topic}": text for topic, text in state.qos_mismatches.items()})
    values["rejected objects"] = str(report.rejects)
    values["rejected objects below score_threshold"] = str(report.below_threshold)
    values["repetition loops cut"] = str(report.repetitions)
    values.update({f"errors: {kind}": str(n) for kind, n in sorted(report.errors.items())})
    return values


def _counts(report: HealthReport) -> dict[str, str]:
    """What is counted in the same way for the node and for each camera."""
    age_s = report.answer_age_s
    return {
        "images received": str(report.frames),
        "image rate (Hz)": f"{report.frame_rate_hz:.2f}",
        "answers": str(report.answers),
        "answer rate (Hz)": f"{report.rate_hz:.2f}",
        "latency p50 (ms)": _ms(report.latency_p50_s),
        "latency p95 (ms)": _ms(report.latency_p95_s),
        "frame age p50 (ms)": _ms(report.age_p50_s),
        "age of newest answered image (s)": "" if age_s is None else f"{age_s:.2f}",
    }


def _drops(report: HealthReport) -> dict[str, str]:
    return {f"dropped: {cause}": str(n) for cause, n in sorted(report.drops.items())}


def _ms(duration_s: float | None) -> str:
    return "" if duration_s is None else f"{duration_s * 1000:.1f}"
