"""Qwen2.5-VL in this process, through transformers. One code path for every size of it."""

from __future__ import annotations

import gc
import logging
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from qwen_vl_utils import process_vision_info
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    GenerationConfig,
)

from vlm_perception.decoding import ALL_SOURCES, AnswerMemory, Source
from vlm_perception.engines.base import OnText, ShouldStop, ignore_text
from vlm_perception.engines.generation import PrefillStopped, ReplyReader, stoppable_prefill
from vlm_perception.engines.loading import (
    Checkpoint,
    check_device,
    check_memory,
    find_checkpoint,
    is_out_of_memory,
)
from vlm_perception.engines.prefill import prefill
from vlm_perception.engines.token_text import TokenBytes, TokenText
from vlm_perception.engines.verified import decode
from vlm_perception.errors import GeometryError, InferenceError, ModelLoadError
from vlm_perception.geometry import intersect_budgets, plan_resize
from vlm_perception.types import WH, Answer, PixelBudget, Request, Timings

_log = logging.getLogger(__name__)


class TransformersEngine:
    """A Qwen2.5-VL checkpoint, run by transformers on the devices accelerate finds.

    The pixel budget of a request is intersected with the bounds that the checkpoint's own
    processor states, for every checkpoint: one that was trained on small images keeps its maximum.
    """

    def __init__(
        self,
        model: str,
        device: str = "auto",
        dtype: str = "auto",
        drafts: frozenset[Source] = ALL_SOURCES,
    ) -> None:
        """Remember what to load; nothing is read yet.

        Args:
            model: Hub id or local folder.
            device: "auto", "cpu", "cuda", "cuda:N" or "mps".
            dtype: "auto" (the checkpoint's own), "float32", "float16" or "bfloat16".
            drafts: Where drafts of answers may come from; they never change an answer.
        """
        self._id, self._device, self._dtype = model, device, dtype
        self._drafts = drafts
        self._memory: Any = None
        self._model: Any = None
        self._processor: Any = None
        self._token_bytes: Any = None
        self._checkpoint: Checkpoint | None = None
        self._facts = self._unloaded_facts()

    @property
    def name(self) -> str:
        """The model id as it was asked for."""
        return self._id

    def load(self) -> None:
        """Find, check and load the checkpoint; does nothing when it is loaded.

        Raises:
            ModelLoadError: Wrong path, no hub, unknown family or too little memory, with the remedy.
        """
        if self._model is not None:
            return
        check_device(self._device)
        checkpoint = find_checkpoint(self._id)
        check_memory(checkpoint, device=self._device, dtype=self._dtype)
        try:
            self._processor = AutoProcessor.from_pretrained(  # type: ignore[no-untyped-call]
                checkpoint.folder, local_files_only=True, trust_remote_code=False
            )
            loaded: Any = AutoModelForImageTextToText.from_pretrained(
                checkpoint.folder,
                dtype=self._dtype if self._dtype == "auto" else getattr(torch, self._dtype),
                device_map="auto" if self._device == "auto" else {"": self._device},
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
            model, report = loaded
            _require_all_weights(report)
            self._token_bytes = TokenBytes(self._processor.tokenizer)
        except Exception as error:
            # Damaged files surface as many types, from several libraries; none of them is an answer.
            self.close()
            what = "ran out of memory" if is_out_of_memory(error) else "failed"
            raise ModelLoadError(
                f"loading {checkpoint.folder} {what}: {error}; copy the whole checkpoint again, or choose a smaller one"
            ) from error
        model.eval()
        model.generation_config = _greedy(model.generation_config, self._processor.tokenizer)
        self._model, self._checkpoint = model, checkpoint
        self._memory = self._new_memory()
        self._facts = {
            "device": str(model.device),
            "dtype": str(model.dtype).removeprefix("torch."),
            "parameters": f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M",
            "source": f"{checkpoint.folder} ({checkpoint.origin})",
        }
        _log.info("loaded %s", self._facts)

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        """Answer one request; see `Engine.answer`.

        Raises:
            InferenceError: The model is not loaded, ran out of memory or failed on this request.
            GeometryError: The frame's size or aspect ratio is outside the family's resize rule.
        """
        self._loaded()
        try:
            with torch.inference_mode():
                return self._answer(request, should_stop, on_text)
        except GeometryError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                budget = f"max_pixels {request.budget.max_pixels}, max_new_tokens {request.max_new_tokens}"
                raise InferenceError(f"out of memory with {budget}; lower them: {error}") from error
            raise InferenceError(f"{self._id} failed on a {request.frame.image_wh} frame: {error}") from error

    def blank_answer(self, request: Request) -> Answer:
        """See `Engine.blank_answer`.

        Raises:
            InferenceError: The model is not loaded.
            GeometryError: As `answer`.
        """
        checkpoint, unknown = self._loaded(), Timings(0.0, 0.0, 0.0)
        model_wh = self._processed_wh(request)
        return Answer("", model_wh, checkpoint.coordinates, "unfinished", (), unknown, checkpoint.calibration)

    def describe(self) -> dict[str, str]:
        """Facts for diagnostics: `device`, `dtype`, `parameters`, `source`."""
        return dict(self._facts)

    def close(self) -> None:
        """Free the model and its memory; the engine may be loaded again."""
        self._model = self._processor = self._token_bytes = self._checkpoint = self._memory = None
        self._facts = self._unloaded_facts()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _new_memory(self) -> AnswerMemory:
        tokenizer = self._processor.tokenizer

        def encode(text: str) -> list[int]:
            return list(tokenizer.encode(text, add_special_tokens=False))

        return AnswerMemory(encode, self._token_bytes.of, int(tokenizer.eos_token_id), self._drafts)

    def _unloaded_facts(self) -> dict[str, str]:
        return {"device": self._device, "dtype": self._dtype, "parameters": "not loaded", "source": self._id}

    def _loaded(self) -> Checkpoint:
        if self._model is None or self._checkpoint is None:
            raise InferenceError(f"{self._id} is not loaded; call load() first")
        return self._checkpoint

    def _answer(self, request: Request, should_stop: ShouldStop, on_text: OnText) -> Answer:
        began_s = time.perf_counter()
        inputs = self._prepare(request)
        prepared_s = time.perf_counter()
        model_wh = self._seen_wh(inputs)
        end_ids = self._model.generation_config.eos_token_id
        reply = ReplyReader(TokenText(self._token_bytes), end_ids, should_stop, on_text)
        drafter, passes = self._memory.drafter(request, model_wh), 0
        with suppress(PrefillStopped):
            with stoppable_prefill(self._model, reply):
                prefilled = prefill(self._model, inputs)
            passes = decode(self._model, prefilled, reply, drafter, max_new_tokens=request.max_new_tokens).passes
        generated_s = time.perf_counter()
        text, tokens, finish_reason = reply.finish()
        if finish_reason in ("stop", "length"):
            self._memory.remember(request, model_wh, text)
        return replace(
            self.blank_answer(request),
            text=text,
            model_wh=model_wh,
            finish_reason=finish_reason,
            tokens=tokens,
            timings=Timings(prepared_s - began_s, generated_s - prepared_s, time.perf_counter() - generated_s),
            passes=passes,
        )

    def _processed_wh(self, request: Request) -> WH:
        """Plan the size to which the frame is brought before the model sees it."""
        own = self._processor.image_processor.size
        allowed = PixelBudget(own["shortest_edge"], own["longest_edge"])
        return plan_resize(request.frame.image_wh, intersect_budgets(request.budget, allowed))

    def _prepare(self, request: Request) -> Any:
        """Build the model's inputs from one frame and one instruction."""
        width, height = self._processed_wh(request)
        image = {
            "type": "image",
            "image": Image.fromarray(request.frame.rgb),
            "resized_width": width,
            "resized_height": height,
        }
        content = [image, {"type": "text", "text": request.prompt.instruction}]
        messages = [{"role": "user", "content": content}]
        prompt = self._processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        images, videos = process_vision_info(messages)
        # qwen_vl_utils has brought the image to its planned size: a second resize would blur it.
        inputs = self._processor(
            text=[prompt], images=images, videos=videos, do_resize=False, padding=True, return_tensors="pt"
        )
        return inputs.to(self._model.device)

    def _seen_wh(self, inputs: Any) -> WH:
        _, rows, columns = inputs["image_grid_thw"][0].tolist()
        patch_px = int(self._processor.image_processor.patch_size)
        return columns * patch_px, rows * patch_px


def _require_all_weights(report: dict[str, Any]) -> None:
    """Refuse a checkpoint with gaps: transformers would fill them with random numbers."""
    for problem in ("missing_keys", "mismatched_keys"):
        if names := sorted(map(str, report.get(problem) or ())):
            raise ValueError(f"{len(names)} {problem.replace('_', ' ')} in the weights, such as {names[0]}")


def _greedy(own: GenerationConfig, tokenizer: Any) -> GenerationConfig:
    """Greedy and nothing else: copied configs carry sampling, and a penalty that harms repeated digits."""
    ends = own.eos_token_id if isinstance(own.eos_token_id, list) else [own.eos_token_id]
    pad = tokenizer.pad_token_id
    return GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        use_cache=True,
        eos_token_id=sorted({token for token in (*ends, tokenizer.eos_token_id) if token is not None}),
        pad_token_id=own.pad_token_id if pad is None else pad,
    )
