"""Keys and values of the replies that are being written, at places that do not move.

A cache that grows by what a pass has read gives attention another shape each time, and with it
another rounding. Here a pass always sees a whole bucket of places, whatever of it is written so
far; the rest is masked. Going back is nothing but writing the same places again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from vlm_perception.engines.transformers.prefill import Prefix


class DecoderCache:
    """Room for the keys and values of several replies, one slot each; grows, and never shrinks."""

    def __init__(self) -> None:
        self._slots, self._length = 0, 0
        # Of each layer: keys and values, (heads, slots * places, head size).
        self._states: list[list[torch.Tensor]] = []

    @property
    def length(self) -> int:
        """Places of a slot."""
        return self._length

    def load(self, slot: int, prefix: Prefix) -> bool:
        """Copy a prompt's beginning to the first places of a slot. Returns whether anything else has moved."""
        if not self._states:
            self._states = [[_room_for(states) for states in layer] for layer in prefix.states]
        moved = self.reserve(slot + 1, prefix.length)
        start = slot * self._length
        for own, given in zip(self._states, prefix.states, strict=True):
            for to, states in zip(own, given, strict=True):
                to[:, start : start + prefix.length].copy_(states[0])
        return moved

    def reserve(self, slots: int, length: int) -> bool:
        """Make room for so many slots of so many places; what is there stays. Returns whether anything has moved."""
        slots, length = max(slots, self._slots), max(length, self._length)
        if (slots, length) == (self._slots, self._length):
            return False
        for layer in self._states:
            # One after the other, so that no more than one exists twice.
            for index, states in enumerate(layer):
                layer[index] = self._moved(states, slots, length)
        self._slots, self._length = slots, length
        return True

    def write(self, layer: int, places: torch.Tensor, states: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Write keys and values, (heads, rows, head size) each, to places (rows,) counted over all slots; return all.

        Returns:
            All keys and values of the layer, (heads, slots, places, head size).
        """
        found = []
        for own, given in zip(self._states[layer], states, strict=True):
            own.index_copy_(1, places, given)
            found.append(own.view(own.shape[0], self._slots, self._length, own.shape[2]))
        return found

    def _moved(self, states: torch.Tensor, slots: int, length: int) -> torch.Tensor:
        heads, _, size = states.shape
        # Zeros: a masked place counts nothing times what is in it, which must be a number.
        room = states.new_zeros(heads, slots, length, size)
        if self._slots:
            room[:, : self._slots, : self._length] = states.view(heads, self._slots, self._length, size)
        return room.view(heads, slots * length, size)


def _room_for(states: Any) -> torch.Tensor:
    """Make an empty tensor, (heads, 0, head size), as the states (1, heads, tokens, head size) are."""
    empty: torch.Tensor = states.new_empty(states.shape[1], 0, states.shape[3])
    return empty
