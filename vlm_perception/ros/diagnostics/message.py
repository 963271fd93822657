"""How the node is -> a `DiagnosticStatus` of the node and, with several cameras, one of each."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from vlm_perception.ros.counters import CounterReport
from vlm_perception.ros.diagnostics.rules import Assessment, StatusLevel, assess
from vlm_perception.ros.diagnostics.snapshot import NodeSnapshot
from vlm_perception.worker.tracking import TrackingReport


def diagnostics_message(node_name: str, snapshot: NodeSnapshot, stamp: Time) -> DiagnosticArray:
    """Make the message for `/diagnostics`.

    Args:
        node_name: Full name of the node.
        snapshot: The node now.
        stamp: The time now.
    """
    judgement = assess(snapshot)
    name = f"{node_name}: perception"
    statuses = [_status(name, node_name, judgement.level, judgement.message, _values(snapshot, judgement))]
    if len(snapshot.cameras) > 1:
        statuses += [_camera_status(node_name, camera, snapshot) for camera in snapshot.cameras]
    array = DiagnosticArray(status=statuses)
    array.header.stamp = stamp
    return array


def _status(name: str, hardware_id: str, level: StatusLevel, message: str, values: dict[str, str]) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    # The field is a byte, which Python's message takes as bytes.
    return DiagnosticStatus(level=bytes([level]), name=name, message=message, hardware_id=hardware_id, values=pairs)


def _camera_status(node_name: str, camera: str, snapshot: NodeSnapshot) -> DiagnosticStatus:
    silent_s = snapshot.silent_s.get(camera)
    level, text = StatusLevel.OK, "images come" if silent_s is not None else "the node does not listen"
    if silent_s is not None and silent_s > snapshot.no_image_warning_s:
        level, text = StatusLevel.WARN, f"no image on {camera}"
    if camera in snapshot.qos_mismatches:
        level, text = StatusLevel.WARN, snapshot.qos_mismatches[camera]
    report = snapshot.cameras[camera]
    values = {"last image (s ago)": "" if silent_s is None else f"{silent_s:.2f}", **_counts(report), **_drops(report)}
    return _status(f"{node_name}: {camera}", camera, level, text, values)


def _values(snapshot: NodeSnapshot, judgement: Assessment) -> dict[str, str]:
    report = snapshot.total
    values = {
        "lifecycle state": snapshot.lifecycle.label,
        "engine state": snapshot.engine_state.value,
        **{f"engine {key}": value for key, value in snapshot.engine.items()},
        "symptoms": "; ".join(judgement.symptoms),
        "prompt": "; ".join(prompt.text for prompt in snapshot.prompts),
        "task": "; ".join(prompt.task.value for prompt in snapshot.prompts),
        "prompts received": str(report.prompts),
        "frame policy": snapshot.policy,
        "paused": str(snapshot.paused).lower(),
        "image topic": ", ".join(snapshot.silent_s),
        "min_pixels in force": str(snapshot.budget.min_pixels),
        "max_pixels in force": str(snapshot.budget.max_pixels),
        "model busy (s)": "" if snapshot.asking_s is None else f"{snapshot.asking_s:.2f}",
        **_counts(report),
        **_tracking(snapshot.tracking),
        "things remembered": "" if snapshot.memory.objects is None else str(snapshot.memory.objects),
        "resident memory (MB)": f"{snapshot.resident_mb:.0f}",
        "time since last image (s)": "" if report.since_frame_s is None else f"{report.since_frame_s:.2f}",
    }
    values.update(_drops(report))
    values.update({f"QoS mismatch: {topic}": text for topic, text in snapshot.qos_mismatches.items()})
    values["rejected objects"] = str(report.rejects)
    values["rejected objects below score_threshold"] = str(report.below_threshold)
    values["repetition loops cut"] = str(report.repetitions)
    values.update({f"errors: {kind}": str(n) for kind, n in sorted(report.errors.items())})
    return values


def _tracking(report: TrackingReport) -> dict[str, str]:
    """What the trackers did; nothing while they are off."""
    if report.mode == "off":
        return {"tracking": report.mode}
    return {
        "tracking": report.mode,
        "tracks": str(report.tracks),
        "track frames": str(report.carried),
        "track frames skipped": str(report.skipped),
        "track catch-ups": str(report.catch_ups),
        "track catch-ups without their frame": str(report.not_kept),
        "track catch-up p50 (ms)": _ms(report.catch_up_p50_s),
    }


def _counts(report: CounterReport) -> dict[str, str]:
    """What is counted in the same way for the node and for each camera."""
    age_s = report.answer_age_s
    return {
        "images received": str(report.frames),
        "camera outages": str(report.outages),
        "image rate (Hz)": f"{report.frame_rate_hz:.2f}",
        "answers": str(report.answers),
        "answer rate (Hz)": f"{report.rate_hz:.2f}",
        "closer looks": str(sum(report.looks.values()) - report.looks.get("stale", 0)),
        "closer looks left out": str(report.looks.get("stale", 0)),
        "latency p50 (ms)": _ms(report.latency_p50_s),
        "latency p95 (ms)": _ms(report.latency_p95_s),
        "latency p99 (ms)": _ms(report.latency_p99_s),
        "frame age p50 (ms)": _ms(report.age_p50_s),
        "frame age p95 (ms)": _ms(report.age_p95_s),
        "age of newest answered image (s)": "" if age_s is None else f"{age_s:.2f}",
    }


def _drops(report: CounterReport) -> dict[str, str]:
    return {f"dropped: {cause}": str(n) for cause, n in sorted(report.drops.items())}


def _ms(duration_s: float | None) -> str:
    return "" if duration_s is None else f"{duration_s * 1000:.1f}"
