"""The families, and for each a processor that can read and write what is asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from one_scene import one_scene

from training.checkpoint import build_tokenizer
from training.families import TINY_FAMILIES, TinyFamily
from training.questions import TAUGHT_WEIGHTS, Asker


@pytest.fixture(scope="module", params=TINY_FAMILIES)
def family(request: pytest.FixtureRequest) -> TinyFamily:
    return TINY_FAMILIES[request.param]


@pytest.fixture(scope="module")
def processor(family: TinyFamily) -> Any:
    """A processor whose tokenizer knows the words of a few hundred questions."""
    scene, asker = one_scene(1, family), Asker(np.random.default_rng(0), TAUGHT_WEIGHTS)
    asked = [asker.ask(scene.truths[0], scene.view) for _ in range(300)]
    return family.build_processor(build_tokenizer(text for q in asked for text in (q.instruction, q.reply)))
