"""What the model is given for one request: the prompt's tokens, and the patches of its image or clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from vlm_perception.engines.families import intersect_budgets, plan_resize
from vlm_perception.engines.transformers.clip_positions import grid_times_s, ticks_of
from vlm_perception.types import WH, Clip, Frame, PixelBudget, Prompt, Request, Task


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
class ClipTokens:
    """Token ids of a prompt about a clip, without those of its frames.

    Attributes:
        before: What stands before each grid of frames; nothing between those of a family with times as positions.
        after: What stands behind the last, at least one token.
    """

    before: tuple[tuple[int, ...], ...]
    after: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Patches:
    """An image, or a clip grid by grid, as the vision tower takes it.

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
        video_id: The model's token for a cell of a video.
        times_in_text: See `Family`.

    Attributes:
        cell_px: Side of the square that one image token covers, pixels.
    """

    def __init__(
        self,
        processor: Any,
        image_id: int,
        device: str | torch.device = "cpu",
        *,
        video_id: int = -1,
        times_in_text: bool = False,
    ) -> None:
        self._processor, self._image_id, self._device = processor, image_id, device
        self._video_id, self._times_in_text = video_id, times_in_text
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
        ids = self._processor.tokenizer(self._written("image", instruction))["input_ids"]
        images = ids.count(self._image_id)
        if images != 1 or ids[-1] == self._image_id:
            raise ValueError(
                f"the chat template writes {images} images, the last token is {ids[-1]}: one image (token "
                f"{self._image_id}) with text behind it is needed; use the template that the checkpoint came with"
            )
        place = ids.index(self._image_id)
        return PromptTokens(tuple(ids[:place]), tuple(ids[place + 1 :]))

    def clip_tokens(self, instruction: str, clip: Clip) -> ClipTokens:
        """Write one instruction about a clip in the checkpoint's chat template, with its times where they are text.

        Source: Qwen3-VL's processor in transformers 4.57, by its authors: `<0.2 seconds>`, the mean of a grid's frames,
        before each grid, which has the signs of an image around it. Later releases leave the video's own signs around
        all of them.

        Raises:
            ValueError: The template does not write one video and something behind it.
        """
        prompt, grids = self._written("video", instruction), grid_times_s(clip.times_s, self._merged_frames)
        if self._times_in_text:
            signs = [str(getattr(self._processor, f"{name}_token")) for name in ("vision_start", "video", "vision_end")]
            means_s = [sum(grid) / len(grid) for grid in grids]
            prompt = prompt.replace(
                "".join(signs), "".join(f"<{mean_s:.1f} seconds>{''.join(signs)}" for mean_s in means_s)
            )
        ids = self._processor.tokenizer(prompt)["input_ids"]
        expected = len(grids) if self._times_in_text else 1
        if ids.count(self._video_id) != expected or ids[-1] == self._video_id:
            raise ValueError(
                f"the chat template writes {ids.count(self._video_id)} videos (token {self._video_id}) instead of "
                f"{expected}, the last token is {ids[-1]}: use the template that the checkpoint came with, or ask "
                f"without the task watch"
            )
        parts: list[tuple[int, ...]] = []
        while self._video_id in ids:
            place = ids.index(self._video_id)
            parts.append(tuple(ids[:place]))
            ids = ids[place + 1 :]
        return ClipTokens((*parts, *[()] * (len(grids) - len(parts))), tuple(ids))

    def clip_patches(self, request: Request, clip: Clip) -> Patches:
        """Bring the frames of a request's clip to their planned size and cut them into patches, grid by grid."""
        model_wh, own = self.plan_wh(request), self._processor.video_processor
        frames = [self._resized(frame.rgb, model_wh)[0] for frame in clip.frames]
        # Without a word on it, it warns that it has not been told whether to cap what is not resized.
        options = {"cap_pixels_per_frame": False} if hasattr(own, "cap_pixels_per_frame") else {}
        video = torch.stack(frames).to(self._device)
        cut = own(videos=[video], do_resize=False, do_sample_frames=False, return_tensors="pt", **options)
        grids, rows, columns = cut["video_grid_thw"][0].tolist()
        return Patches(cut["pixel_values_videos"], (grids, rows, columns))

    def ticks(self, clip: Clip, tokens_per_second: float) -> list[int] | None:
        """Say where in time each grid of a clip stands; None where the prompt says so."""
        return None if self._times_in_text else ticks_of(clip.times_s, self._merged_frames, tokens_per_second)

    def patches(self, request: Request) -> Patches:
        """Bring a request's frame to its planned size and cut it into patches.

        Raises:
            ValueError: The processor has another plan.
        """
        image = self._resized(request.frame.rgb, self.plan_wh(request))
        # What the processor itself would do with the planned size, without its copy of the whole image. Resized on the
        # host, where torch rounds bytes as the processor does; bytes are an eighth of the patches to move.
        resized = image[0].to(self._device)
        cut = self._processor.image_processor(images=[resized], do_resize=False, return_tensors="pt")
        time, rows, columns = cut["image_grid_thw"][0].tolist()
        return Patches(cut["pixel_values"], (time, rows, columns))

    @property
    def _merged_frames(self) -> int:
        return int(self._processor.video_processor.temporal_patch_size)

    def _written(self, kind: str, instruction: str) -> str:
        """Write an instruction about one image or video in the chat template."""
        content = [{"type": kind}, {"type": "text", "text": instruction}]
        prompt: str = self._processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True, **self._options
        )
        return prompt

    @staticmethod
    def _resized(rgb: NDArray[np.uint8], model_wh: WH) -> torch.Tensor:
        return functional.interpolate(_channels_first(rgb), model_wh[::-1], mode="bicubic", antialias=True)

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
