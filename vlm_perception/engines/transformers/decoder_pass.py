"""One decoder pass, always of one shape: so many tokens, of one reply or shared out among several.

Sums of floating-point numbers round by the order in which they are made, and that follows from the
shapes of a product, not from what is in it. So each token is computed to the same last bit in
whichever pass, row and company it is read: alone, drafted, in a batch, behind a kept beginning.
Rows that nobody needs are filled up and forgotten. On a GPU, where a pass waits for the weights,
they cost next to nothing.

The rows lie in lanes, each of which belongs to one reply and is a sequence of a batch for the
model; attention is computed lane by lane, over a bucket of places that follows from the tokens'
own places alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from vlm_perception.engines.transformers.cuda_graphs import Record, RecordedPasses, RunPass
from vlm_perception.engines.transformers.decoder_cache import DecoderCache
from vlm_perception.engines.transformers.prefill import Prefix

LANES = 8
ATTENTION = "vlm_perception_lanes"

# A token id, and the natural log-probability that the model gives it.
Choice = tuple[int, float]


@dataclass(frozen=True, slots=True)
class PassShape:
    """The shape of all passes on one kind of device.

    Attributes:
        rows: Tokens of a pass, some for each of `LANES`.
        bucket: A token sees a multiple of so many places, the fewest that hold its own.
    """

    rows: int
    bucket: int

    @property
    def lane_rows(self) -> int:
        """Tokens of a lane."""
        return self.rows // LANES

    def bucket_of(self, place: int) -> int:
        """Return how many places a token at `place` sees; those behind it are masked."""
        return self.bucket * (place // self.bucket + 1)


# A pass of the tiny model on two cores takes 1.2 times as long over 32 rows as over 16, and 1.25 times over 1,024
# places as over 256 (`python -m benchmarks.pass_cost`); few drafts fill more than 16. A GPU waits for the weights,
# whatever the rows, and has a graph for each bucket.
CPU_SHAPE = PassShape(16, 256)
GPU_SHAPE = PassShape(32, 1024)


@dataclass(frozen=True, slots=True)
class PassToken:
    """What one row of a pass reads.

    Attributes:
        id: Token id.
        place: Its place in the cache, counted from the start of its prompt.
        position: Its text position; behind the image, all three axes of the rotary position (time, height, width)
            count on together.
        slot: The reply's place in the cache.
    """

    id: int
    place: int
    position: int
    slot: int


class Decoder:
    """Reads tokens with one model, behind the beginnings of prompts that were loaded.

    Args:
        model: As transformers loads it; one whose layers all attend.
        record: How passes are recorded, such as `RecordOnCuda`; None runs each one from the beginning.
    """

    def __init__(self, model: Any, record: Record | None = None) -> None:
        model.model.language_model.set_attn_implementation(ATTENTION)
        self._cache = DecoderCache()
        self.shape = CPU_SHAPE if model.device.type == "cpu" else GPU_SHAPE
        self.vocabulary_size = int(model.get_input_embeddings().num_embeddings)
        self._device = model.device
        run = partial(run_pass, model, self._cache)
        rows = torch.zeros(4, self.shape.rows, dtype=torch.int64, device=self._device)
        self._recorded = RecordedPasses(run, record, rows) if record else None
        self._run: RunPass = self._recorded or run

    def load(self, slot: int, prefix: Prefix) -> None:
        """Let the reply in `slot` go on behind this prefix."""
        self._note(self._cache.load(slot, prefix))

    @torch.inference_mode()
    def read(self, tokens: Sequence[PassToken]) -> list[Choice]:
        """Run one pass.

        Args:
            tokens: As many as the shape has rows, lane by lane. All see the bucket of the first one.

        Returns:
            What the model chooses behind each token.
        """
        bucket, slots = self.shape.bucket_of(tokens[0].place), 1 + max(token.slot for token in tokens)
        # Rows that only fill up a pass are written behind the bucket.
        self._note(self._cache.reserve(slots, bucket + self.shape.rows))
        rows = torch.tensor([[token.id, token.place, token.position, token.slot] for token in tokens]).T.contiguous()
        # One copy to the device and one back: each waits for all that the device has to do.
        choices, logprobs = self._run(rows.to(self._device), bucket, slots == 1).tolist()
        return [(int(choice), logprob) for choice, logprob in zip(choices, logprobs, strict=True)]

    def _note(self, moved: bool) -> None:
        if moved and self._recorded:
            self._recorded.forget()


def run_pass(model: Any, cache: DecoderCache, rows: torch.Tensor, bucket: int, alone: bool) -> torch.Tensor:
    """Run the decoder, its head and the choice. Nothing here waits for the device.

    Args:
        model: As in `Decoder`.
        cache: Keys and values.
        rows: (4, rows) int64: id, place, position and slot, as in `PassToken`.
        bucket: How many places all of them see.
        alone: Whether all rows belong to slot 0.

    Returns:
        (2, rows) float32: the model's choice behind each row, and its natural log-probability.
    """
    text, count = model.model.language_model, rows.shape[1]
    ids, places, positions, slots = rows.view(4, LANES, count // LANES)
    mask, kinds = _mask(model, places, bucket), getattr(text.config, "layer_types", None)
    seen = text(
        input_ids=ids,
        position_ids=positions.expand(3, -1, -1),
        attention_mask=dict.fromkeys(set(kinds), mask) if kinds else mask,
        past_key_values=_Lanes(cache, (places + slots * cache.length).flatten(), slots[:, 0], bucket, alone),
        use_cache=True,
    )
    logits = model.lm_head(seen.last_hidden_state.reshape(count, -1)).float()
    choices = logits.argmax(-1)
    logprobs = logits.gather(-1, choices[:, None])[:, 0] - logits.logsumexp(-1)
    # Ids below 2**24 are exact in float32.
    return torch.stack([choices.float(), logprobs])


def _mask(model: Any, places: torch.Tensor, bucket: int) -> torch.Tensor:
    """Hide what is behind each row: (lanes, 1, query heads of a key head * rows, bucket), added to the scores."""
    text = model.model.language_model.config
    behind = torch.arange(bucket, device=places.device) > places[..., None]
    mask = torch.zeros(behind.shape, dtype=model.dtype, device=places.device).masked_fill_(behind, float("-inf"))
    return mask.repeat(1, text.num_attention_heads // text.num_key_value_heads, 1)[:, None]


@dataclass(frozen=True, slots=True)
class _Lanes:
    """What transformers takes for a cache in one pass.

    Attributes:
        cache: Where the replies are.
        places: (rows,), counted over all slots.
        slots: (LANES,), whose reply each lane belongs to.
        bucket: How many places are seen.
        alone: Whether all lanes belong to slot 0, so that nothing has to be gathered.
    """

    cache: DecoderCache
    places: torch.Tensor
    slots: torch.Tensor
    bucket: int
    alone: bool

    def get_seq_length(self) -> int:
        """Return nothing of use: transformers 5.0 counts on from it, though positions are given."""
        return 0

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: object) -> list[torch.Tensor]:
        """Write keys and values, (LANES, heads, rows of a lane, size); return what each lane sees of them."""
        flat = [states.transpose(0, 1).flatten(1, 2) for states in (keys, values)]
        # With a model over several devices each layer has its own.
        written = self.cache.write(layer, self.places.to(keys.device), flat)
        seen = [states[:, :, : self.bucket] for states in written]
        if self.alone:
            return [states[:, 0].expand(LANES, -1, -1, -1) for states in seen]
        slots = self.slots.to(keys.device)
        return [states.index_select(1, slots).transpose(0, 1) for states in seen]


def attend_in_lanes(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Compute attention for transformers: of a decoder pass by its own mask, of everything else as `sdpa` does.

    Query heads that share a key head become more rows of it, as in the mask, so that no key is copied for them.
    """
    lanes, heads, rows, size = query.shape
    if attention_mask is None or attention_mask.shape[2] == rows:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
    packed = query.reshape(lanes, key.shape[1], -1, size)
    found = scaled_dot_product_attention(packed, key, value, attn_mask=attention_mask, scale=scaling)
    return found.reshape(lanes, heads, rows, size).transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, attend_in_lanes)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
