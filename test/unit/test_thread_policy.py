"""How OpenMP's threads wait is settled before torch is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LOOK = "import vlm_perception.engines, os; print(os.environ['OMP_WAIT_POLICY'])"


@pytest.mark.parametrize(("given", "kept"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_do_not_spin_unless_the_user_says_so(given: str | None, kept: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if given:
        environment["OMP_WAIT_POLICY"] = given
    done = subprocess.run([sys.executable, "-c", LOOK], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == kept


def test_only_engines_import_torch_at_the_top() -> None:
    """Elsewhere it could be imported first."""
    modules = "vlm_perception.cli, vlm_perception.ros.node, vlm_perception.web.app"
    look = f"import sys; import {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == "False"
