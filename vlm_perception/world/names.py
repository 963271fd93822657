"""Which remembered things a name means: that of a find, an asked phrase, or a user's words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vlm_perception.prompts.words import is_a, may_be_a, same_name, share_a_word
from vlm_perception.types import Prompt
from vlm_perception.world.remembered import RememberedObject

SAME, ALIKE, OTHER = 1.0, 0.5, 0.0
_TOLD = 10


def phrase_of(label: str, prompt: Prompt) -> str:
    """Return what of a prompt a find answers; empty where nobody knows."""
    if len(prompt.targets) == 1:
        return prompt.targets[0]
    # Where several were asked, the label is the phrase already: replies/labels.py.
    return label if label in prompt.targets else ""


def likeness(known: RememberedObject, label: str, phrase: str) -> float:
    """Tell whether a find may be a thing that is remembered, by their names.

    Args:
        known: The thing.
        label: The find's name.
        phrase: What was asked for when it was found.

    Returns:
        `SAME`: the same label. `ALIKE`: one label says more of the same thing ("red cup", "cup"), or one found was
        called by the phrase that asked for the other ("mug", where a "cup" was looked for). `OTHER`: anything else; one
        phrase alone does not make two things one, because "all objects" asks for many.
    """
    if same_name(known.label, label):
        return SAME
    mine, theirs = _names(known.label, known.phrase), _names(label, phrase)
    pairs = ((mine[0], theirs[0]), *((mine[0], name) for name in theirs[1:]), *((name, theirs[0]) for name in mine[1:]))
    return ALIKE if any(is_a(one, other) or is_a(other, one) for one, other in pairs) else OTHER


def asked_for(thing: RememberedObject, prompt: Prompt) -> bool:
    """Whether a prompt that finds nothing where the thing was says that it is gone."""
    return any(is_a(thing.label, target) or same_name(thing.phrase, target) for target in prompt.targets)


def called(things: Sequence[RememberedObject], words: str) -> tuple[RememberedObject, ...]:
    """Find what a user names.

    Args:
        things: All that is remembered.
        words: Such as "the red cups".

    Returns:
        Things that are called so, by their label or the phrase that found them, or of which the name says more, in
        their order. Nothing is guessed, so that they may be forgotten.
    """
    return _named(things, lambda name: is_a(name, words))


def perhaps_called(things: Sequence[RememberedObject], words: str) -> tuple[RememberedObject, ...]:
    """Find what a user may mean where nothing is called so: a cup for "red cup", a red cup for "red"."""
    return _named(things, lambda name: may_be_a(name, words))


def none_called(things: Sequence[RememberedObject], words: str) -> str:
    """Say that nothing is called so, and what is remembered instead, what has a word in common first."""
    labels = dict.fromkeys(thing.label for thing in things)
    if not labels:
        return f"nothing called {words!r} is remembered, nor anything else"
    near = dict.fromkeys(thing.label for thing in _named(things, lambda name: share_a_word(name, words)))
    told = list(near | labels)
    others = ", ".join(told[:_TOLD]) + (", ..." if len(told) > _TOLD else "")
    return f"nothing called {words!r} is remembered; {len(things)} other things are: {others}"


def _named(things: Sequence[RememberedObject], fits: Callable[[str], bool]) -> tuple[RememberedObject, ...]:
    # Each name once: a thousand things have few different ones.
    names = {name for thing in things for name in (thing.label, thing.phrase)}
    meant = {name for name in names if fits(name)}
    return tuple(thing for thing in things if thing.label in meant or thing.phrase in meant)


def _names(label: str, phrase: str) -> tuple[str, ...]:
    """Return what a thing is called; the phrase counts where the label says something else of it."""
    return (label,) if not phrase or is_a(label, phrase) or is_a(phrase, label) else (label, phrase)
