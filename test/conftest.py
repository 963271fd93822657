"""Settings for all tests."""

from fuzz_profile import PATIENT
from hypothesis import settings

import vlm_perception.engines  # noqa: F401 - before anything imports torch, which reads its settings once

settings.register_profile("no_clock", PATIENT)
settings.load_profile("no_clock")
