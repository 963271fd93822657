"""Which remembered things a name means: that of a find, an asked phrase, or a user's words."""

from __future__ import annotations

from collections.abc import Sequence

from vlm_perception.types import Prompt
from vlm_perception.words import is_a, same_name, words_of
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
    """Find what a user means.

    Args:
        things: All that is remembered.
        words: Such as "the red cups".

    Returns:
        Things that are called so, by their label or the phrase that found them, or of which the name says more, in
        their order. Where there is none, those with all of the words in their name ("red" for a red cup), or with none
        that was not said (a cup, for "red cup").
    """
    # Each name once: a thousand things have few different ones.
    names = {name for thing in things for name in (thing.label, thing.phrase)}
    meant = {name for name in names if is_a(name, words)} or {name for name in names if _one_in_the_other(name, words)}
    return tuple(thing for thing in things if thing.label in meant or thing.phrase in meant)


def none_called(things: Sequence[RememberedObject], words: str) -> str:
    """Say that nothing is called so, and what is remembered instead."""
    labels = tuple(dict.fromkeys(thing.label for thing in things))
    if not labels:
        return f"nothing called {words!r} is remembered, nor anything else"
    others = ", ".join(labels[:_TOLD]) + (", ..." if len(labels) > _TOLD else "")
    return f"nothing called {words!r} is remembered; {len(things)} other things are: {others}"


def _names(label: str, phrase: str) -> tuple[str, ...]:
    """Return what a thing is called; the phrase counts where the label says something else of it."""
    return (label,) if not phrase or is_a(label, phrase) or is_a(phrase, label) else (label, phrase)


def _one_in_the_other(name: str, words: str) -> bool:
    said, asked = words_of(name), words_of(words)
    if said.han and asked.han:
        return said.han in asked.han or asked.han in said.han
    shared = said.words & asked.words
    return bool(shared) and shared in (said.words, asked.words)
