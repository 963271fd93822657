"""Reading a prompt before its first answer token: constant text, image, instruction.

A prompt is the same words for every request, then the image, then the instruction. The keys and
values of the words are kept once per model, those of the image for the newest frames, so that a
second prompt about a frame costs its instruction alone. A frame is known by its camera and
arrival, and by being the very pixels in memory: no two frames can be mixed up. Nothing here
depends on the chat template but that it writes one image, with text behind it.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from vlm_perception.engines.transformers.preprocessor import Patches, PromptTokens
from vlm_perception.types import WH, Frame

# How much of the newest frames is kept: 8 frames and 256 MiB, whichever is less. A 1,024-token
# frame takes 36 MiB in Qwen2.5-VL-3B (bfloat16).
MAX_KEPT_FRAMES = 8
MAX_KEPT_BYTES = 256 * 2**20

_Pixels = weakref.ref[NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class PrefilledPrompt:
    """A prompt that the model has read, before its first answer token.

    Attributes:
        cache: Keys and values of all prompt tokens and of the draft; owned by the answer, which appends to it and
            crops it.
        logits: (1 + drafted, vocabulary) float32, unprocessed, at the last prompt token and at each of the draft.
        next_position: Text position of the first answer token, the same in all three axes.
        draft: How the answer may begin; read in the same pass, and not verified yet.
    """

    cache: DynamicCache
    logits: torch.Tensor
    next_position: int
    draft: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class KeptPrefix:
    """The beginning of a prompt as the model has read it; never changed once made.

    Attributes:
        cache: Its keys and values.
        next_position: Text position of the token behind it.
    """

    cache: DynamicCache = field(default_factory=DynamicCache)
    next_position: int = 0

    @property
    def nbytes(self) -> int:
        """Memory it takes, bytes."""
        return sum(keys.nbytes + values.nbytes for keys, values in states_of(self.cache))


class Prefill:
    """Reads prompts with one model and keeps the beginnings that later ones share.

    Args:
        model: A Qwen2.5-VL model of transformers.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._merge = int(model.config.vision_config.spatial_merge_size)
        self._placeholders = (model.config.image_token_id, model.config.video_token_id)
        self._constant: tuple[tuple[int, ...], KeptPrefix] = ((), KeptPrefix())
        self._frames: OrderedDict[Hashable, tuple[_Pixels, KeptPrefix]] = OrderedDict()

    @property
    def kept_frames(self) -> int:
        """How many frames are kept; at most `MAX_KEPT_FRAMES`."""
        return len(self._frames)

    @property
    def kept_bytes(self) -> int:
        """Memory that the kept frames take, bytes; at most `MAX_KEPT_BYTES`."""
        return sum(prefix.nbytes for _, prefix in self._frames.values())

    def find(self, frame: Frame, model_wh: WH, prompt: PromptTokens) -> KeptPrefix | None:
        """Return what is kept of a frame in the size `model_wh`, for prompts that begin as this one."""
        key = _key(frame, model_wh, prompt)
        pixels, prefix = self._frames.get(key, (None, None))
        if pixels is None or pixels() is not frame.rgb:
            return None
        self._frames.move_to_end(key)
        return prefix

    def read(
        self,
        frame: Frame,
        model_wh: WH,
        prompt: PromptTokens,
        image: KeptPrefix | Patches,
        draft: Sequence[int] = (),
    ) -> PrefilledPrompt:
        """Read a prompt about a frame, and with it how the answer may begin.

        Args:
            frame: What the prompt is about.
            model_wh: Size that the frame is brought to, pixels.
            prompt: Its tokens around the image.
            image: What is kept of the frame, or else its patches.
            draft: Tokens of the vocabulary; cut off where one would stand for an image.

        Returns:
            The prompt in a cache of its own.
        """
        draft = tuple(takewhile(lambda token: token not in self._placeholders, draft))
        behind, choices = (*prompt.after, *draft), 1 + len(draft)
        if isinstance(image, KeptPrefix):
            prefix, cache = image, _copied(image.cache)
            logits = self._forward(behind, _text_positions(prefix.next_position, len(behind)), cache, choices)
        else:
            prefix, cache, logits = self._read_frame(replace(prompt, after=behind), image, choices)
            self._keep(_key(frame, model_wh, prompt), weakref.ref(frame.rgb), prefix)
        return PrefilledPrompt(cache, logits, prefix.next_position + len(prompt.after), draft)

    def _read_frame(
        self, prompt: PromptTokens, patches: Patches, choices: int
    ) -> tuple[KeptPrefix, DynamicCache, torch.Tensor]:
        constant = self._read_constant(prompt.before)
        cache = _copied(constant.cache)
        _, rows, columns = patches.grid_thw
        rows, columns = rows // self._merge, columns // self._merge
        image_ids = (prompt.image_id,) * (rows * columns)
        behind = constant.next_position + max(rows, columns)
        image_at = image_positions(constant.next_position, rows, columns)
        positions = torch.cat([image_at, _text_positions(behind, len(prompt.after))], dim=1)
        grid_thw = torch.tensor([patches.grid_thw])
        ids = (*image_ids, *prompt.after)
        logits = self._forward(ids, positions, cache, choices, pixel_values=patches.pixels, image_grid_thw=grid_thw)
        return KeptPrefix(_copied(cache, len(prompt.before) + len(image_ids)), behind), cache, logits

    def _read_constant(self, ids: tuple[int, ...]) -> KeptPrefix:
        """Read what stands before the image; a template that changes it has it read again."""
        if ids and self._constant[0] != ids:
            cache = DynamicCache()
            self._forward(ids, _text_positions(0, len(ids)), cache, 1)
            self._constant = (ids, KeptPrefix(cache, len(ids)))
        return self._constant[1] if ids else KeptPrefix()

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

    def _keep(self, key: Hashable, pixels: _Pixels, prefix: KeptPrefix) -> None:
        """Keep a frame; those that nobody holds any more, and then those asked about longest ago, make room."""
        self._frames[key] = pixels, prefix
        for gone in [key for key, (pixels, _) in self._frames.items() if pixels() is None]:
            del self._frames[gone]
        while len(self._frames) > MAX_KEPT_FRAMES or self.kept_bytes > MAX_KEPT_BYTES:
            self._frames.popitem(last=False)


def run_decoder(
    model: Any, ids: torch.Tensor, positions: torch.Tensor, cache: DynamicCache, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Run one decoder pass over tokens that follow what is in the cache.

    Args:
        model: A Qwen2.5-VL model of transformers.
        ids: (rows, tokens).
        positions: Their text positions, (rows, tokens). Behind the image, all three axes of the rotary position
            (time, height, width) count on together.
        cache: Grows by the tokens.
        mask: (rows, tokens in the cache and new ones); None when no row is filled up.

    Returns:
        Logits, (rows, tokens, vocabulary) float32.
    """
    seen = model.model.language_model(
        input_ids=ids,
        position_ids=positions.expand(3, -1, -1),
        attention_mask=mask,
        past_key_values=cache,
        use_cache=True,
    )
    logits: torch.Tensor = model.lm_head(seen.last_hidden_state).float()
    return logits


def states_of(cache: DynamicCache) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return keys and values of each layer, (rows, heads, tokens, head size)."""
    layers: Any = cache.layers
    return [(layer.keys, layer.values) for layer in layers]


def _copied(cache: DynamicCache, length: int | None = None) -> DynamicCache:
    """Copy a cache, or its first tokens; the copy shares no memory with it."""
    copy = DynamicCache()
    for index, (keys, values) in enumerate(states_of(cache)):
        copy.update(keys[..., :length, :].clone(), values[..., :length, :].clone(), index)
    return copy


def _key(frame: Frame, model_wh: WH, prompt: PromptTokens) -> Hashable:
    return frame.camera, frame.received_s, frame.header, id(frame.rgb), model_wh, prompt.before


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
