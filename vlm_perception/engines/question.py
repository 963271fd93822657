"""What the model is given for one question: the prompt's tokens and the image's patches."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from qwen_vl_utils import process_vision_info

from vlm_perception.geometry import intersect_budgets, plan_resize
from vlm_perception.types import WH, Frame, PixelBudget, Request


@dataclass(frozen=True, slots=True)
class FrameKey:
    """Tells whether two images are the same to the model, whenever and by whom they were taken.

    Attributes:
        digest: SHA-1 of the pixels.
        image_wh: Size of the camera image.
        model_wh: Size it is brought to.
    """

    digest: bytes
    image_wh: WH
    model_wh: WH

    @classmethod
    def of(cls, frame: Frame, model_wh: WH) -> FrameKey:
        """Look at every pixel once; 2 ms for 1280x720."""
        # Of the digests that no two images share by chance the fastest here. It releases the GIL.
        digest = hashlib.sha1(np.ascontiguousarray(frame.rgb).data, usedforsecurity=False).digest()
        return cls(digest, frame.image_wh, model_wh)


@dataclass(frozen=True, slots=True)
class Question:
    """Token ids of a prompt, without those of its image.

    Attributes:
        before: What stands before the image; the same for every question with most chat templates.
        image_id: The token that every cell of the image takes.
        after: What stands behind it, at least one token.
    """

    before: tuple[int, ...]
    image_id: int
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


class QuestionWriter:
    """Makes the model's inputs with a checkpoint's own processor.

    Args:
        processor: As `AutoProcessor` loads it.
        image_id: The model's token for a cell of an image.
    """

    def __init__(self, processor: Any, image_id: int) -> None:
        self._processor, self._image_id = processor, image_id

    def plan_wh(self, request: Request) -> WH:
        """Plan the size to which the frame is brought, pixels.

        Raises:
            GeometryError: The frame's size or aspect ratio is outside the family's resize rule.
        """
        own = self._processor.image_processor.size
        allowed = PixelBudget(own["shortest_edge"], own["longest_edge"])
        return plan_resize(request.frame.image_wh, intersect_budgets(request.budget, allowed))

    def write(self, instruction: str) -> Question:
        """Write one instruction about one image in the checkpoint's chat template.

        Raises:
            ValueError: The template does not write one image and something behind it.
        """
        content = [{"type": "image"}, {"type": "text", "text": instruction}]
        prompt = self._processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        ids = self._processor.tokenizer(prompt)["input_ids"]
        images = ids.count(self._image_id)
        if images != 1 or ids[-1] == self._image_id:
            raise ValueError(
                f"the chat template writes {images} images, the last token is {ids[-1]}: one image (token "
                f"{self._image_id}) with text behind it is needed; use the template of a Qwen2.5-VL checkpoint"
            )
        place = ids.index(self._image_id)
        return Question(tuple(ids[:place]), self._image_id, tuple(ids[place + 1 :]))

    def patches(self, frame: Frame, model_wh: WH) -> Patches:
        """Bring a frame to its planned size and cut it into patches.

        Raises:
            ValueError: The processor changed the planned size.
        """
        image = {
            "type": "image",
            "image": Image.fromarray(frame.rgb),
            "resized_width": model_wh[0],
            "resized_height": model_wh[1],
        }
        images, _ = process_vision_info([{"role": "user", "content": [image]}])
        # qwen_vl_utils has brought the image to its planned size: a second resize would blur it.
        cut = self._processor.image_processor(images=images, do_resize=False, return_tensors="pt")
        time, rows, columns = cut["image_grid_thw"][0].tolist()
        patch_px = int(self._processor.image_processor.patch_size)
        if (columns * patch_px, rows * patch_px) != model_wh:
            raise ValueError(
                f"the processor made {columns} x {rows} patches of {patch_px} px of an image of {model_wh} px, "
                f"which would misplace every box; use the processor of a Qwen2.5-VL checkpoint"
            )
        return Patches(cut["pixel_values"], (time, rows, columns))
