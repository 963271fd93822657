"""What a device can do at most, measured on it: what every other time is held against."""

from __future__ import annotations

import torch

from benchmarks.gpu.sections import Deadline, Report
from benchmarks.gpu.subject import median_ms


class Limits:
    """Bandwidth and arithmetic of a device; a section of its own, and known to all after it.

    Args:
        device: "cuda" or "cpu".
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._bytes_per_ms, self._flop_per_ms = 0.0, 0.0

    def measure(self, report: Report, deadline: Deadline) -> None:
        """Copy as much as no cache holds, and multiply large matrices."""
        large = self._device == "cuda"
        size = (4 if large else 0.03) * 2**30
        source = torch.ones(int(size), dtype=torch.uint8, device=self._device)
        target = torch.empty_like(source)
        copy_ms = median_ms(self._device, lambda: target.copy_(source), 10)
        self._bytes_per_ms = 2 * source.nbytes / copy_ms
        side = 8192 if large else 512
        matrix = torch.randn(side, side, device=self._device).to(torch.bfloat16)
        product_ms = median_ms(self._device, lambda: matrix @ matrix, 10)
        self._flop_per_ms = 2 * side**3 / product_ms
        terabytes, teraflop = self._bytes_per_ms / 1e9, self._flop_per_ms / 1e9
        report.add("-", "memory", "copy", ms=copy_ms, note=f"{terabytes:.3f} TB/s, read and written")
        report.add("-", "arithmetic", f"{side} x {side} bfloat16", ms=product_ms, note=f"{teraflop:.2f} TFLOP/s")

    def read_ms(self, nbytes: float) -> float | None:
        """Return how long reading takes at least; None while that was not measured."""
        return nbytes / self._bytes_per_ms if self._bytes_per_ms else None

    def compute_ms(self, flop: float) -> float | None:
        """Return how long computing takes at least; None while that was not measured."""
        return flop / self._flop_per_ms if self._flop_per_ms else None
