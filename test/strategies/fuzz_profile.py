"""How many examples a fuzz test tries: 500, and 10,000 with VLM_PERCEPTION_FUZZ=nightly."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, settings

Test = TypeVar("Test", bound=Callable[..., object])

# How long an example takes says more about the machine's load than about the code.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)

for _name, _examples in {"ci": 500, "nightly": 10_000}.items():
    settings.register_profile(_name, PATIENT, max_examples=_examples)


def fuzz(test: Test) -> Test:
    """Decorate a hypothesis test whose inputs come from outside, from anybody.

    Raises:
        hypothesis.errors.InvalidArgument: VLM_PERCEPTION_FUZZ names no profile.
    """
    decorated: Test = settings(settings.get_profile(os.environ.get("VLM_PERCEPTION_FUZZ") or "ci"))(test)
    return decorated
