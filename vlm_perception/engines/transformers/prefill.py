"""Reading a question before its first answer token: constant text, image, instruction.

A prompt is the same words for every question, then the image, then the instruction. The keys and
values of the words are kept once per model, those of the image for the newest frames, so that a
second question about a frame costs its instruction alone. Nothing here depends on the chat
template but that it writes one image, with text behind it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import torch
from transformers import DynamicCache

from vlm_perception.engines.transformers.inputs import FrameKey, Patches, Question

# How much of the newest frames is kept: 8 frames and 256 MiB, whichever is less. A 1,024-token
# frame takes 36 MiB in Qwen2.5-VL-3B (bfloat16).
MAX_KEPT_FRAMES = 8
MAX_KEPT_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Prefilled:
    """A question that the model has read, before its first answer token.

    Attributes:
        cache: Keys and values of all prompt tokens and of the draft; owned by the answer, which appends to it and
            crops it.
        logits: (1 + drafted, vocabulary) float32, unprocessed, at the last prompt token and at each of the draft.
        length: Prompt tokens in the cache.
        next_position: Text position of the first answer token, the same in all three axes.
        draft: How the answer may begin; read in the same pass, and not verified yet.
    """

    cache: DynamicCache
    logits: torch.Tensor
    length: int
    next_position: int
    draft: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Prefix:
    """The beginning of a prompt as the model has read it; never changed once made.

    Attributes:
        layers: Keys and values of each layer, (1, heads, length, head size).
        length: Tokens in it.
        next_position: Text position of the token behind it.
    """

    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...] = ()
    length: int = 0
    next_position: int = 0

    @classmethod
    def copied(cls, cache: DynamicCache, length: int, next_position: int) -> Prefix:
        """Copy the first `length` tokens of a cache."""
        layers = ((keys[..., :length, :], values[..., :length, :]) for keys, values in states_of(cache))
        return cls(tuple((keys.clone(), values.clone()) for keys, values in layers), length, next_position)

    @property
    def nbytes(self) -> int:
        """Memory it takes, bytes."""
        return sum(keys.nbytes + values.nbytes for keys, values in self.layers)

    def opened(self) -> DynamicCache:
        """Make a cache that starts with it and shares no memory with it."""
        cache = DynamicCache()
        for index, (keys, values) in enumerate(self.layers):
            cache.update(keys.clone(), values.clone(), index)
        return cache


class Prefill:
    """Reads questions with one model and keeps the beginnings that later questions share.

    Args:
        model: A Qwen2.5-VL model of transformers.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._merge = int(model.config.vision_config.spatial_merge_size)
        self._placeholders = (model.config.image_token_id, model.config.video_token_id)
        self._constant: tuple[tuple[int, ...], Prefix] = ((), Prefix())
        self._frames: OrderedDict[tuple[FrameKey, tuple[int, ...]], Prefix] = OrderedDict()

    @property
    def kept_frames(self) -> int:
        """How many frames are kept; at most `MAX_KEPT_FRAMES`."""
        return len(self._frames)

    @property
    def kept_bytes(self) -> int:
        """Memory that the kept frames take, bytes; at most `MAX_KEPT_BYTES`."""
        return sum(prefix.nbytes for prefix in self._frames.values())

    def knows(self, frame: FrameKey, question: Question) -> bool:
        """Tell whether the question can be read without the image's patches."""
        return (frame, question.before) in self._frames

    def read(
        self, frame: FrameKey, question: Question, patches: Patches | None, draft: Sequence[int] = ()
    ) -> Prefilled:
        """Read a question about a frame, and with it how the answer may begin.

        Args:
            frame: Tells whether this very image was read before.
            question: The prompt's tokens around the image.
            patches: The image; None when it is known.
            draft: Tokens of the vocabulary; cut off where one would stand for an image.

        Returns:
            The prompt in a cache of its own.

        Raises:
            ValueError: The image is neither known nor given.
        """
        key = (frame, question.before)
        prefix = self._frames.get(key)
        draft = tuple(takewhile(lambda token: token not in self._placeholders, draft))
        behind, choices = (*question.after, *draft), 1 + len(draft)
        if prefix is not None:
            self._frames.move_to_end(key)
            cache = prefix.opened()
            logits = self._forward(behind, _text_positions(prefix.next_position, len(behind)), cache, choices)
        elif patches is not None:
            prefix, cache, logits = self._read_frame(replace(question, after=behind), patches, choices)
            self._keep(key, prefix)
        else:
            raise ValueError(f"frame {frame.digest.hex()} is not kept any more; give its patches")
        read = len(question.after)
        return Prefilled(cache, logits, prefix.length + read, prefix.next_position + read, draft)

    def _read_frame(
        self, question: Question, patches: Patches, choices: int
    ) -> tuple[Prefix, DynamicCache, torch.Tensor]:
        constant = self._read_constant(question.before)
        cache = constant.opened()
        _, rows, columns = patches.grid_thw
        rows, columns = rows // self._merge, columns // self._merge
        image_ids = (question.image_id,) * (rows * columns)
        behind = constant.next_position + max(rows, columns)
        image_at = image_positions(constant.next_position, rows, columns)
        positions = torch.cat([image_at, _text_positions(behind, len(question.after))], dim=1)
        grid_thw = torch.tensor([patches.grid_thw])
        ids = (*image_ids, *question.after)
        logits = self._forward(ids, positions, cache, choices, pixel_values=patches.pixels, image_grid_thw=grid_thw)
        return Prefix.copied(cache, constant.length + len(image_ids), behind), cache, logits

    def _read_constant(self, ids: tuple[int, ...]) -> Prefix:
        """Read what stands before the image; a template that changes it has it read again."""
        if ids and self._constant[0] != ids:
            cache = DynamicCache()
            self._forward(ids, _text_positions(0, len(ids)), cache, 1)
            self._constant = (ids, Prefix.copied(cache, len(ids), len(ids)))
        return self._constant[1] if ids else Prefix()

    def _forward(
        self, ids: Sequence[int], positions: torch.Tensor, cache: DynamicCache, choices: int, **image: torch.Tensor
    ) -> torch.Tensor:
        """Run the model over more tokens; return the logits of the last ones, (choices, vocabulary) float32."""
        device = self._model.device
        seen = self._model(
            input_ids=torch.tensor([ids], device=device),
            position_ids=positions[:, None].to(device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=choices,
            **{name: tensor.to(device) for name, tensor in image.items()},
        )
        logits: torch.Tensor = seen.logits[0].float()
        return logits

    def _keep(self, key: tuple[FrameKey, tuple[int, ...]], prefix: Prefix) -> None:
        """Keep a frame; the ones that were asked about longest ago make room."""
        self._frames[key] = prefix
        while len(self._frames) > MAX_KEPT_FRAMES or self.kept_bytes > MAX_KEPT_BYTES:
            self._frames.popitem(last=False)


def states_of(cache: DynamicCache) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return keys and values of each layer, (rows, heads, tokens, head size)."""
    layers: Any = cache.layers
    return [(layer.keys, layer.values) for layer in layers]


def image_positions(start: int, rows: int, columns: int) -> torch.Tensor:
    """Place image tokens in time, height and width, (3, rows * columns).

    Source: "Qwen2-VL: Enhancing Vision-Language Model's Perception of the World at Any Resolution"
    (arXiv 2409.12191), multimodal rotary position embedding: an image stands at one time, its rows
    and columns count from the text position behind the text before it, and the text behind it
    goes on after the largest of them.
    """
    height = torch.arange(rows).repeat_interleave(columns)
    width = torch.arange(columns).repeat(rows)
    return start + torch.stack([torch.zeros_like(height), height, width])


def _text_positions(start: int, count: int) -> torch.Tensor:
    """Place text tokens one after another, (3, count)."""
    return torch.arange(start, start + count).expand(3, -1)
