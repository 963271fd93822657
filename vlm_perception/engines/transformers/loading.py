"""Bringing a checkpoint into memory: model, processor and what is known of its vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, GenerationConfig

from vlm_perception.engines.families import CELL_PX
from vlm_perception.engines.transformers.checkpoint import (
    Checkpoint,
    check_device,
    check_memory,
    find_checkpoint,
    is_out_of_memory,
)
from vlm_perception.engines.transformers.detokenizer import TokenBytes
from vlm_perception.engines.transformers.patch_embedding import flatten_patch_embedding
from vlm_perception.engines.transformers.progress import Tell, weights_told
from vlm_perception.errors import ModelLoadError


@dataclass(frozen=True, slots=True)
class CheckpointModel:
    """A checkpoint in memory.

    Attributes:
        checkpoint: Where it came from.
        model: A Qwen2.5-VL model of transformers, with greedy generation settings.
        processor: Its processor.
        token_bytes: What its tokens write.
    """

    checkpoint: Checkpoint
    model: Any
    processor: Any
    token_bytes: TokenBytes

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Tokens that end a reply."""
        return tuple(self.model.generation_config.eos_token_id)

    def facts(self) -> dict[str, str]:
        """See `Engine.describe`."""
        return {
            "device": str(self.model.device),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "parameters": f"{sum(p.numel() for p in self.model.parameters()) / 1e6:.1f} M",
            "source": f"{self.checkpoint.folder} ({self.checkpoint.origin})",
        }


def load_checkpoint(name: str, device: str, dtype: str, tell: Tell = lambda stage: None) -> CheckpointModel:
    """Find, check and load a checkpoint.

    Args:
        name: Hub id or local folder.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        dtype: "auto" (the checkpoint's own), "float32", "float16" or "bfloat16".
        tell: Hears how far it is, in words.

    Raises:
        ModelLoadError: Wrong path, no hub, unknown family or too little memory, with the remedy.
    """
    check_device(device)
    tell(f"finding {name}, which may mean to download it")
    checkpoint = find_checkpoint(name)
    check_memory(checkpoint, device=device, dtype=dtype)
    try:
        processor: Any = AutoProcessor.from_pretrained(  # type: ignore[no-untyped-call]
            checkpoint.folder, local_files_only=True, trust_remote_code=False
        )
        with weights_told(tell):
            loaded: Any = AutoModelForImageTextToText.from_pretrained(
                checkpoint.folder,
                dtype=dtype if dtype == "auto" else getattr(torch, dtype),
                device_map="auto" if device == "auto" else {"": device},
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        model, report = loaded
        _require_all_weights(report)
        _require_known_cells(processor.image_processor)
        token_bytes = TokenBytes(processor.tokenizer)
    except Exception as error:
        # Damaged files surface as many types, from several libraries; none of them is an answer.
        what = "ran out of memory" if is_out_of_memory(error) else "failed"
        raise ModelLoadError(
            f"loading {checkpoint.folder} {what}: {error}; copy the whole checkpoint again, or choose a smaller one"
        ) from error
    model.eval()
    flatten_patch_embedding(model)
    model.generation_config = _greedy(model.generation_config, processor.tokenizer)
    return CheckpointModel(checkpoint, model, processor, token_bytes)


def _require_all_weights(report: dict[str, Any]) -> None:
    """Refuse a checkpoint with gaps: transformers would fill them with random numbers."""
    for problem in ("missing_keys", "mismatched_keys"):
        if names := sorted(map(str, report.get(problem) or ())):
            raise ValueError(f"{len(names)} {problem.replace('_', ' ')} in the weights, such as {names[0]}")


def _require_known_cells(image_processor: Any) -> None:
    """Refuse a processor that cuts images otherwise than sizes are planned: every box would be misplaced."""
    patch_px, merge = int(image_processor.patch_size), int(image_processor.merge_size)
    if patch_px * merge != CELL_PX:
        raise ValueError(
            f"its processor merges {merge} x {merge} patches of {patch_px} px to an image token, which is not "
            f"{CELL_PX} px; use the processor of a Qwen2.5-VL checkpoint"
        )


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
