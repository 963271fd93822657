"""What the engine tells while it writes, on real checkpoints, and how it ends a repetition loop."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, islice

import pytest
import torch
from tokenizers import AddedToken
from told import Told
from transformers import PreTrainedTokenizerFast

from training.checkpoint import build_model, build_processor, build_tokenizer, save
from vlm_perception.engines.base import never_stop
from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.repetition import RepetitionWatch
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.pipeline import perceive
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scenes import MovingScene
from vlm_perception.types import Frame, FrameHeader, PixelBudget, Request, Result

RequestMaker = Callable[..., Request]
ITEM = ('{"bbox_2d": [', "10, ", "20, ", "60, ", "80", '], "label": "', "cup", '"}, ')


def test_the_pieces_are_the_answer(random_engine: TransformersEngine, make_request: RequestMaker) -> None:
    told = Told()
    answer = random_engine.answer(make_request(max_new_tokens=64), told.should_stop, told.on_text)
    assert len(told.pieces) > 10
    assert told.text == answer.text
    assert told.tokens == answer.tokens
    assert len(answer.tokens) == 64
    told = Told(stop_after=5)
    answer = random_engine.answer(make_request(max_new_tokens=500), told.should_stop, told.on_text)
    assert answer.finish_reason == "aborted"
    assert 5 <= len(answer.tokens) <= 8, "up to three more bytes of the same character"
    assert (told.text, told.tokens) == (answer.text, answer.tokens)


def test_the_blank_answer_is_how_the_answer_will_be_read(
    random_engine: TransformersEngine, make_request: RequestMaker
) -> None:
    request = make_request(max_new_tokens=1)
    blank, answer = random_engine.blank_answer(request), random_engine.answer(request, never_stop)
    assert (blank.text, blank.tokens, blank.finish_reason) == ("", (), "unfinished")
    assert (blank.model_wh, blank.coordinates) == (answer.model_wh, answer.coordinates) == ((224, 168), "absolute")
    assert blank.calibration == answer.calibration


def ask_for_all(seed: int, n_objects: int) -> Request:
    scene = MovingScene(seed, (640, 480), n_objects=n_objects).at(0.0)
    frame = Frame(scene.rgb, FrameHeader(1, 2, "camera"), "/image", 0.0)
    return Request(frame, build_prompt("all objects"), PixelBudget(224 * 224, 1024 * 1024), 512)


def test_objects_of_a_real_scene_come_one_by_one(tiny: TransformersEngine) -> None:
    told: list[Result] = []
    final = perceive(tiny, ask_for_all(9100, 4), on_partial=told.append)
    assert final.answer.finish_reason == "stop"
    assert len(final.objects) >= 2
    assert [len(part.objects) for part in told] == list(range(1, len(final.objects) + 1))
    for part in told:
        assert part.objects == final.objects[: len(part.objects)]
        assert all(found.score is not None for found in part.objects)
        assert final.answer.text.startswith(part.answer.text)
    timings = final.answer.timings
    assert timings.first_object_s is not None
    assert timings.first_object_s < timings.preprocess_s + timings.generate_s
    # The token that ends the reply writes nothing and is one of its tokens.
    assert final.answer.tokens[-1].start == final.answer.tokens[-1].end == len(final.answer.text)


def make_it_loop(model: torch.nn.Module, follows: dict[int, int]) -> None:
    """Set a model's weights so that what it writes depends on the token before alone.

    Attention and feed-forward layers add nothing, so the last hidden state is that token's
    embedding, and the row of the token that follows it in `lm_head` points the same way.
    """
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "language_model" in name and name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.zero_()
        embedding = model.get_input_embeddings().weight
        head = torch.zeros_like(embedding)
        for token_id, next_id in follows.items():
            head[next_id] += embedding[token_id] / embedding[token_id].norm()
    model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(head)


def looping_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = build_tokenizer(["all objects", "Locate every object in JSON format."])
    known = tokenizer.get_vocab()
    tokenizer.add_tokens([AddedToken(part, normalized=False) for part in ITEM if part not in known])
    return tokenizer


@pytest.fixture(scope="module")
def looping_engine(tmp_path_factory: pytest.TempPathFactory) -> TransformersEngine:
    """A real checkpoint that opens a list and writes the same object until it is stopped."""
    folder = tmp_path_factory.mktemp("looping_checkpoint")
    tokenizer = looping_tokenizer()
    torch.manual_seed(4)
    model = build_model(tokenizer)
    ids = [tokenizer.convert_tokens_to_ids(part) for part in ITEM]
    (opening,) = tokenizer.encode("[", add_special_tokens=False)
    asked = tokenizer.encode("<|im_start|>assistant\n", add_special_tokens=False)[-1]
    make_it_loop(model, {asked: opening, opening: ids[0], **dict(zip(ids, [*ids[1:], ids[0]], strict=True))})
    save(model, build_processor(tokenizer), folder)
    return open_engine(folder)


def test_each_token_is_told_right_after_its_pass(
    looping_engine: TransformersEngine, make_request: RequestMaker
) -> None:
    told = Told()
    answer = looping_engine.answer(make_request(max_new_tokens=12), told.should_stop, told.on_text)
    assert answer.finish_reason == "length", "no certain loop yet"
    assert [chunk for chunk, _ in told.pieces] == ["[", *islice(cycle(ITEM), 11)]
    assert [len(tokens) for _, tokens in told.pieces] == [1] * 12
    # `should_stop` is asked once after each pass (and on every layer of the first one).
    before_first = told.asked_before[0]
    assert told.asked_before == [before_first + passes for passes in range(12)]


def test_a_certain_loop_is_ended_in_the_same_pass(
    looping_engine: TransformersEngine, make_request: RequestMaker
) -> None:
    told = Told()
    answer = looping_engine.answer(make_request(max_new_tokens=1500), told.should_stop, told.on_text)
    assert answer.finish_reason == "repetition"
    assert answer.text.startswith("[" + "".join(ITEM) * 2)
    watch, passes = RepetitionWatch(), 1
    for passes, part in enumerate(islice(cycle(ITEM), 1500), start=2):
        if watch.feed(part if passes > 2 else "[" + part):
            break
    assert len(answer.tokens) == passes < 200
    assert (told.text, told.tokens) == (answer.text, answer.tokens)


def test_a_looping_answer_gives_its_object_once(looping_engine: TransformersEngine, make_request: RequestMaker) -> None:
    told: list[Result] = []
    result = perceive(looping_engine, make_request(max_new_tokens=1500), on_partial=told.append)
    assert [found.label for found in result.objects] == ["cup"]
    assert len(told) == 1
    assert result.rejects
    assert {"repeat" in reject.reason or "cut" in reject.reason for reject in result.rejects} == {True}
