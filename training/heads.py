"""Dense heads that exist only while training, and the losses they give.

A small decoder learns *what* within minutes and *where* very late, because it reads absolute
pixels through relative rotary positions. The heads ask every image token directly: after the
vision tower, what covers you, how far are its edges, what is written in your halves and how far are
that text's edges; after the first decoder layer, in which row and column do you stand; after the
third, of which colour and kind together is what covers you ("red cart; blue face" must not find a
red face), what are the coordinates of both boxes as the reply writes them, what is still known of
letters and motion, in which pair of a clip's frames are you, and does what covers you begin to move
there or has it stopped. Then the decoder only has to attend and copy, and the pointer loss shows it
where to: one attention head in each of two layers is asked to look at the centre of the object that
is being written or named or, where it is decided whether another follows, of the next one or at a
null token; of a clip, at the object at the time that is being written. What a question names is looked
for from a layer earlier on, so that the reply can ask the question's tokens what they found. None of the
heads is saved with the checkpoint.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as fn
from torchvision.ops import generalized_box_iou_loss

from training.dense_targets import HAS_STOPPED, MAX_RANK, DenseTargets
from training.families import TinyFamily
from training.forward import Batch, Hidden, first_head, norm
from training.loss_weights import WEIGHTS
from vlm_perception.scenes.clips import DIRECTIONS
from vlm_perception.scenes.spec import LETTERS

KIND_CLASSES, COLOUR_CLASSES, RANK_CLASSES, GRID_CLASSES = 7, 8, MAX_RANK + 1, 16
# Pairs of frames of the longest clip.
TIME_CLASSES = 8
LETTER_CLASSES, MOTION_CLASSES, PHASE_CLASSES = len(LETTERS) + 1, len(DIRECTIONS) + 1, HAS_STOPPED + 1
GIOU_WEIGHT = 1.5
POSITION_LAYER, PLACE_LAYER = 0, 2
# Not earlier: "the circle left of the blue square" is looked for in two steps.
REPLY_POINTER_LAYERS = (4, 5)
QUESTION_POINTER_LAYERS = (3, 4)


class DenseHeads(nn.Module):
    """Linear heads on the hidden states of the image tokens.

    Args:
        width: Width of the decoder.
        family: Which family is trained.
    """

    def __init__(self, width: int, family: TinyFamily) -> None:
        super().__init__()
        self._family = family
        self.vision = nn.Linear(width, KIND_CLASSES + COLOUR_CLASSES + 2 + 4 + 2 * LETTER_CLASSES + MOTION_CLASSES)
        self.position = nn.Linear(width, 2 * GRID_CLASSES)
        self.place = nn.Linear(width, KIND_CLASSES + COLOUR_CLASSES + RANK_CLASSES + 4 + 4 * family.bins)
        self.time = nn.Linear(width, TIME_CLASSES)
        self.kept = nn.Linear(width, 2 * LETTER_CLASSES + MOTION_CLASSES + PHASE_CLASSES)
        self.text_edges = nn.Linear(width, 4)
        self.text_place = nn.Linear(width, 4 + 4 * family.bins)
        self.label = nn.Linear(width, KIND_CLASSES * COLOUR_CLASSES)

    def forward(self, hidden: Hidden, batch: Batch, dense: DenseTargets, image_token: int) -> tuple[Tensor, ...]:
        """Losses of the three heads: vision, position, place."""
        at_image = batch.input_ids == image_token
        scenes, tokens = dense.kind.shape
        at = [layer[at_image].view(scenes, tokens, -1) for layer in hidden.layers[: PLACE_LAYER + 1]]
        rows, columns = _grid(batch, hidden.vision.device)
        middle = torch.stack([columns, rows, columns, rows], dim=-1).float() + 0.5
        return (
            self._vision_loss(hidden.vision, dense, middle),
            self._position_loss(at[POSITION_LAYER], rows, columns),
            self._place_loss(at[PLACE_LAYER], dense)
            + self._time_loss(at[PLACE_LAYER], batch.grid_t)
            + self._kept_loss(at[PLACE_LAYER], dense),
        )

    def _vision_loss(self, vision: Tensor, dense: DenseTargets, middle: Tensor) -> Tensor:
        """Edges are told from the middle of the token, in tokens; `middle` has it twice, as a box."""
        sizes = [KIND_CLASSES, COLOUR_CLASSES, 2, 4, 2 * LETTER_CLASSES, MOTION_CLASSES]
        kind, colour, flags, edges, letters, motion = self.vision(vision).float().split(sizes, dim=-1)
        there, is_text = dense.kind > 0, dense.text_xyxy[..., 2] > 0
        cell_px = self._family.family.cell_px
        wanted, wanted_text = dense.xyxy / cell_px - middle, dense.text_xyxy[is_text] / cell_px - middle[is_text]
        told, text_edges = _told(dense), self.text_edges(vision[is_text]).float()
        flag_targets = torch.stack([dense.striped, dense.is_centre], dim=-1)
        return (
            2.0 * _classes(kind, dense.kind)
            + 2.0 * _classes(colour, dense.colour)
            + fn.binary_cross_entropy_with_logits(flags, flag_targets)
            + _box_loss(edges[there], wanted[there], told[there], scale=1.5, beta=0.05)
            + _rare(letters.unflatten(-1, (2, LETTER_CLASSES)), dense.letters)
            + _box_loss(text_edges, wanted_text, torch.ones_like(wanted_text[:, 0]), scale=1.5, beta=0.05)
            + _rare(motion, dense.motion)
        )

    def _position_loss(self, hidden: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        row, column = self.position(hidden).float().split(GRID_CLASSES, dim=-1)
        return _classes(row, rows) + _classes(column, columns)

    def _time_loss(self, hidden: Tensor, pairs: int) -> Tensor:
        if pairs == 1:
            return hidden.new_zeros((), dtype=torch.float32)
        times = self.time(hidden).float().unflatten(1, (pairs, -1))
        return _classes(times, torch.arange(pairs, device=hidden.device).view(1, -1, 1).expand(times.shape[:-1]))

    def _kept_loss(self, hidden: Tensor, dense: DenseTargets) -> Tensor:
        sizes = [2 * LETTER_CLASSES, MOTION_CLASSES, PHASE_CLASSES]
        letters, motion, phase = self.kept(hidden).float().split(sizes, dim=-1)
        by_half = letters.unflatten(-1, (2, LETTER_CLASSES))
        return 2.0 * _rare(by_half, dense.letters) + _rare(motion, dense.motion) + _rare(phase, dense.phase)

    def _place_loss(self, hidden: Tensor, dense: DenseTargets) -> Tensor:
        count = self._family.bins
        kind, colour, rank, edges, bins = (
            self.place(hidden).float().split([KIND_CLASSES, COLOUR_CLASSES, RANK_CLASSES, 4, 4 * count], dim=-1)
        )
        there, is_text = dense.kind > 0, dense.text_written[..., 2] > 0
        text_edges, text_bins = self.text_place(hidden[is_text]).float().split([4, 4 * count], dim=-1)
        written_text = dense.text_written[is_text]
        return (
            _classes(kind, dense.kind)
            + _classes(colour, dense.colour)
            + _classes(self.label(hidden).float(), dense.kind * COLOUR_CLASSES + dense.colour)
            + 0.5 * _classes(rank, dense.rank)
            + self._written_loss(edges[there], bins[there], dense.written[there], _told(dense)[there])
            + self._written_loss(text_edges, text_bins, written_text, torch.ones_like(written_text[:, 0]))
        )

    def _written_loss(self, edges: Tensor, bins: Tensor, written: Tensor, told: Tensor) -> Tensor:
        """A box in a reply's coordinates, as numbers and as the digits' bins."""
        size, count = self._family.bin_size, self._family.bins
        bin_targets = (written / size).long().clamp(0, count - 1)
        by_bin = fn.cross_entropy(bins.reshape(-1, count), bin_targets.flatten(), reduction="none").view(-1, 4)
        return _box_loss(edges, written / (25 * size), told, scale=6.0, beta=0.01) + _weighted(by_bin.mean(-1), told)


def next_token_losses(hidden: Hidden, batch: Batch, embedding: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted next-token loss, and the plain loss on digits alone (for the log)."""
    asked = batch.labels >= 0
    logits = fn.linear(hidden.last[asked], embedding.to(hidden.last.dtype)).float()
    each = fn.cross_entropy(logits, batch.labels[asked], reduction="none")
    weights = batch.weights[asked]
    digits = weights == WEIGHTS["coordinate"]
    # A clip has none.
    plain = each[digits].sum() / digits.sum().clamp(min=1)
    return (each * weights).sum() / weights.sum(), plain.detach()


def pointer_loss(layers: nn.ModuleList, hidden: Hidden, batch: Batch, seen_token: int, null_token: int) -> Tensor:
    """Cross-entropy of the first head's attention over image and null token, against `batch.pointers`.

    The null token is the one that ends the image; it is looked at where nothing (more) fits the
    question. So "red square" must score above it for the red square and below it for a red circle.
    """
    scenes = batch.input_ids.shape[0]
    # In the sequence the null token comes right behind the image tokens; of clips of Qwen3-VL one behind each pair.
    at_image = (batch.input_ids == seen_token) | (batch.input_ids == null_token)
    points, in_reply = batch.pointers >= 0, batch.labels >= 0
    cos, sin = hidden.rotary
    total = hidden.last.new_zeros((), dtype=torch.float32)
    for index in range(QUESTION_POINTER_LAYERS[0], REPLY_POINTER_LAYERS[-1] + 1):
        attn = layers[index].self_attn
        query, key = first_head(attn, norm(layers[index].input_layernorm, hidden.layers[index - 1]), cos, sin)
        seen = key[at_image].view(scenes, -1, attn.head_dim)
        scores = (query @ seen.transpose(1, 2)).float() * attn.head_dim**-0.5
        # Apart: a question's few looks would not count beside the many of its reply.
        for own, its_layers in ((~in_reply, QUESTION_POINTER_LAYERS), (in_reply, REPLY_POINTER_LAYERS)):
            asked = points & own
            if index in its_layers and asked.any():
                total = total + fn.cross_entropy(scores[asked], batch.pointers[asked])
    return total


def _told(dense: DenseTargets) -> Tensor:
    """Weight of each token's box: a reply is read from the one at the centre, and a small thing has few others."""
    return 0.3 + 3.0 * dense.is_centre


def _box_loss(found: Tensor, wanted: Tensor, told: Tensor, *, scale: float, beta: float) -> Tensor:
    """Distance of the edges, times `scale`, and GIoU, by which small and flat things have to be met closer.

    Source: N. Carion et al., "End-to-End Object Detection with Transformers" (2020).
    """
    distance = fn.smooth_l1_loss(found, wanted, beta=beta, reduction="none").mean(-1)
    # An untrained head's edges may be the wrong way round.
    corners = found[:, :2], found[:, 2:]
    ordered = torch.cat([torch.minimum(*corners), torch.maximum(*corners)], dim=-1)
    overlap = generalized_box_iou_loss(ordered, wanted)
    return scale * _weighted(distance, told) + GIOU_WEIGHT * _weighted(overlap, told)


def _weighted(each: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean; of nothing, where all scenes are empty, it is none."""
    return (each * weights).sum() / weights.sum().clamp(min=1)


def _rare(logits: Tensor, targets: Tensor) -> Tensor:
    """Classes of which nearly all are 0: the few others count as much as these together."""
    each = fn.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none")
    there = (targets.flatten() > 0).float()
    return (each * there).sum() / there.sum().clamp(min=1) + (each * (1 - there)).sum() / (1 - there).sum().clamp(min=1)


def _classes(logits: Tensor, targets: Tensor) -> Tensor:
    return fn.cross_entropy(logits.flatten(0, -2), targets.flatten())


def _grid(batch: Batch, device: torch.device) -> tuple[Tensor, Tensor]:
    """Row and column of every image token, (scenes, tokens)."""
    down, across = batch.grid_hw[0] // 2, batch.grid_hw[1] // 2
    index = torch.arange(down * across, device=device).repeat(batch.grid_t).expand(len(batch.input_ids), -1)
    return index // across, index % across
