"""What is found out about a server before the first frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import anyio
import httpx
import pytest
from scripted_server import Body, Reply, boxes_text, card_reply, image_of, relative, serving, usage

from vlm_perception.engines.families import FAMILIES
from vlm_perception.engines.openai.chat import OPTIONAL_FIELDS, ServerError
from vlm_perception.engines.openai.inspection import ServedModel, inspect_server
from vlm_perception.errors import ModelLoadError
from vlm_perception.settings import Settings

qwen3 = partial(card_reply, cell_px=32, to_frame=relative)


def inspect(url: str, **settings: object) -> ServedModel:
    async def run() -> ServedModel:
        async with httpx.AsyncClient() as client:
            return await inspect_server(client, url, Settings.from_mapping(settings))

    return anyio.run(run)


def counting(
    kind: Callable[[int], object], about_card: Callable[[Body], Reply] = card_reply
) -> Callable[[Body], Reply]:
    """The answer about the card, with what `kind` makes of the number of image tokens for a count."""
    return lambda body: replace(about_card(body), usage=usage(body, 28, kind=kind))


@pytest.mark.parametrize(
    ("name", "asked", "about_card", "family"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct-AWQ", "auto", card_reply, "qwen2_5_vl"),
        ("qwen2.5vl:7b", "auto", card_reply, "qwen2_5_vl"),
        ("Qwen/Qwen3-VL-4B-Instruct", "auto", qwen3, "qwen3_vl"),
        ("qwen3.5-35b-a3b", "auto", qwen3, "qwen3_5"),
        # A name that says nothing: the card does.
        ("my-robot", "auto", card_reply, "qwen2_5_vl"),
        ("my-robot", "auto", qwen3, "qwen3_vl"),
        ("my-robot", "qwen3_5", qwen3, "qwen3_5"),
        # The parameter counts more than the name.
        ("Qwen2.5-VL-lookalike", "qwen3_vl", qwen3, "qwen3_vl"),
    ],
)
def test_the_family_comes_from_the_parameter_the_name_or_the_card(
    name: str, asked: str, about_card: Callable[[Body], Reply], family: str
) -> None:
    with serving(lambda _: Reply(), models=(name, "other"), about_card=about_card) as server:
        served = inspect(server.url, model_family=asked)
    assert served.family is FAMILIES[family]
    assert (served.name, served.refused, served.tells_logprobs, served.counted) == (
        name,
        frozenset(),
        True,
        "image tokens",
    )
    assert served.card.found == 3


@pytest.mark.parametrize(
    ("about_card", "settings", "words"),
    [
        # Another frame than that of the family.
        (qwen3, {"model_family": "qwen2_5_vl"}, ["image tokens"]),
        (partial(card_reply, to_frame=relative), {}, ["relative_1000", "absolute"]),
        (partial(card_reply, to_frame=lambda share, side: round(share, 3)), {}, ["x times 640"]),
        (lambda body: Reply([boxes_text([(y1, x1, y2, x2) for x1, y1, x2, y2 in rows(body)])]), {}, ["y before x"]),
        (lambda body: Reply([boxes_text([[n + 60 for n in row] for row in rows(body)])]), {}, ["x times", "-59 px"]),
        # An image of another size than it was sent.
        (counting(lambda tokens: tokens // 4), {}, ["image tokens", "planned", "min_pixels"]),
        # Nothing tells.
        (lambda body: Reply(["no idea"]), {"served_model": "my-robot"}, ["0 of 3", "model_family"]),
    ],
)  # fmt: skip
def test_a_server_whose_boxes_would_be_wrong_is_refused(
    about_card: Callable[[Body], Reply], settings: dict[str, object], words: list[str]
) -> None:
    with serving(lambda _: Reply(), about_card=about_card) as server:
        with pytest.raises(ModelLoadError) as raised:
            inspect(server.url, **settings)
        assert all(word in str(raised.value) for word in [*words, server.url]), raised.value


def rows(body: Body) -> list[list[float]]:
    """The true boxes, in pixels of the image that was sent."""
    text = str(card_reply(body).texts[0])
    return [[float(n) for n in part.split("]")[0].split(",")] for part in text.split('"bbox_2d": [')[1:]]


def test_a_model_that_knows_nothing_of_the_card_is_taken_where_its_family_is_known(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving(lambda _: Reply(), about_card=lambda body: Reply(["no idea"], usage=usage(body, 28))) as server:
        assert inspect(server.url).card.boxes == 0
    assert "was not seen" in caplog.text


@pytest.mark.parametrize(("shrink", "is_refused"), [(1, False), (2, True)])
def test_where_image_tokens_are_not_told_two_prompts_are_compared(shrink: int, is_refused: bool) -> None:
    def about_card(body: Body) -> Reply:
        width, height = image_of(body).size
        seen = (width // 28 // shrink) * (height // 28 // shrink)
        return replace(card_reply(body), usage={"prompt_tokens": 77 + seen})

    with serving(lambda _: Reply(), about_card=about_card) as server:
        if is_refused:
            with pytest.raises(ModelLoadError, match="image tokens"):
                inspect(server.url)
        else:
            assert inspect(server.url).counted == "prompt tokens"
    with serving(lambda _: Reply(), about_card=lambda body: replace(card_reply(body), usage=None)) as server:
        assert inspect(server.url).counted == ""


@pytest.mark.parametrize("names_it", [True, False])
@pytest.mark.parametrize("unknown", [("repetition_penalty",), ("logprobs", "chat_template_kwargs"), OPTIONAL_FIELDS])
def test_fields_that_a_server_refuses_are_left_out(unknown: tuple[str, ...], names_it: bool) -> None:
    def about_card(body: Body) -> Reply:
        if wrong := [field for field in unknown if field in body]:
            return Reply([f"unknown field {wrong[0] if names_it else ''}"], 422)
        return replace(card_reply(body), logprobs="logprobs" in body)

    with serving(lambda _: Reply(), about_card=about_card) as server:
        served = inspect(server.url)
    # Where it does not say which one it is, more than one may be gone.
    assert served.refused == set(unknown) if names_it else served.refused >= set(unknown)
    assert served.tells_logprobs is ("logprobs" not in served.refused)


def test_a_question_that_is_wrong_in_itself_is_not_asked_for_ever() -> None:
    asked = serving(lambda _: Reply(), about_card=lambda body: Reply(["too long"], 400))
    with asked as server, pytest.raises(ServerError, match="too long"):
        inspect(server.url)


def test_a_server_without_a_list_of_models_needs_its_name() -> None:
    with serving(lambda _: Reply(), models=()) as server:
        with pytest.raises(ServerError, match="served_model"):
            inspect(server.url)
        assert inspect(server.url, served_model="Qwen2.5-VL-x").name == "Qwen2.5-VL-x"
