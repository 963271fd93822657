"""Reading a prompt up to the end of its image; what stands behind that is read as the answer's first pass.

A prompt is the same words for every request, then the image, then the instruction. The keys and
values of the words are kept once per model, those of the image for the newest frames, so that a
second prompt about a frame costs its instruction alone; nothing is kept of a clip. A frame is known by its camera and
arrival, and by being the very pixels in memory: no two frames can be mixed up. Nothing here
depends on the chat template but that it writes one image, with text behind it.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from vlm_perception.engines.transformers.clip_positions import clip_positions, image_positions
from vlm_perception.engines.transformers.memory import free_bytes
from vlm_perception.engines.transformers.preprocessor import ClipTokens, Patches, PromptTokens
from vlm_perception.engines.transformers.vision_tower import ImageFeatures, image_features
from vlm_perception.types import WH, Frame

# How many of the newest frames are kept, and in how much of the memory that is free. A 1,024-token frame takes 36 MiB
# in Qwen2.5-VL-3B (bfloat16).
MAX_KEPT_FRAMES = 8
MAX_KEPT_SHARE = 0.125

_Pixels = weakref.ref[NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Prefix:
    """The beginning of a prompt as the model has read it; never changed once made.

    Attributes:
        states: Keys and values of each layer, (1, heads, tokens, head size).
        length: Tokens.
        next_position: Text position of the token behind it.
    """

    states: tuple[tuple[torch.Tensor, torch.Tensor], ...] = ()
    length: int = 0
    next_position: int = 0

    @property
    def nbytes(self) -> int:
        """Memory it takes, bytes."""
        return sum(keys.nbytes + values.nbytes for keys, values in self.states)


class Prefill:
    """Reads prompts with one model and keeps the beginnings that later ones share.

    Args:
        model: As transformers loads it.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._merge = int(model.config.vision_config.spatial_merge_size)
        self._constant: tuple[tuple[int, ...], Prefix] = ((), Prefix())
        self._frames: OrderedDict[Hashable, tuple[_Pixels, Prefix]] = OrderedDict()

    @property
    def kept_frames(self) -> int:
        """How many frames are kept; at most `MAX_KEPT_FRAMES`."""
        return len(self._frames)

    @property
    def kept_bytes(self) -> int:
        """Memory that the kept frames take, bytes; at most `MAX_KEPT_SHARE` of what would be free without them."""
        return sum(prefix.nbytes for _, prefix in list(self._frames.values()))

    def find(self, frame: Frame, model_wh: WH, prompt: PromptTokens) -> Prefix | None:
        """Return what is kept of a frame in the size `model_wh`, for prompts that begin as this one."""
        key = _key(frame, model_wh, prompt)
        pixels, prefix = self._frames.get(key, (None, None))
        if pixels is None or pixels() is not frame.rgb:
            return None
        self._frames.move_to_end(key)
        return prefix

    def read(self, frame: Frame, model_wh: WH, prompt: PromptTokens, patches: Patches) -> Prefix:
        """Read a prompt about a frame up to the end of its image, and keep it.

        Args:
            frame: What the prompt is about.
            model_wh: Size that the frame is brought to, pixels.
            prompt: Its tokens around the image.
            patches: The frame's.
        """
        before = self._read_constant(prompt.before)
        _, rows, columns = patches.grid_thw
        rows, columns = rows // self._merge, columns // self._merge
        features = image_features(self._model, patches.pixels, patches.grid_thw)
        positions = image_positions(before.next_position, rows, columns)
        prefix = self._forward(before, features, positions, before.next_position + max(rows, columns))
        self._keep(_key(frame, model_wh, prompt), frame.rgb, prefix)
        return prefix

    def read_clip(self, prompt: ClipTokens, patches: Patches, ticks: Sequence[int] | None) -> Prefix:
        """Read a prompt about a clip up to the end of its last frame.

        The vision tower sees each grid by itself, in transformers too: no patch attends to one of another grid.

        Args:
            prompt: Its tokens around the grids of frames.
            patches: The clip's.
            ticks: See `clip_positions`.
        """
        grids, rows, columns = patches.grid_thw
        embeddings, seen = self._model.get_input_embeddings(), []
        for words, pixels in zip(prompt.before, patches.pixels.chunk(grids), strict=True):
            if words:
                seen.append(ImageFeatures(embeddings(torch.tensor(words, device=embeddings.weight.device))))
            seen.append(image_features(self._model, pixels, (1, rows, columns)))
        cells = rows // self._merge, columns // self._merge
        positions, behind = clip_positions([len(words) for words in prompt.before], *cells, ticks)
        return self._forward(Prefix(), _joined(seen), positions, behind)

    def _read_constant(self, ids: tuple[int, ...]) -> Prefix:
        """Read what stands before the image; a template that changes it has it read again."""
        if ids and self._constant[0] != ids:
            embeddings = self._model.get_input_embeddings()
            words = embeddings(torch.tensor(ids, device=embeddings.weight.device))
            positions = torch.arange(len(ids)).expand(3, -1)
            self._constant = ids, self._forward(Prefix(), ImageFeatures(words), positions, len(ids))
        return self._constant[1] if ids else Prefix()

    def _forward(self, before: Prefix, seen: ImageFeatures, positions: torch.Tensor, next_position: int) -> Prefix:
        """Run the decoder over more tokens in positions (3, tokens)."""
        tokens, options = seen.tokens, dict[str, Any]()
        if seen.layers:
            image = torch.ones(len(tokens), dtype=torch.bool) if seen.is_image is None else seen.is_image
            options = {"visual_pos_masks": image[None].to(tokens.device), "deepstack_visual_embeds": list(seen.layers)}
        cache = DynamicCache()
        for index, (keys, values) in enumerate(before.states):
            # What is put behind them goes into new memory: they stay as they are.
            cache.update(keys, values, index)
        self._model.model.language_model(
            inputs_embeds=tokens[None],
            position_ids=positions[:, None].to(tokens.device),
            past_key_values=cache,
            use_cache=True,
            **options,
        )
        layers: Any = cache.layers
        states = tuple((layer.keys, layer.values) for layer in layers)
        return Prefix(states, before.length + len(tokens), next_position)

    def _keep(self, key: Hashable, rgb: NDArray[np.uint8], prefix: Prefix) -> None:
        """Keep a frame as long as somebody holds it; those asked about longest ago make room."""
        frames = self._frames

        def let_go(pixels: _Pixels) -> None:
            # Called by whichever thread drops the frame last. Another one may have its key by now.
            if frames.get(key, (None, None))[0] is pixels:
                frames.pop(key, None)

        frames[key] = weakref.ref(rgb, let_go), prefix
        frames.move_to_end(key)
        room = MAX_KEPT_SHARE * (free_bytes(str(self._model.device)) + self.kept_bytes)
        while frames and (len(frames) > MAX_KEPT_FRAMES or self.kept_bytes > room):
            with suppress(KeyError):
                frames.popitem(last=False)


def _joined(seen: Sequence[ImageFeatures]) -> ImageFeatures:
    """Join words and grids, in this order, to what the decoder reads in one pass."""
    tokens = torch.cat([each.tokens for each in seen])
    depth = max(len(each.layers) for each in seen)
    layers = tuple(torch.cat([each.layers[index] for each in seen if each.layers]) for index in range(depth))
    return ImageFeatures(
        tokens, layers, torch.cat([torch.full((len(each.tokens),), bool(each.layers)) for each in seen])
    )


def _key(frame: Frame, model_wh: WH, prompt: PromptTokens) -> Hashable:
    return frame.camera, frame.received_s, frame.header, id(frame.rgb), model_wh, prompt.before
