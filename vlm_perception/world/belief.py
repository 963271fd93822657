"""How sure it is that a remembered thing is still where it was: 0 to 1.

It starts at the score of the answer, rises with each sighting by a share of what is missing to 1, and falls by a factor
each time that the thing was asked for, its place in view, and nothing found. A thing whose belief has fallen below the
floor is forgotten: one that was seen often after 5 such glances in a row, one that was seen once after 3 or 4.
"""

from __future__ import annotations

FORGOTTEN_BELOW = 0.1

_UNKNOWN_SCORE = 0.5
# An unsure find is one nevertheless: it takes two glances without it to forget it.
_LEAST, _MOST = 0.25, 0.99
_GAIN = 0.5
_LOSS = 0.6


def first_belief(score: float | None) -> float:
    """Return the belief after the first sighting."""
    return min(max(_worth(score), _LEAST), _MOST)


def belief_after_sighting(belief: float, score: float | None) -> float:
    """Return the belief after one more sighting."""
    return max(first_belief(score), min(belief + _GAIN * _worth(score) * (1.0 - belief), _MOST))


def belief_after_miss(belief: float) -> float:
    """Return the belief after the thing was not found where it was."""
    return _LOSS * belief


def _worth(score: float | None) -> float:
    return _UNKNOWN_SCORE if score is None else score
