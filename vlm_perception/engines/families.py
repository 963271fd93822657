"""Model families: how large each sees an image, and in which frame it writes coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vlm_perception.errors import GeometryError
from vlm_perception.types import WH, CoordinateFrame, PixelBudget

MAX_ASPECT_RATIO = 200


@dataclass(frozen=True, slots=True)
class Family:
    """What all checkpoints of one `model_type` share. How large an image may be, each one's own processor says.

    Attributes:
        name: For people.
        coordinates: Frame of the coordinates that it writes, x before y.
        cell_px: Side of the square that one image token covers, pixels; a checkpoint's processor has to agree.
        pixels: Areas that the published checkpoints' processors allow; counts only for a server's model, whose own
            processor nobody can read.
        recurrent: Whether it keeps recurrent state, which cannot be cut back as keys and values can.
        experts: Whether nearly all of its weights are experts in one tensor, which no `quantize` makes smaller.
        times_in_text: Whether the times of a video stand in its prompt; else they are positions of its tokens.
    """

    name: str
    coordinates: CoordinateFrame
    cell_px: int
    pixels: PixelBudget
    recurrent: bool = False
    experts: bool = False
    times_in_text: bool = True

    @property
    def stepwise(self) -> str:
        """Why its replies are written token by token, without drafts and recorded passes; empty where they are not."""
        if self.recurrent:
            return f"{self.name} keeps recurrent state, which no draft can be taken out of"
        if self.experts:
            return f"{self.name} has experts, which compute a token otherwise beside others in its last bits"
        return ""


_TOKENS_OF_28_PX = PixelBudget(4 * 28 * 28, 16384 * 28 * 28)
_TOKENS_OF_32_PX = PixelBudget(64 * 32 * 32, 16384 * 32 * 32)
# By the `model_type` of config.json. A family that is not here is refused: its boxes would be wrong silently.
FAMILIES: dict[str, Family] = {
    "qwen2_5_vl": Family("Qwen2.5-VL", "absolute", 28, _TOKENS_OF_28_PX, times_in_text=False),
    "qwen3_vl": Family("Qwen3-VL", "relative_1000", 32, _TOKENS_OF_32_PX),
    "qwen3_vl_moe": Family("Qwen3-VL-MoE", "relative_1000", 32, _TOKENS_OF_32_PX, experts=True),
    "qwen3_5": Family("Qwen3.5", "relative_1000", 32, _TOKENS_OF_32_PX, recurrent=True),
    "qwen3_5_moe": Family("Qwen3.5-MoE", "relative_1000", 32, _TOKENS_OF_32_PX, recurrent=True, experts=True),
}


def plan_resize(image_wh: WH, budget: PixelBudget, *, cell_px: int) -> WH:
    """Plan the processed size by the rule of Qwen's processors.

    Both sides become multiples of `cell_px` (Python's rounding), the area is brought under the
    budget's maximum by rounding down or over its minimum by rounding up, and the aspect ratio is
    kept as closely as that allows.

    Args:
        image_wh: Camera image's width and height, pixels.
        budget: Area bounds, pixels.
        cell_px: Side of the square one image token covers, pixels.

    Returns:
        Width and height of the processed image, pixels.

    Raises:
        GeometryError: A side is not positive, the aspect ratio is over 200, or the budget's
            minimum is above its maximum.
    """
    width, height = image_wh
    _check(width, height, budget)
    planned_h = round(height / cell_px) * cell_px
    planned_w = round(width / cell_px) * cell_px
    if planned_h * planned_w > budget.max_pixels:
        shrink = math.sqrt(height * width / budget.max_pixels)
        planned_h = max(cell_px, math.floor(height / shrink / cell_px) * cell_px)
        planned_w = max(cell_px, math.floor(width / shrink / cell_px) * cell_px)
    elif planned_h * planned_w < budget.min_pixels:
        grow = math.sqrt(budget.min_pixels / (height * width))
        planned_h = math.ceil(height * grow / cell_px) * cell_px
        planned_w = math.ceil(width * grow / cell_px) * cell_px
    return planned_w, planned_h


def intersect_budgets(budget: PixelBudget, allowed: PixelBudget) -> PixelBudget:
    """Return the areas that both allow; where they do not meet, `allowed` wins."""
    low = max(budget.min_pixels, allowed.min_pixels)
    high = min(budget.max_pixels, allowed.max_pixels)
    return PixelBudget(low, high) if low <= high else allowed


def _check(width: int, height: int, budget: PixelBudget) -> None:
    if min(width, height) <= 0:
        raise GeometryError(
            f"image size {width}x{height} is empty: both sides must be at least 1 pixel; check the image source"
        )
    ratio = max(width, height) / min(width, height)
    if ratio > MAX_ASPECT_RATIO:
        raise GeometryError(
            f"image size {width}x{height} has aspect ratio {ratio:.1f}, over the limit "
            f"{MAX_ASPECT_RATIO}; crop the image or use another camera mode"
        )
    if budget.min_pixels > budget.max_pixels:
        raise GeometryError(
            f"min_pixels {budget.min_pixels} is above max_pixels {budget.max_pixels}; "
            f"lower min_pixels or raise max_pixels"
        )
