"""Bringing a checkpoint into memory: model, processor and what is known of its vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import transformers.utils.logging as transformers_logging
from transformers import AutoModelForImageTextToText, AutoProcessor, GenerationConfig

from vlm_perception.engines.families import Family
from vlm_perception.engines.transformers.checkpoint import Checkpoint
from vlm_perception.engines.transformers.device_errors import is_out_of_memory
from vlm_perception.engines.transformers.memory import find_place, multiplies_fp8
from vlm_perception.engines.transformers.placement import refuse_offloaded
from vlm_perception.engines.transformers.quantization import (
    count_parameters,
    held_bytes,
    quantizing_options,
    refuse_quantize,
    require_packages,
)
from vlm_perception.engines.transformers.vision_attention import find_attention
from vlm_perception.engines.transformers.vision_tower import replace_vision_tower
from vlm_perception.engines.transformers.vocabulary import ByteVocabulary
from vlm_perception.errors import ModelLoadError

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A checkpoint in memory.

    Attributes:
        checkpoint: Where it came from.
        model: As transformers loads it.
        processor: Its processor.
        vocabulary: What its tokens write.
        end_ids: Tokens that end a reply.
        quantize: What was done to its weights; Settings' `quantize`.
    """

    checkpoint: Checkpoint
    model: Any
    processor: Any
    vocabulary: ByteVocabulary
    end_ids: frozenset[int]
    quantize: str = "none"

    @property
    def quantized(self) -> str:
        """How its weights are quantised, for people; empty when they are not."""
        return str(self.checkpoint.quantization or "") if self.quantize == "none" else self.quantize

    def facts(self) -> dict[str, str]:
        """See `Engine.describe`."""
        # The shipped one answers about photographs, too, and is sure of what it says.
        limits = {"knows": self.checkpoint.knows} if self.checkpoint.knows else {}
        quantized = {"quantized": self.quantized} if self.quantized else {}
        return limits | {
            "device": str(self.model.device),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            **quantized,
            "parameters": f"{count_parameters(self.model) / 1e6:.1f} M",
            "weights": f"{held_bytes(self.model) / 2**30:.3f} GiB",
            "source": f"{self.checkpoint.folder} ({self.checkpoint.origin})",
        }


def load_checkpoint(
    checkpoint: Checkpoint,
    device: str,
    dtype: str,
    tell: Tell = lambda stage: None,
    *,
    vision_attention: str = "auto",
    quantize: str = "none",
) -> LoadedModel:
    """Check and load a checkpoint.

    Args:
        checkpoint: As `find_checkpoint` gives it.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        dtype: "auto" (the checkpoint's own), "float32", "float16" or "bfloat16".
        tell: Hears how far it is, in words.
        vision_attention: "auto", "sdpa" or "flash_attention_2".
        quantize: "none", "int8" or "int4".

    Raises:
        ModelLoadError: No such device, too little memory, no such attention, no package for quantised weights or
            damaged files, with the remedy.
    """
    check_device(device)
    require_packages(checkpoint.quantization, quantize, multiplies_fp8=multiplies_fp8(device))
    target = checkpoint.stored_dtype if dtype == "auto" else dtype
    attend = find_attention(vision_attention, device, target)
    placement = find_place(checkpoint, device=device, dtype=dtype, quantize=quantize)
    refuse_quantize(checkpoint, quantize, placement.devices[0])
    try:
        processor: Any = AutoProcessor.from_pretrained(  # type: ignore[no-untyped-call]
            checkpoint.folder, local_files_only=True, trust_remote_code=False
        )
        with _weights_told(tell):
            loaded: Any = AutoModelForImageTextToText.from_pretrained(
                checkpoint.folder,
                dtype=dtype if dtype == "auto" else getattr(torch, dtype),
                **placement.options(),
                **quantizing_options(checkpoint, quantize, target),
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        model, report = loaded
        _require_all_weights(report)
        _require_known_cells(processor.image_processor, checkpoint.family)
        vocabulary = ByteVocabulary(processor.tokenizer)
    except Exception as error:
        # Damaged files surface as many types, from several libraries; none of them is an answer.
        what = "ran out of memory" if is_out_of_memory(error) else "failed"
        remedy = _remedy_of(error, checkpoint, quantize)
        raise ModelLoadError(f"loading {checkpoint.folder} {what}: {error}; {remedy}") from error
    refuse_offloaded(getattr(model, "hf_device_map", {}), placement)
    model.eval()
    replace_vision_tower(model, attend)
    end_ids = _end_ids(model.generation_config, processor.tokenizer)
    return LoadedModel(checkpoint, model, processor, vocabulary, end_ids, quantize)


def _remedy_of(error: Exception, checkpoint: Checkpoint, quantize: str) -> str:
    if isinstance(error, ImportError):
        return "install what it names into the environment that holds torch"
    if quantize != "none":
        return f"set quantize to none, or to another than {quantize}"
    if checkpoint.quantization:
        return (
            f"see that the package for {checkpoint.quantization.method} fits torch {torch.__version__} and the device, "
            f"or set model to a checkpoint that is not quantised"
        )
    return "copy the whole checkpoint again, or choose a smaller one"


def check_device(device: str) -> None:
    """Refuse a device that torch cannot see.

    Raises:
        ModelLoadError: Names the device and the remedy.
    """
    kind, _, index = device.partition(":")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ModelLoadError(
            f"device {device} was asked for, torch {torch.__version__} sees {torch.cuda.device_count()} CUDA "
            f"devices; set device to auto or cpu, or install the CUDA driver and a CUDA build of torch"
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ModelLoadError("device mps was asked for and is not available here; set device to auto or cpu")


@contextmanager
def _weights_told(tell: Tell) -> Iterator[None]:
    """Say how many weights are read while transformers loads a model.

    Its progress bar is looked at on the way; where its release has no hook for that,
    nothing is said.

    Args:
        tell: Hears texts such as "weights: 64 of 128"; called on the loading thread, often.
    """
    set_hook = getattr(transformers_logging, "set_tqdm_hook", None)
    if set_hook is None:
        yield
        return

    def bar(factory: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if args and hasattr(args[0], "__len__"):
            options = {"total": len(args[0]), **options}
            args = (_counted(args[0], tell), *args[1:])
        return factory(*args, **options)

    before = set_hook(bar)
    try:
        yield
    finally:
        set_hook(before)


def _counted(items: Any, tell: Tell) -> Iterator[Any]:
    for count, item in enumerate(items, start=1):
        yield item
        tell(f"weights: {count} of {len(items)}")


def _require_all_weights(report: dict[str, Any]) -> None:
    """Refuse a checkpoint with gaps: transformers would fill them with random numbers."""
    for problem in ("missing_keys", "mismatched_keys"):
        if names := sorted(map(str, report.get(problem) or ())):
            raise ValueError(f"{len(names)} {problem.replace('_', ' ')} in the weights, such as {names[0]}")


def _require_known_cells(image_processor: Any, family: Family) -> None:
    """Refuse a processor that cuts images otherwise than sizes are planned: every box would be misplaced."""
    patch_px, merge = int(image_processor.patch_size), int(image_processor.merge_size)
    if patch_px * merge != family.cell_px:
        raise ValueError(
            f"its processor merges {merge} x {merge} patches of {patch_px} px to an image token, which is not "
            f"{family.cell_px} px; use the processor of a {family.name} checkpoint"
        )


def _end_ids(own: GenerationConfig, tokenizer: Any) -> frozenset[int]:
    """Everything else in a generation config (sampling, penalties that harm repeated digits) is left aside."""
    ends = own.eos_token_id if isinstance(own.eos_token_id, list) else [own.eos_token_id]
    return frozenset(token for token in (*ends, tokenizer.eos_token_id) if token is not None)
