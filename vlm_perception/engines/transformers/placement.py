"""Where the weights go, decided by what the machine has before any of them is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vlm_perception.engines.transformers.checkpoint import remedy
from vlm_perception.errors import ModelLoadError

# Weights plus what one frame needs beside them: activations, caches, the library itself.
WORKING_SHARE = 1.15
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Gpu:
    """What a CUDA device tells of itself.

    Attributes:
        index: As torch counts it.
        free_bytes: What it calls free.
        integrated: Whether its memory is the host's, as on a Jetson.
    """

    index: int
    free_bytes: int
    integrated: bool = False

    @property
    def name(self) -> str:
        """As torch calls it."""
        return f"cuda:{self.index}"


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to put weights into.

    Attributes:
        host_free_bytes: What the host can give, caches that it would drop included; in a container, what that may take.
        gpus: CUDA devices.
        mps: Whether there is Apple's GPU, whose memory is the host's.
    """

    host_free_bytes: int
    gpus: tuple[Gpu, ...] = ()
    mps: bool = False

    def room_of(self, gpu: Gpu) -> int:
        """Return what tensors may take on a GPU, bytes."""
        # One memory, read twice: CUDA leaves out caches that the system would drop, a container's limit what the
        # driver takes.
        return max(gpu.free_bytes, self.host_free_bytes) if gpu.integrated else gpu.free_bytes


@dataclass(frozen=True, slots=True)
class Weights:
    """What has to find room.

    Attributes:
        name: Of the model, for people.
        nbytes: As they will lie in memory.
        form: What they lie there as, such as "bfloat16".
    """

    name: str
    nbytes: int
    form: str


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the weights go.

    Attributes:
        devices: One; several when none of them holds all.
        rooms: Bytes of weights that each may hold.
    """

    devices: tuple[str, ...]
    rooms: tuple[int, ...]

    def options(self) -> dict[str, Any]:
        """Say it to transformers' `from_pretrained`."""
        if len(self.devices) == 1:
            return {"device_map": {"": self.devices[0]}}
        indices = (int(device.partition(":")[2]) for device in self.devices)
        return {"device_map": "auto", "max_memory": dict(zip(indices, self.rooms, strict=True))}


def place_weights(weights: Weights, device: str, machine: Machine) -> Placement:
    """Decide where weights go.

    With `auto` that is one GPU if one holds them all, else several; the CPU only where there is no GPU, because
    layers that wait there for their turn on a GPU make a reply take minutes.

    Args:
        weights: What has to find room.
        device: Settings' `device`; one that there is.
        machine: What there is.

    Raises:
        ModelLoadError: They do not fit; names what they need, what is free and what to do.
    """
    needed = int(weights.nbytes * WORKING_SHARE)
    kind, _, index = device.partition(":")
    if kind == "auto" and not machine.gpus:
        kind = device = "mps" if machine.mps else "cpu"
    if kind in ("cpu", "mps"):
        if needed > machine.host_free_bytes:
            raise _too_large(weights, needed, "the host has", machine.host_free_bytes)
        return _placed({device: machine.host_free_bytes})
    if kind == "cuda":
        gpus = [gpu for gpu in machine.gpus if gpu.index == int(index or 0)]
    else:
        # Of equal ones the first; one whose memory is its own leaves the host's to the rest of the robot.
        gpus = sorted(machine.gpus, key=lambda gpu: (gpu.integrated, -machine.room_of(gpu), gpu.index))
    for gpu in gpus:
        if needed <= machine.room_of(gpu):
            return _placed({gpu.name: machine.room_of(gpu)})
    spread = {gpu.name: gpu.free_bytes for gpu in machine.gpus if not gpu.integrated}
    if kind == "auto" and len(spread) > 1 and needed <= sum(spread.values()):
        return _placed(spread)
    if kind == "auto" and len(spread) > 1:
        raise _too_large(weights, needed, f"the {len(spread)} GPUs together have", sum(spread.values()), machine)
    gpu = gpus[0]
    where = f"GPU {gpu.index}, which shares the host's memory, has" if gpu.integrated else f"GPU {gpu.index} has"
    raise _too_large(weights, needed, where, machine.room_of(gpu), None if gpu.integrated else machine)


def refuse_offloaded(device_map: Mapping[str, Any], placement: Placement) -> None:
    """Refuse a model of which accelerate has put layers where they were not meant to lie: on the CPU or a disk.

    Args:
        device_map: Part of the model to device, as transformers keeps it in `hf_device_map`.
        placement: What was meant.

    Raises:
        ModelLoadError: Some layers lie elsewhere; names them and what to do.
    """
    meant = {"cpu", "mps"} & set(placement.devices)
    outside = {part: str(on) for part, on in device_map.items() if str(on) in {"cpu", "disk"} - meant}
    if outside:
        part, on = next(iter(outside.items()))
        raise ModelLoadError(
            f"accelerate put {len(outside)} of {len(device_map)} parts of the model outside of the GPUs ({part} on "
            f"{on}), where every token would wait for them: no GPU had room for one part more; free memory on the "
            f"GPUs, choose a smaller model, or set device to cpu"
        )


def _placed(free: Mapping[str, int]) -> Placement:
    return Placement(tuple(free), tuple(int(each / WORKING_SHARE) for each in free.values()))


def _too_large(weights: Weights, needed: int, where: str, free: int, other: Machine | None = None) -> ModelLoadError:
    cpu = ""
    if other is not None and needed <= other.host_free_bytes:
        cpu = f"set device to cpu, which is slow (the host has {other.host_free_bytes / _GIB:.1f} GiB free); "
    return ModelLoadError(
        f"{weights.name} needs about {needed / _GIB:.1f} GiB as {weights.form}, {where} {free / _GIB:.1f} GiB "
        f"free; free memory, choose a smaller model, dtype bfloat16 or quantize int4; {cpu}{remedy()}"
    )
