"""Clips, drawn anew for each step that learns from them: what happens in a few thousand is soon learned by heart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.families import TinyFamily, View
from training.scenes import drawn_view, resized
from training.watching import STEP_S
from vlm_perception.scenes import Truth
from vlm_perception.scenes.clips import DrawnClip, Happening

_SIZES = ((448, 336), (320, 240), (504, 280), (392, 392))
# Few lengths, because each is compiled by itself.
_FRAMES = (4, 8, 12, 16)


@dataclass(frozen=True, slots=True)
class Clips:
    """Some clips of one size and length.

    Attributes:
        pixels: (clips, frames, h, w, 3) uint8, as the model sees them.
        view: How it sees a frame.
        truths: Of each clip and each pair of frames, what is in the later one, in image pixels: what comes is seen in
            it.
        happenings: What happens in each clip.
        still: Labels of what stays where it is, of each clip.
    """

    pixels: NDArray[np.uint8]
    view: View
    truths: list[list[list[Truth]]]
    happenings: list[tuple[Happening, ...]]
    still: list[list[str]]


def draw_clips(rng: np.random.Generator, count: int, family: TinyFamily) -> Clips:
    """Draw `count` clips, their frames as large as the node shows them with its own settings, or smaller."""
    image_wh = _SIZES[int(rng.integers(len(_SIZES)))]
    view, frames = drawn_view(rng, image_wh, family), int(rng.choice(_FRAMES))
    clips = [DrawnClip(rng, image_wh, (frames - 1) * STEP_S) for _ in range(count)]
    drawn = [[clip.at(frame * STEP_S) for frame in range(frames)] for clip in clips]
    return Clips(
        np.array([[resized(scene.rgb, view.model_wh) for scene in scenes] for scenes in drawn]),
        view,
        [[list(scene.truths) for scene in scenes[1::2]] for scenes in drawn],
        [clip.happenings for clip in clips],
        [clip.still for clip in clips],
    )
