"""How many pixels the model may see after its memory ran out, and the way back. No ROS, no model.

Other processes come and go, so too little memory now is no reason to see less for ever: after some
good answers the area doubles, until it is what was asked for. Where that fails again, it takes
twice as many good answers before the next try, so that a limit that is there to stay costs little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vlm_perception.settings import SMALLEST_AREA_PX
from vlm_perception.types import PixelBudget

FIRST_PATIENCE = 16
MOST_PATIENCE = 1024

AreaOf = Callable[[PixelBudget], int]


@dataclass(frozen=True, slots=True)
class PixelLimit:
    """A limit that is in force.

    Attributes:
        max_pixels: The largest area that the model may see, pixels.
        instead_of: The largest area that did not fit into memory, pixels.
    """

    max_pixels: int
    instead_of: int


class MemoryBackoff:
    """Holds the lowered area. Changed by one thread at a time; `lowered` and `fit` may be used by any."""

    def __init__(self) -> None:
        # Replaced as a whole, so that other threads see one state or the other.
        self._lowered: PixelLimit | None = None
        self._good, self._patience, self._is_trying = 0, FIRST_PATIENCE, False

    @property
    def lowered(self) -> PixelLimit | None:
        """The limit in force; None when there is none."""
        return self._lowered

    @property
    def patience(self) -> int:
        """How many good answers it takes before more is tried."""
        return self._patience

    def fit(self, asked: PixelBudget) -> PixelBudget:
        """Return what may be seen of the areas that are asked for; never more than these."""
        lowered = self._lowered
        return asked if lowered is None else _cut(asked, lowered.max_pixels)

    def lower(self, asked: PixelBudget, area_of: AreaOf) -> PixelBudget | None:
        """Memory ran out: allow half of what the model saw.

        Args:
            asked: The areas of the settings, without any relief.
            area_of: Tells how many pixels of the frame the model sees with a budget.

        Returns:
            The budget in force from now on, or None when there is nothing to gain: the frame cannot
            be shown any smaller, because of its shape or the smallest area that the checkpoint takes.
        """
        if self._is_trying:
            self._patience = min(2 * self._patience, MOST_PATIENCE)
        self._good, self._is_trying = 0, False
        seen_px = area_of(self.fit(asked))
        limit_px = max(seen_px // 2, SMALLEST_AREA_PX)
        smaller = _cut(asked, limit_px)
        # A checkpoint goes its own way with a budget it does not take, and may show more than before.
        if limit_px >= seen_px or area_of(smaller) > limit_px:
            return None
        did_not_fit_px = max(seen_px, self._lowered.instead_of if self._lowered else 0)
        self._lowered = PixelLimit(limit_px, did_not_fit_px)
        return smaller

    def note_good_answer(self) -> bool:
        """An answer fitted into memory.

        Returns:
            Whether more pixels may be seen from now on.
        """
        self._good += 1
        if self._good < self._patience:
            return False
        self._good = 0
        if self._lowered is None:
            # What was tried has held for as long as it took to dare it.
            self._patience, self._is_trying = FIRST_PATIENCE, False
            return False
        more_px, goal_px = 2 * self._lowered.max_pixels, self._lowered.instead_of
        self._lowered = None if more_px >= goal_px else PixelLimit(more_px, goal_px)
        self._is_trying = True
        return True


def _cut(budget: PixelBudget, limit_px: int) -> PixelBudget:
    if budget.max_pixels <= limit_px:
        return budget
    # An image that is enlarged is rounded up, so the minimum stays well below the limit.
    lowest_px = max(SMALLEST_AREA_PX, limit_px // 2)
    return PixelBudget(min(budget.min_pixels, lowest_px), limit_px)
