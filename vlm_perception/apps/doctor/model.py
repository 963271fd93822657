"""Checks whether the model is there and fits, without loading its weights."""

from __future__ import annotations

import json
import sys

from vlm_perception.apps.doctor.findings import Finding, error, ok, unseen
from vlm_perception.apps.doctor.probe import Probe, run_python
from vlm_perception.startup.arguments import StartupError, resolve_model

_GIB = 2**30


def check_model(model: str, *, download: bool) -> Finding:
    """Look for a model as the node would.

    Args:
        model: `tiny`, a folder or a hub id; empty takes the default of the parameter `model`.
        download: Whether what is not on this disk may be fetched from the hub.
    """
    # A download of 7 GB takes what it takes.
    timeout = {"timeout_s": 24 * 3600.0} if download else {}
    ask = ["-m", "vlm_perception.apps.doctor.model", *(["--download"] if download else [])]
    try:
        resolved = resolve_model(model)
    except StartupError as problem:
        return error("The files of the package are not found", str(problem), "source the workspace's setup file")
    return judge_model(run_python([*ask, resolved], {}, **timeout))


def judge_model(probe: Probe) -> Finding:
    """Turn what `main` told in a child process into a finding."""
    if probe.problem:
        remedy = "mend what is said about torch and transformers above, if anything is; then run this again"
        return unseen("The model could not be looked for", probe.problem, remedy)
    name, problem = probe.facts["model"], probe.facts.get("problem", "")
    if probe.facts["step"] == "find":
        remedy = f"`vlm-perception-doctor --model {name} --download` fetches it; or set model to a folder, or to tiny"
        return error("The model is not found", f"{name}: {problem}", remedy)
    if probe.facts["step"] == "packages":
        remedy = "install them into the environment that holds torch, or take a model that is not quantised"
        return error("The model needs packages that are not installed", f"{name}: {problem}", remedy)
    if probe.facts["step"] == "memory":
        remedy = "close what holds memory, take a smaller model, dtype bfloat16 or quantize int4, or more memory"
        return error("The model does not fit into the free memory", f"{name}: {problem}", remedy)
    size = f"{probe.facts['weight_bytes'] / _GIB:.2f} GiB of weights for {probe.facts['devices']}"
    return ok("Model", f"{name}: {probe.facts['origin']}, {size}, in {probe.facts['folder']}")


def main(model: str, *, download: bool = False) -> int:
    """In a child process: print what was found about a model.

    Args:
        model: Empty means the default of the parameter `model`.
        download: Whether the hub may be asked.
    """
    # Here, because only the child process may need more than the standard library.
    from vlm_perception.engines.transformers.checkpoint import find_checkpoint
    from vlm_perception.engines.transformers.quantization import require_packages
    from vlm_perception.errors import ModelLoadError
    from vlm_perception.settings import Settings

    settings = Settings()
    facts: dict[str, object] = {"model": model or settings.model, "step": "find"}
    try:
        checkpoint = find_checkpoint(model or settings.model, may_download=download)
        facts |= {"origin": checkpoint.origin, "folder": str(checkpoint.folder)}
        facts["weight_bytes"] = checkpoint.weight_bytes
        facts["step"] = "packages"
        require_packages(checkpoint.quantization, settings.quantize)
        facts["step"] = "memory"
        # Here, because it imports torch, which a model that is not there need not wait for.
        from vlm_perception.engines.transformers.memory import find_place

        place = find_place(checkpoint, device=settings.device, dtype=settings.dtype, quantize=settings.quantize)
        facts |= {"step": "done", "devices": ", ".join(place.devices)}
    except ModelLoadError as problem:
        facts["problem"] = str(problem)
    print(json.dumps(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[-1], download="--download" in sys.argv[1:-1]))
