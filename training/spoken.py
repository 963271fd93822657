"""Questions that are answered in words: describe, is there, is it left of, which colour, what is there."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from training.grammar import OPPOSITE, RELATIONS_ZH, SIDE, Speech, noun, one, with_article
from training.replies import COLOURS_ZH, KINDS_ZH, Expected
from training.things import Thing, named
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scenes import COLOURS, KINDS
from vlm_perception.scenes.relations import RELATIONS, biggest, said_best, smallest

# How many of those that are there a "no" names.
_SEEN_INSTEAD = 2


def describe(objects: list[Thing], chinese: bool, rng: np.random.Generator) -> tuple[str, Expected] | None:
    """Ask for a description of everything."""
    wordings = (
        ("描述一下场景", "描述图片", "描述这个场景")
        if chinese
        else ("describe the scene", "describe the image", "describe what you see", "what do you see?")
    )
    speech = Speech()
    pair = _first_pair(objects)
    if not objects:
        speech.say("这里什么都没有。" if chinese else "There is nothing here.")
    elif len(objects) <= 2 and (pair or len(objects) == 1):
        speech.say("" if chinese else "There is ")
        _standing(speech, pair, chinese) if pair else speech.say(*_there(objects[0], chinese))
        speech.say("。" if chinese else ".")
    else:
        number = len(objects)
        speech.say(f"有{number}个物体：" if chinese else f"There are {number} objects: ")
        speech.list(objects, chinese).say("。" if chinese else ".")
        if pair:
            _related(speech.say("" if chinese else " "), pair, chinese).say("。" if chinese else ".")
    return build_prompt(_one_of(rng, wordings)).instruction, _words(speech)


def exists(objects: list[Thing], chinese: bool, rng: np.random.Generator) -> tuple[str, Expected] | None:
    """Ask whether something is there; the answer says why."""
    label = _asked_label(objects, rng)
    meant = [t for t in objects if label in (t.label, t.kind)]
    name = named(label, chinese)
    wordings = (
        (f"有{name}吗？", f"图中有{name}吗？")
        if chinese
        else (f"is there {with_article(label, False)}?", f"is there any {label}?", f"are there any {label}s?")
    )
    speech = Speech()
    if len(meant) == 1:
        speech.say("有，" if chinese else "Yes, there is ")
        others = [(relation, t) for t in objects if t is not meant[0] and (relation := _clearly(meant[0], t, objects))]
        if others:
            _standing(speech, (meant[0], *others[0]), chinese)
        else:
            speech.say(*_there(meant[0], chinese))
    elif meant:
        speech.say(f"有，有{len(meant)}个" if chinese else f"Yes, there are {len(meant)} ")
        speech.say((name if chinese else f"{name}s", meant[0]))
    else:
        speech.say(f"没有，没有{name}；" if chinese else f"No, there is no {name}; ")
        words = label.split()
        near = [t for t in objects if t.kind == words[-1] or t.colour == words[0]]
        seen = (near + [t for t in objects if t not in near])[:_SEEN_INSTEAD]
        if seen:
            speech.say("我看到" if chinese else "I see ").list(seen, chinese)
        else:
            speech.say("什么都没有" if chinese else "I see nothing")
    return build_prompt(_one_of(rng, wordings)).instruction, _words(speech.say("。" if chinese else "."))


def related(objects: list[Thing], chinese: bool, rng: np.random.Generator) -> tuple[str, Expected] | None:
    """Ask whether one thing stands so to another."""
    pairs = [(a, b) for a in _unique(objects) for b in _unique(objects) if a is not b]
    asked = [
        (a, relation, b, holds)
        for a, b in pairs
        for relation, rule in RELATIONS.items()
        if (holds := rule(a.xyxy, b.xyxy, SIDE)) is not None and (holds or _counter(a, relation, b))
    ]
    wanted = bool(rng.random() < 0.5)
    # What is inside or on top is rare, and would never be asked for.
    rare = [one_ for one_ in asked if one_[1] in ("inside", "on top of") and one_[3] == wanted]
    asked = rare if rare and rng.random() < 0.4 else [one_ for one_ in asked if one_[3] == wanted] or asked
    if not asked:
        return None
    a, relation, b, holds = asked[int(rng.integers(len(asked)))]
    names = noun(a, chinese), noun(b, chinese)
    question = (
        f"{names[0]}在{names[1]}的{RELATIONS_ZH[relation]}吗？"
        if chinese
        else f"is the {names[0]} {relation} the {names[1]}?"
    )
    speech = Speech().say(("是，" if holds else "不是，") if chinese else ("Yes, " if holds else "No, "))
    _related(speech, (a, relation if holds else _counter(a, relation, b), b), chinese, capital=False)
    return build_prompt(question).instruction, _words(speech.say("。" if chinese else "."))


def told(objects: list[Thing], chinese: bool, rng: np.random.Generator) -> tuple[str, Expected] | None:
    """Ask for a colour, for what stands somewhere, or which is the biggest."""
    kinds = [t for t in objects if [o.kind for o in objects].count(t.kind) == 1]
    extremes = [
        (name, objects[at])
        for name, at in (("biggest", biggest(_boxes(objects))), ("smallest", smallest(_boxes(objects))))
        if at is not None
    ]
    made = [
        *([_told_colour(kinds[int(rng.integers(len(kinds)))], chinese)] if kinds else []),
        *([_told_extreme(*extremes[int(rng.integers(len(extremes)))], chinese)] if extremes else []),
        *([placed] if (placed := _told_place(objects, chinese, rng)) else []),
    ]
    if not made:
        return None
    question, speech = made[int(rng.integers(len(made)))]
    return build_prompt(question).instruction, _words(speech.say("。" if chinese else "."))


def _told_colour(thing: Thing, chinese: bool) -> tuple[str, Speech]:
    if chinese:
        kind, colour = KINDS_ZH[thing.kind], COLOURS_ZH[thing.colour]
        return f"{kind}是什么颜色的？", Speech().say((f"{kind}是{colour}的", thing))
    return f"what colour is the {thing.kind}?", Speech().say((f"The {thing.kind} is {thing.colour}", thing))


def _told_extreme(name: str, thing: Thing, chinese: bool) -> tuple[str, Speech]:
    if chinese:
        zh = {"biggest": "最大", "smallest": "最小"}[name]
        return f"哪个物体{zh}？", Speech().say((noun(thing, True), thing), zh)
    return f"which object is the {name}?", Speech().say("The ", (noun(thing, False), thing), f" is the {name}")


def _told_place(objects: list[Thing], chinese: bool, rng: np.random.Generator) -> tuple[str, Speech] | None:
    unique = _unique(objects)
    if len(objects) < 2 or not unique:
        return None
    to = unique[int(rng.integers(len(unique)))]
    relation = list(RELATIONS)[int(rng.integers(len(RELATIONS)))]
    holding = [(t, RELATIONS[relation](t.xyxy, to.xyxy, SIDE)) for t in objects if t is not to]
    if any(holds is None for _, holds in holding):
        return None
    found, speech = [t for t, holds in holding if holds], Speech()
    name, place = noun(to, chinese), RELATIONS_ZH[relation]
    if chinese:
        question = f"{name}的{place}有什么？"
        return question, speech.say(f"{name}的{place}有").list(found, True) if found else speech.say(
            f"{name}的{place}什么都没有"
        )
    if found:
        speech.list(found, False).say(f" {'is' if len(found) == 1 else 'are'} {relation} the {name}")
        speech.text = speech.text[0].upper() + speech.text[1:]
    else:
        speech.say(f"Nothing is {relation} the {name}")
    return f"what is {relation} the {name}?", speech


def _first_pair(objects: Sequence[Thing]) -> tuple[Thing, str, Thing] | None:
    """The first two neighbours in reading order of which it is clear how they stand to each other."""
    for a, b in itertools.pairwise(objects):
        relation = _clearly(a, b, objects)
        if relation:
            return a, relation, b
    return None


def _clearly(a: Thing, b: Thing, objects: Sequence[Thing]) -> str | None:
    names = [noun(t, False) for t in objects]
    if names.count(noun(a, False)) > 1 or names.count(noun(b, False)) > 1:
        return None
    return said_best(a.xyxy, b.xyxy, SIDE)


def _counter(a: Thing, relation: str, b: Thing) -> str:
    """What a "no" says instead; empty where there is nothing clear to say."""
    return OPPOSITE.get(relation) or said_best(a.xyxy, b.xyxy, SIDE) or ""


def _there(thing: Thing, chinese: bool) -> tuple[str | tuple[str, Thing], ...]:
    return ("有" if chinese else "", (one(thing, chinese), thing))


def _standing(speech: Speech, pair: tuple[Thing, str, Thing], chinese: bool) -> Speech:
    """Say "an orange cart left of a striped blue square"."""
    a, relation, b = pair
    if chinese:
        return speech.say((one(a, True), a), "在", (one(b, True), b), "的", RELATIONS_ZH[relation])
    return speech.say((one(a, False), a), f" {relation} ", (one(b, False), b))


def _related(speech: Speech, pair: tuple[Thing, str, Thing], chinese: bool, capital: bool = True) -> Speech:
    """Say "The orange cart is left of the striped blue square"."""
    a, relation, b = pair
    if chinese:
        return speech.say((noun(a, True), a), "在", (noun(b, True), b), "的", RELATIONS_ZH[relation])
    return speech.say("The " if capital else "the ", (noun(a, False), a), f" is {relation} the ", (noun(b, False), b))


def _asked_label(objects: list[Thing], rng: np.random.Generator) -> str:
    """Something that is there or not, by its label or its kind; what is absent is often nearly there."""
    by_kind = rng.random() < 0.25
    present = sorted({t.kind if by_kind else t.label for t in objects})
    if present and rng.random() < 0.5:
        return _one_of(rng, present)
    pool = list(KINDS) if by_kind else [f"{colour} {kind}" for colour in COLOURS for kind in KINDS]
    absent = [name for name in pool if name not in present]
    near = [n for n in absent if any(n.split()[-1] == t.kind or n.split()[0] == t.colour for t in objects)]
    return _one_of(rng, near if near and rng.random() < 0.75 else absent or present)


def _unique(objects: Sequence[Thing]) -> list[Thing]:
    names = [noun(t, False) for t in objects]
    labels = [t.label for t in objects]
    return [t for t in objects if names.count(noun(t, False)) == 1 and (t.striped or labels.count(t.label) == 1)]


def _boxes(objects: Sequence[Thing]) -> list[tuple[float, float, float, float]]:
    return [t.xyxy for t in objects]


def _one_of(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _words(speech: Speech) -> Expected:
    return Expected(words=speech.text, mentions=tuple(speech.mentions))
