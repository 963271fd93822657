"""Finds a checkpoint and holds it against the free memory; run as a child process, prints one line of JSON."""

from __future__ import annotations

import json
import sys

from vlm_perception.engines.transformers.checkpoint import find_checkpoint
from vlm_perception.engines.transformers.memory import check_memory
from vlm_perception.errors import ModelLoadError
from vlm_perception.settings import Settings


def main(model: str) -> int:
    """Print what was found about a model; empty means the default of the parameter `model`."""
    settings = Settings()
    facts: dict[str, object] = {"model": model or settings.model, "step": "find"}
    try:
        checkpoint = find_checkpoint(model or settings.model)
        facts |= {"step": "memory", "origin": checkpoint.origin, "folder": str(checkpoint.folder)}
        facts["weight_bytes"] = checkpoint.weight_bytes
        check_memory(checkpoint, device=settings.device, dtype=settings.dtype)
        facts["step"] = "done"
    except ModelLoadError as problem:
        facts["problem"] = str(problem)
    print(json.dumps(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
