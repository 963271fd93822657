"""Settings for all tests."""

from fuzz_profile import PATIENT
from hypothesis import settings

settings.register_profile("no_clock", PATIENT)
settings.load_profile("no_clock")
