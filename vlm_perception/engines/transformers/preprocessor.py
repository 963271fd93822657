"""What the model is given for one request: the prompt's tokens and the image's patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from vlm_perception.engines.families import intersect_budgets, plan_resize
from vlm_perception.types import WH, Frame, PixelBudget, Prompt, Request, Task


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """Token ids of a prompt, without those of its image.

    Attributes:
        before: What stands before the image; the same for every instruction with most chat templates.
        after: What stands behind it, at least one token.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Patches:
    """An image as the vision tower takes it.

    Attributes:
        pixels: (patches, values) normalised, as the checkpoint's processor orders them.
        grid_thw: Time, rows and columns of the patches.
    """

    pixels: torch.Tensor
    grid_thw: tuple[int, int, int]


class Preprocessor:
    """Makes the model's inputs with a checkpoint's own processor.

    Args:
        processor: As `AutoProcessor` loads it.
        image_id: The model's token for a cell of an image.
        device: Where patches are normalised and cut, and then are.

    Attributes:
        cell_px: Side of the square that one image token covers, pixels.
    """

    def __init__(self, processor: Any, image_id: int, device: str | torch.device = "cpu") -> None:
        self._processor, self._image_id, self._device = processor, image_id, device
        self.cell_px = int(processor.image_processor.patch_size) * int(processor.image_processor.merge_size)
        # Only templates that know the switch are given it.
        knows_thinking = "enable_thinking" in str(processor.chat_template)
        self._options = {"enable_thinking": False} if knows_thinking else {}

    def plan_wh(self, request: Request) -> WH:
        """Plan the size to which the frame is brought, pixels.

        Raises:
            GeometryError: The frame's size or aspect ratio is outside the family's resize rule.
        """
        return plan_resize(request.frame.image_wh, self._budget(request), cell_px=self.cell_px)

    def grey_request(self) -> Request:
        """Ask about a grey image of four image tokens, for two tokens of an answer."""
        side = 2 * self.cell_px
        frame = Frame(np.full((side, side, 3), 128, np.uint8))
        return Request(frame, Prompt("", Task.RAW, "What is in the image?"), PixelBudget(side**2, side**2), 2)

    def tokens(self, instruction: str) -> PromptTokens:
        """Write one instruction about one image in the checkpoint's chat template, thinking off where that can be told.

        Raises:
            ValueError: The template does not write one image and something behind it.
        """
        content = [{"type": "image"}, {"type": "text", "text": instruction}]
        prompt = self._processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True, **self._options
        )
        ids = self._processor.tokenizer(prompt)["input_ids"]
        images = ids.count(self._image_id)
        if images != 1 or ids[-1] == self._image_id:
            raise ValueError(
                f"the chat template writes {images} images, the last token is {ids[-1]}: one image (token "
                f"{self._image_id}) with text behind it is needed; use the template that the checkpoint came with"
            )
        place = ids.index(self._image_id)
        return PromptTokens(tuple(ids[:place]), tuple(ids[place + 1 :]))

    def patches(self, request: Request) -> Patches:
        """Bring a request's frame to its planned size and cut it into patches.

        Raises:
            ValueError: The processor has another plan.
        """
        model_wh = self.plan_wh(request)
        image = functional.interpolate(
            _channels_first(request.frame.rgb), model_wh[::-1], mode="bicubic", antialias=True
        )
        # What the processor itself would do with the planned size, without its copy of the whole image. Resized on the
        # host, where torch rounds bytes as the processor does; bytes are an eighth of the patches to move.
        resized = image[0].to(self._device)
        cut = self._processor.image_processor(images=[resized], do_resize=False, return_tensors="pt")
        time, rows, columns = cut["image_grid_thw"][0].tolist()
        return Patches(cut["pixel_values"], (time, rows, columns))

    def _budget(self, request: Request) -> PixelBudget:
        """The areas that both the request and the checkpoint allow."""
        own = self._processor.image_processor.size
        return intersect_budgets(request.budget, PixelBudget(own["shortest_edge"], own["longest_edge"]))


def _channels_first(rgb: NDArray[np.uint8]) -> torch.Tensor:
    """Look at (height, width, 3) pixels as (1, 3, height, width), in the same memory where torch can."""
    # torch cannot look at read-only memory, nor backwards, as at a BGR image in RGB order.
    usable = rgb.flags.writeable and min(rgb.strides) > 0
    pixels = torch.from_numpy(rgb if usable else rgb.copy())
    return pixels.permute(2, 0, 1)[None]
