"""Decoder passes as CUDA graphs: started as one piece of work instead of some thousand.

An eager pass of a large model takes a card longer to be told than to be done. A graph is recorded
once for each bucket, as all passes over it have one shape, and replayed with other tokens; its
tensors stay where they are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import torch

from vlm_perception.errors import ModelLoadError

# Work of a device, and a way to have it done again: the same operations on the same tensors.
Work = Callable[[], torch.Tensor]
Record = Callable[[Work], Work]

# Recording begins with waiting for the whole device, which fails while another thread of the process records.
_recording = threading.Lock()


class RunPass(Protocol):
    """Runs a decoder pass; see `decoder_pass.run_pass`."""

    def __call__(self, rows: torch.Tensor, bucket: int, alone: bool) -> torch.Tensor:
        """Read rows (4, rows) int64; return (2, rows) float32."""
        ...


class RecordedPasses:
    """Runs passes by recording each kind of them once.

    Args:
        run: Runs one pass.
        record: Records work; whether that does it already is all the same.
        rows: Where the work finds its rows, (4, rows) int64.
    """

    def __init__(self, run: RunPass, record: Record, rows: torch.Tensor) -> None:
        self._run, self._record, self._rows = run, record, rows
        self._recorded: dict[tuple[int, bool], Work] = {}

    def __call__(self, rows: torch.Tensor, bucket: int, alone: bool) -> torch.Tensor:
        """See `RunPass`."""
        self._rows.copy_(rows)
        again = self._recorded.get((bucket, alone))
        if again is None:
            again = self._record(lambda: self._run(self._rows, bucket, alone))
            self._recorded[bucket, alone] = again
        return again()

    def forget(self) -> None:
        """Drop what was recorded: tensors that it works on have moved."""
        self._recorded.clear()


class RecordOnCuda:
    """Records work as a CUDA graph. No other work of this thread may be under way on the device.

    Args:
        device: Where the work is.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def __call__(self, work: Work) -> Work:
        """See `Record`."""
        with _recording, torch.cuda.device(self._device):
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                # Libraries choose their kernels and make their workspaces the first time, which no graph can hold.
                work()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            # Other threads may use the device meanwhile: another model, or an image on its way.
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                found = work()

        def again() -> torch.Tensor:
            graph.replay()
            return found

        return again


def can_record(model: Any) -> bool:
    """Whether passes of a model can be recorded: on one CUDA device, with nothing between its layers."""
    return model.device.type == "cuda" and not any(hasattr(module, "_hf_hook") for module in model.modules())


def choose_graph(decoder: str, model: Any, quantized: str = "") -> bool:
    """Decide whether passes are recorded.

    Args:
        decoder: Settings' `decoder`: "auto", "eager" or "graph".
        model: The loaded model.
        quantized: How its weights are quantised; empty when they are not. Nobody has tried whether the kernels of such
            weights can be recorded, so that has to be asked for.

    Raises:
        ModelLoadError: "graph" was asked for and cannot be had.
    """
    if decoder == "graph" and not can_record(model):
        raise ModelLoadError(
            f"decoder graph was asked for, the model is on {model.device}{_spread(model)}: a CUDA graph needs the "
            f"whole model on one CUDA device; set device to cuda or cuda:N, or decoder to auto or eager"
        )
    return decoder == "graph" or (decoder == "auto" and not quantized and can_record(model))


def refuse_graph(decoder: str, reason: str) -> None:
    """Refuse recorded passes of a model that is written token by token.

    Args:
        decoder: Settings' `decoder`.
        reason: Why it is.

    Raises:
        ModelLoadError: "graph" was asked for.
    """
    if decoder == "graph":
        raise ModelLoadError(f"decoder graph was asked for, {reason}: set decoder to auto or eager")


def _spread(model: Any) -> str:
    devices = set(map(str, getattr(model, "hf_device_map", {}).values()))
    return f" (spread over {', '.join(sorted(devices))})" if len(devices) > 1 else ""
