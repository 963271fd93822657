"""Whose turn it is: shares of turns by weight, among those that have something to ask.

Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) with a cost of one per turn: a turn of a
camera with weight w moves its mark on by 1 / w, and the ready camera with the lowest mark is next.
A camera that was away comes back at the mark of the last turn given, so that it neither waits for
what the others had meanwhile nor catches up on what it missed. With equal weights that is a round
of those that are ready; among equal marks the one that was served longest ago goes first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping


class FairQueue:
    """Gives turns to cameras. Not thread-safe."""

    def __init__(self) -> None:
        self._weights: dict[str, float] = {}
        self._marks: dict[str, float] = {}
        self._served: dict[str, int] = {}
        self._last_mark = 0.0
        self._turns = 0

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Use these cameras from now on.

        Args:
            weights: Camera to its positive weight; who stays keeps its place, who is new starts as
                one that comes back.
        """
        self._weights = dict(weights)
        self._marks = {camera: self._marks.get(camera, self._last_mark) for camera in weights}
        self._served = {camera: self._served.get(camera, self._turns) for camera in weights}

    def next(self, ready: Collection[str]) -> str:
        """Choose who is next and count the turn.

        Args:
            ready: Cameras that can use a turn now; at least one.
        """
        chosen = min(ready, key=lambda camera: (self._mark(camera), self._served[camera]))
        self._last_mark = self._mark(chosen)
        self._marks[chosen] = self._last_mark + 1.0 / self._weights[chosen]
        self._turns += 1
        self._served[chosen] = self._turns
        return chosen

    def share(self, camera: str) -> float:
        """Return a camera's weight over the mean of all weights."""
        return self._weights[camera] * len(self._weights) / sum(self._weights.values())

    def _mark(self, camera: str) -> float:
        return max(self._marks[camera], self._last_mark)
