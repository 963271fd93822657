"""How OpenMP's threads wait is settled before torch is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LOOK = "import vlm_perception.engines, os; print(os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'))"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, "1000 None"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None ACTIVE"),
        ({"GOMP_SPINCOUNT": "7"}, "7 None"),
    ],
)
def test_threads_spin_for_a_moment_only_unless_the_user_says_otherwise(given: dict[str, str], kept: str) -> None:
    free = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run([sys.executable, "-c", LOOK], env=free | given, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == kept
