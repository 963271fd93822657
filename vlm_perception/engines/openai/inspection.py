"""What a server has and understands, found out before the first frame by asking about a drawn card."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace

import httpx

from vlm_perception.engines.base import ignore_text
from vlm_perception.engines.families import FAMILIES, Family, intersect_budgets, plan_resize
from vlm_perception.engines.openai.chat import (
    OPTIONAL_FIELDS,
    Delta,
    Question,
    ServerError,
    list_models,
    stream_answer,
)
from vlm_perception.engines.openai.image import encode_image
from vlm_perception.engines.openai.reply import ServedReply
from vlm_perception.engines.probe_card import Card, Verdict, draw_card, judge_card
from vlm_perception.errors import ModelLoadError
from vlm_perception.settings import Settings
from vlm_perception.types import WH

# As large as three boxes and some prose; a model that writes on has not read the card.
_CARD_TOKENS = 256
# Another shape, of another number of tokens.
_OTHER_CARD_WH = (640, 360)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model on a server.

    Attributes:
        name: As the server calls it.
        family: Which coordinates it writes, and which sizes it takes.
        refused: Optional fields of a question that the server does not take.
        tells_logprobs: Whether it tells log-probabilities, without which scores are unknown.
        counted: How the size of the image that it made was checked; empty where it could not be.
        card: What its answer about the card told.
    """

    name: str
    family: Family
    refused: frozenset[str]
    tells_logprobs: bool
    counted: str
    card: Verdict


async def inspect_server(client: httpx.AsyncClient, url: str, settings: Settings) -> ServedModel:
    """Find out what a server has, and see that its boxes lie where they are read.

    Args:
        client: Knows the key and how to connect.
        url: Base URL of the server.
        settings: Name and family of the model, pixels, image format, time-out.

    Raises:
        ServerError: It cannot be asked now.
        ModelLoadError: It answers, and nothing that it says could be used; the message says what was seen.
    """
    name = settings.served_model or await _first_model(client, url)
    known = _family_of(settings.model_family, name)
    inspection = _Inspection(client, url, settings, name)
    wrong = []
    # Where nothing tells the family, each that writes coordinates in its own way is tried.
    for family in (known,) if known else (FAMILIES["qwen2_5_vl"], FAMILIES["qwen3_vl"]):
        try:
            served = await inspection.ask_card(family)
            _refuse_other_boxes(served, is_known=known is not None)
        except ModelLoadError as error:
            wrong.append(f"as {family.name}: {error}")
        else:
            return served
    raise ModelLoadError(f"server {url} with {name!r} cannot be used: {'; '.join(wrong)}")


class _Inspection:
    def __init__(self, client: httpx.AsyncClient, url: str, settings: Settings, name: str) -> None:
        self._client, self._url, self._settings, self._name = client, url, settings, name
        self._refused: frozenset[str] = frozenset()

    async def ask_card(self, family: Family) -> ServedModel:
        card = draw_card()
        question = self._question(card, family, _CARD_TOKENS)
        text, counts, tells_logprobs = await self._ask(question)
        counted = await self._count(question, family, counts)
        verdict = judge_card(text, card, question.image_wh)
        return ServedModel(self._name, family, self._refused, tells_logprobs, counted, verdict)

    def _question(self, card: Card, family: Family, max_tokens: int) -> Question:
        budget = intersect_budgets(self._settings.budget, family.pixels)
        model_wh = plan_resize(card.frame.image_wh, budget, cell_px=family.cell_px)
        image_format = self._settings.server_image
        image = encode_image(card.frame, model_wh, image_format)
        return Question(card.prompt.instruction, image, f"image/{image_format}", model_wh, max_tokens)

    async def _ask(self, question: Question) -> tuple[str, Delta, bool]:
        """Ask, leaving out one optional field after the other that the server refuses.

        Returns:
            The text, what was counted, and whether log-probabilities were told.
        """
        while True:
            body = question.body(self._name, self._refused)
            reply, counts, tells_logprobs = ServedReply(ignore_text), Delta(), False
            try:
                async for delta in stream_answer(self._client, self._url, body, stall_s=self._settings.timeout_s):
                    reply.read(delta)
                    tells_logprobs = tells_logprobs or bool(delta.tokens)
                    counts = _counted(counts, delta)
            except ServerError as error:
                left = [field for field in OPTIONAL_FIELDS if field not in self._refused]
                if not error.blames_question or not left:
                    raise
                named = [field for field in left if field in str(error)]
                self._refused |= {(named or left)[0]}
                continue
            return reply.finish()[0], counts, tells_logprobs

    async def _count(self, question: Question, family: Family, counts: Delta) -> str:
        """See that the server saw the image as large as it was sent; returns how that was seen.

        Raises:
            ModelLoadError: It did not.
        """
        seen, how = counts.image_tokens, "image tokens"
        if seen is None and counts.prompt_tokens is not None:
            # All that differs between two prompts about two cards is the image.
            other = self._question(draw_card(_OTHER_CARD_WH), family, 1)
            others = (await self._ask(other))[1].prompt_tokens
            others_image = image_tokens(other.image_wh, family)
            if others is not None and others_image != image_tokens(question.image_wh, family):
                seen, how = others_image + counts.prompt_tokens - others, "prompt tokens"
        if seen is None:
            return ""
        if problem := size_problem(self._url, question.image_wh, family, seen):
            raise ModelLoadError(problem)
        return how


def image_tokens(model_wh: WH, family: Family) -> int:
    """Return how many tokens an image of this size becomes."""
    return (model_wh[0] // family.cell_px) * (model_wh[1] // family.cell_px)


def size_problem(url: str, model_wh: WH, family: Family, seen: int, n_images: int = 1) -> str:
    """Say that a server has made another size of an image than it was sent, and what to do; empty where it has not.

    Args:
        url: Base URL of the server.
        model_wh: Width and height of the image that was sent, pixels.
        family: Of its model.
        seen: Image tokens that it tells of.
        n_images: How many images of that size it was sent.
    """
    planned = n_images * image_tokens(model_wh, family)
    if seen == planned:
        return ""
    return (
        f"{url} made {seen} image tokens of {'an image' if n_images == 1 else f'{n_images} images'} of "
        f"{model_wh[0]}x{model_wh[1]} pixels, planned are {planned}: "
        f"it resizes images itself, and its boxes would be wrong; set min_pixels and max_pixels within "
        f"the bounds of its model's processor, or model_family to what it is"
    )


def _counted(before: Delta, delta: Delta) -> Delta:
    """Keep the counts that were told last."""
    counts = {key: value for key in ("prompt_tokens", "image_tokens") if (value := getattr(delta, key)) is not None}
    return replace(before, **counts)


def _refuse_other_boxes(served: ServedModel, *, is_known: bool) -> None:
    """Refuse a model that writes its boxes in another way than its family, and tell where nothing says so.

    Raises:
        ModelLoadError: It does, or nothing says of which family it is.
    """
    card, family = served.card, served.family
    if card.coordinates == family.coordinates:
        return
    if card.coordinates is not None:
        raise ModelLoadError(f"its boxes of the probe card are {card.coordinates}, not {family.coordinates}")
    if card.otherwise:
        raise ModelLoadError(f"its boxes of the probe card fit as {card.otherwise}")
    seen = f"{card.found} of {card.things} things of the probe card were found"
    if not is_known:
        raise ModelLoadError(f"{seen}; set model_family to what it is")
    _log.warning("%s: %s, so where its boxes lie was not seen", served.name, seen)


def _family_of(asked: str, name: str) -> Family | None:
    """Tell the family of a served model by the parameter, or by its name; None where neither tells."""
    if asked != "auto":
        return FAMILIES[asked]
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    # The longest first: a name of one family may begin as that of another.
    for family in sorted(FAMILIES.values(), key=lambda each: -len(each.name)):
        if re.sub(r"[^a-z0-9]", "", family.name.lower()) in plain:
            return family
    return None


async def _first_model(client: httpx.AsyncClient, url: str) -> str:
    try:
        names = await list_models(client, url)
    except ServerError as error:
        if not error.status:
            raise
        raise ServerError(f"{error}; set served_model to the name of its model", status=error.status) from error
    if not names:
        raise ModelLoadError(f"server {url} has no model: start it with one, or set served_model")
    return names[0]
