"""Answers whose text is given beforehand: a real model's work, with a reply as a trained one would write it.

Passes, drafts and images are real; only what is chosen is replaced. The reply is the truth of a
drawn scene in the family's own form, so that drafts agree as they do with a model that is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LogitsProcessor

from benchmarks.gpu.subject import BUDGET
from benchmarks.videos import IMAGE_WH, frame_of, scenes
from training.replies import Expected, reading_order, render_reply, to_box
from vlm_perception.engines.base import ignore_text, never_stop
from vlm_perception.engines.transformers.decoder_pass import Choice, Decoder, PassToken
from vlm_perception.engines.transformers.generator import Generator
from vlm_perception.engines.transformers.prefill import Prefix
from vlm_perception.engines.transformers.preprocessor import Preprocessor
from vlm_perception.engines.transformers.vocabulary import ByteVocabulary
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.types import Answer, Request


@dataclass(frozen=True, slots=True)
class Forced:
    """A request and its reply.

    Attributes:
        request: What is asked.
        text: The reply.
        ids: Its tokens, with that which ends it.
        instruction_length: Tokens of the prompt behind the image.
    """

    request: Request
    text: str
    ids: tuple[int, ...]
    instruction_length: int


def forced_video(
    kind: str, n_objects: int, frames: int, vocabulary: ByteVocabulary, preprocessor: Preprocessor
) -> list[Forced]:
    """Make the answers to a video; see `benchmarks.videos.video`."""
    prompt, seed, found = build_prompt("all objects"), 100, []
    for index, scene in enumerate(scenes(kind, n_objects, frames, seed)):
        request = Request(frame_of(scene.rgb, index, seed), prompt, BUDGET, 1024)
        model_wh = preprocessor.plan_wh(request)
        things = [truth for truth in scene.truths if truth.label != "shadow"]
        boxes = [(truth.label, to_box(truth, IMAGE_WH, model_wh), None) for truth in things]
        text = render_reply(Expected(tuple(sorted(boxes, key=lambda box: reading_order(box[1], 28)))), chinese=False)
        ids = (*vocabulary.encode(text), vocabulary.end_id)
        found.append(Forced(request, text, ids, len(preprocessor.tokens(prompt.instruction).after)))
    return found


class ForcedDecoder:
    """Runs the passes of a decoder, and chooses the tokens of a reply instead of the model.

    Args:
        own: The decoder.
    """

    def __init__(self, own: Decoder) -> None:
        self._own = own
        self.shape, self.vocabulary_size = own.shape, own.vocabulary_size
        self._ids: Sequence[int] = ()
        self._instruction_length, self._start = 0, 0

    def force(self, forced: Forced) -> None:
        """Give this reply next."""
        self._ids, self._instruction_length = forced.ids, forced.instruction_length

    def load(self, slot: int, prefix: Prefix) -> None:
        """See `Decoder.load`."""
        self._own.load(slot, prefix)
        self._start = prefix.length + self._instruction_length

    def read(self, tokens: Sequence[PassToken]) -> list[Choice]:
        """See `Decoder.read`."""
        choices = self._own.read(tokens)
        return [(self._behind(token), logprob) for token, (_, logprob) in zip(tokens, choices, strict=True)]

    def _behind(self, token: PassToken) -> int:
        place = token.place + 1 - self._start
        return self._ids[place] if 0 <= place < len(self._ids) else self._ids[-1]


class ForcedGenerator:
    """Answers with a generator what is forced.

    Args:
        generator: It is of no other use afterwards.
    """

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._decoder = ForcedDecoder(generator._decoder)
        generator._decoder = self._decoder  # type: ignore[assignment]

    def answer(self, forced: Forced) -> Answer:
        """Answer one request.

        Raises:
            ValueError: The reply is another one.
        """
        self._decoder.force(forced)
        answer = self._generator.answer(forced.request, never_stop, ignore_text)
        if answer.text != forced.text:
            raise ValueError(f"{forced.text!r} was forced and became {answer.text!r}")
        return answer


class ForcedTokens(LogitsProcessor):
    """Does the same to `generate`.

    Args:
        ids: The reply.
        prompt_length: Tokens of the prompt, those of the image among them.
    """

    def __init__(self, ids: Sequence[int], prompt_length: int) -> None:
        self._ids, self._prompt_length = ids, prompt_length

    def __call__(self, input_ids: Any, scores: Any) -> torch.Tensor:
        """Forbid all tokens but one."""
        place = min(input_ids.shape[1] - self._prompt_length, len(self._ids) - 1)
        forced: torch.Tensor = torch.full_like(scores, float("-inf"))
        forced[:, self._ids[place]] = 0.0
        return forced
