"""What differs between the families that a tiny checkpoint is trained of, and how each sees a camera image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerFast
from transformers.image_utils import IMAGENET_STANDARD_MEAN, IMAGENET_STANDARD_STD, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from training import checkpoint
from vlm_perception.engines.families import FAMILIES, Family, plan_resize
from vlm_perception.types import WH, CoordinateFrame, PixelBudget


@dataclass(frozen=True, slots=True)
class TinyFamily:
    """One family as it is trained here. How its layers compute, `training/forward.py` reads from the modules.

    Attributes:
        family: What the product knows of it.
        shipped: Folder of the trained checkpoint, from the checkout's root.
        hub_id: A checkpoint of the family that knows the real world.
        pixels: Area bounds of its processor, square pixels; images above them get the same cells in all families.
        mean: Of the red, green and blue that it sees, 0..1.
        std: As `mean`.
        bin_size: Width of one class of the place head, in units of the reply's coordinates. Where replies are in
            thousandths, a class says the first two of three digits.
        bins: How many such classes cover a side.
        bars: What it is held to where that differs from `training.evaluate.BARS`.
        build_model: Makes an untrained model.
        build_processor: Wraps a tokenizer.
    """

    family: Family
    shipped: str
    hub_id: str
    pixels: PixelBudget
    mean: tuple[float, ...]
    std: tuple[float, ...]
    bin_size: int
    bins: int
    bars: dict[str, float]
    build_model: Callable[[PreTrainedTokenizerFast], Any]
    build_processor: Callable[[PreTrainedTokenizerFast], Any]

    def view(self, image_wh: WH) -> View:
        """Plan how a camera image of this size is seen."""
        return View(self, image_wh, plan_resize(image_wh, self.pixels, cell_px=self.family.cell_px))


@dataclass(frozen=True, slots=True)
class View:
    """How a family sees camera images of one size.

    Attributes:
        family: The family.
        image_wh: Camera image, pixels.
        model_wh: Processed image, pixels.
    """

    family: TinyFamily
    image_wh: WH
    model_wh: WH

    @property
    def coordinates(self) -> CoordinateFrame:
        """Frame of the coordinates in replies."""
        return self.family.family.coordinates

    @property
    def reply_wh(self) -> WH:
        """What the right and the lower edge of the image are in a reply."""
        return (1000, 1000) if self.coordinates == "relative_1000" else self.model_wh

    @property
    def grid_hw(self) -> tuple[int, int]:
        """Image tokens down and across."""
        return self.model_wh[1] // self.family.family.cell_px, self.model_wh[0] // self.family.family.cell_px


TINY_FAMILIES = {
    "qwen2_5_vl": TinyFamily(
        FAMILIES["qwen2_5_vl"],
        "models/tiny",
        "Qwen/Qwen2.5-VL-3B-Instruct",
        checkpoint.PIXELS,
        tuple(OPENAI_CLIP_MEAN),
        tuple(OPENAI_CLIP_STD),
        bin_size=4,
        bins=100,
        bars={},
        build_model=checkpoint.build_model,
        build_processor=checkpoint.build_processor,
    ),
    "qwen3_vl": TinyFamily(
        FAMILIES["qwen3_vl"],
        "models/tiny-qwen3-vl",
        "Qwen/Qwen3-VL-4B-Instruct",
        checkpoint.QWEN3_VL_PIXELS,
        tuple(IMAGENET_STANDARD_MEAN),
        tuple(IMAGENET_STANDARD_STD),
        bin_size=10,
        bins=100,
        bars={"recall50": 0.88, "rejection": 0.88},
        build_model=checkpoint.build_qwen3_vl,
        build_processor=checkpoint.build_qwen3_vl_processor,
    ),
}
