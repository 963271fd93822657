"""Where weights go, over machines of every kind."""

from __future__ import annotations

import pytest

from vlm_perception.engines.transformers.placement import (
    Gpu,
    Machine,
    Placement,
    Weights,
    place_weights,
    refuse_offloaded,
)
from vlm_perception.errors import ModelLoadError

GIB = 2**30


def machine(host: float, *gpus: tuple[float, bool], mps: bool = False) -> Machine:
    cards = tuple(Gpu(index, int(free * GIB), integrated) for index, (free, integrated) in enumerate(gpus))
    return Machine(int(host * GIB), cards, mps)


CARD, BIG = (12.0, False), (24.0, False)
SERVER, DESKTOP, JETSON, LAPTOP = machine(100, CARD, BIG, CARD), machine(60, CARD), machine(6, (1.0, True)), machine(14)

# GiB of weights (they need 1.15 times that), device, machine, devices that they go to
PLACED = [
    (10.0, "auto", LAPTOP, ["cpu"]),
    (10.0, "cpu", DESKTOP, ["cpu"]),
    (40.0, "cpu", DESKTOP, ["cpu"]),
    (10.0, "auto", machine(14, mps=True), ["mps"]),
    (10.0, "mps", machine(14, mps=True), ["mps"]),
    (10.0, "auto", DESKTOP, ["cuda:0"]),
    (10.0, "cuda", DESKTOP, ["cuda:0"]),
    (10.0, "auto", SERVER, ["cuda:1"]),
    (20.0, "auto", SERVER, ["cuda:1"]),
    (10.0, "cuda:2", SERVER, ["cuda:2"]),
    (10.0, "auto", machine(100, BIG, BIG), ["cuda:0"]),
    (30.0, "auto", SERVER, ["cuda:0", "cuda:1", "cuda:2"]),
    # What CUDA calls free on a Jetson leaves out caches that the system drops when asked.
    (5.0, "auto", JETSON, ["cuda:0"]),
    (5.0, "cuda", JETSON, ["cuda:0"]),
    # A container may take less of the host than the driver gives.
    (5.0, "auto", machine(2, (6.0, True)), ["cuda:0"]),
    (5.0, "auto", machine(60, (1.0, True), CARD), ["cuda:1"]),
]

# GiB of weights, device, machine, words of the refusal
REFUSED = [
    (20.0, "auto", LAPTOP, ["as bfloat16, the host has 14.0 GiB free"]),
    (60.0, "cpu", DESKTOP, ["69.0 GiB", "the host has 60.0 GiB free"]),
    (13.0, "auto", machine(14, mps=True), ["the host has 14.0 GiB free"]),
    # The host's memory is not the GPU's: both together would hold it.
    (
        20.0,
        "auto",
        DESKTOP,
        ["23.0 GiB", "GPU 0 has 12.0 GiB free", "device to cpu, which is slow (the host has 60"],
    ),
    (60.0, "auto", DESKTOP, ["69.0 GiB", "GPU 0 has 12.0 GiB free"]),
    (20.0, "cuda:2", SERVER, ["GPU 2 has 12.0 GiB free"]),
    (50.0, "auto", SERVER, ["57.5 GiB", "the 3 GPUs together have 48.0 GiB free", "set device to cpu"]),
    # One memory, not two.
    (6.0, "auto", JETSON, ["6.9 GiB", "GPU 0, which shares the host's memory, has 6.0 GiB free"]),
    (6.0, "auto", machine(6, (4.0, True)), ["has 6.0 GiB free"]),
]


@pytest.mark.parametrize(("size", "device", "there", "devices"), PLACED)
def test_weights_go_to_one_device_that_holds_them(size: float, device: str, there: Machine, devices: list[str]) -> None:
    found = place_weights(Weights("big", int(size * GIB), "bfloat16"), device, there)
    assert list(found.devices) == devices
    assert sum(found.rooms) >= int(size * GIB) - len(devices)


@pytest.mark.parametrize(("size", "device", "there", "words"), REFUSED)
def test_weights_that_fit_nowhere_are_refused(size: float, device: str, there: Machine, words: list[str]) -> None:
    weights = Weights("big", int(size * GIB), "bfloat16")
    with pytest.raises(ModelLoadError) as caught:
        place_weights(weights, device, there)
    for word in (*words, "big needs about", "free memory, choose a smaller model", "set model to"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("device", "there", "told"),
    [("auto", machine(6, (1.0, True)), False), ("cuda", DESKTOP, True), ("cpu", DESKTOP, False)],
)
def test_the_cpu_is_offered_where_it_would_hold_them(device: str, there: Machine, told: bool) -> None:
    with pytest.raises(ModelLoadError) as caught:
        place_weights(Weights("big", (20 if told else 70) * GIB, "bfloat16"), device, there)
    assert ("set device to cpu" in str(caught.value)) is told


@pytest.mark.parametrize(
    ("devices", "options"),
    [
        (("cpu",), {"device_map": {"": "cpu"}}),
        (("cuda:1",), {"device_map": {"": "cuda:1"}}),
        (("cuda:0", "cuda:2"), {"device_map": "auto", "max_memory": {0: 5, 2: 5}}),
    ],
)
def test_a_placement_names_no_cpu_beside_gpus(devices: tuple[str, ...], options: dict[str, object]) -> None:
    assert Placement(devices, (5,) * len(devices)).options() == options


@pytest.mark.parametrize(
    ("device_map", "devices", "outside"),
    [
        ({"": "cpu"}, ("cpu",), None),
        ({"": "mps"}, ("mps",), None),
        ({"": 0}, ("cuda:0",), None),
        ({}, ("cuda:0",), None),
        ({"model.visual": 0, "lm_head": 1}, ("cuda:0", "cuda:1"), None),
        ({"model.visual": 0, "lm_head": "disk"}, ("cuda:0", "cuda:1"), "1 of 2 parts.*lm_head on disk"),
        ({"model.visual": "cpu", "lm_head": "disk"}, ("cuda:0",), "2 of 2 parts.*model.visual on cpu"),
        ({"model.visual": "cpu", "lm_head": "disk"}, ("cpu",), "1 of 2 parts.*lm_head on disk"),
    ],
)
def test_layers_that_lie_outside_of_the_gpus_are_refused(
    device_map: dict[str, object], devices: tuple[str, ...], outside: str | None
) -> None:
    placement = Placement(devices, (GIB,) * len(devices))
    if outside is None:
        refuse_offloaded(device_map, placement)
        return
    with pytest.raises(ModelLoadError, match=f"{outside}.*set device to cpu"):
        refuse_offloaded(device_map, placement)
