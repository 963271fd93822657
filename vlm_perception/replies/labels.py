"""Which asked phrase an object answers: "cup; person" is asked, "Cups" is said, "cup" is published.

A client that asked for several things looks for its own words in `class_id`, not for the model's
variations of them. With one thing asked there is nothing to tell apart, and the model's label may
say more than the phrase, so it stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vlm_perception.prompts.words import Words, folded, words_of
from vlm_perception.types import DetectedObject, Prompt

MODEL_LABEL = "model_label"


def name_objects(objects: Sequence[DetectedObject], prompt: Prompt) -> tuple[DetectedObject, ...]:
    """Label objects with the phrases that were asked for.

    Args:
        objects: As the model named them.
        prompt: What was asked.

    Returns:
        The objects in their order. With several targets a label becomes the phrase it matches (see
        `matching_phrase`), and where that changes it, the model's own wording is kept in the
        attribute `model_label`. An empty label becomes the asked phrase, or the whole prompt where
        none was told apart; where several were asked nobody knows which it is, and it stays empty.
    """
    several = len(prompt.targets) > 1
    asked = "" if several else (*prompt.targets, prompt.text)[0]
    # Each label once: a crowd of a thousand has few different names.
    meant = {label: matching_phrase(label, prompt.targets) for label in {o.label for o in objects}} if several else {}
    named = []
    for found in objects:
        phrase = meant.get(found.label)
        if not found.label:
            named.append(replace(found, label=asked))
        elif phrase is not None and phrase != found.label:
            named.append(replace(found, label=phrase, attributes={**found.attributes, MODEL_LABEL: found.label}))
        else:
            named.append(found)
    return tuple(named)


def matching_phrase(label: str, phrases: Sequence[str]) -> str | None:
    """Find the asked phrase that a label means.

    The first of these that fits exactly one phrase (or, for the first two, the first phrase): the
    same text; the same text but for case; the same words but for articles and plurals; one inside
    the other ("person" and "the person in red"), most shared words first; the same thing with more
    than half of the words shared ("black door handle" and "steel door handle").

    Args:
        label: What the model said.
        phrases: What was asked for.

    Returns:
        One of `phrases`, or None when none or several fit.
    """
    for phrase in phrases:
        if phrase == label:
            return phrase
    for phrase in phrases:
        if folded(phrase) == folded(label):
            return phrase
    said = words_of(label)
    asked = [(phrase, words_of(phrase)) for phrase in phrases]
    if not said.words:
        return None
    for fit in (_same, _contained, _overlapping):
        ranked = sorted(((fit(said, words), phrase) for phrase, words in asked), key=lambda pair: -pair[0])
        best = [phrase for score, phrase in ranked if score and score == ranked[0][0]]
        if best:
            return best[0] if len(best) == 1 else None
    return None


def _same(said: Words, asked: Words) -> int:
    return int(said.words == asked.words)


def _contained(said: Words, asked: Words) -> int:
    """Number of shared words when one phrase lies inside the other, else 0."""
    shared = said.words & asked.words
    if shared and shared in (said.words, asked.words):
        return len(shared)
    # Chinese is written without spaces: 杯子 is a part of 红色杯子.
    mine, theirs = said.han, asked.han
    return min(len(mine), len(theirs)) if mine and theirs and (mine in theirs or theirs in mine) else 0


def _overlapping(said: Words, asked: Words) -> int:
    """Number of shared words when both name the same thing and share more than half, else 0."""
    shared = len(said.words & asked.words)
    enough = 2 * shared > min(len(said.words), len(asked.words))
    return shared if enough and said.head == asked.head else 0
