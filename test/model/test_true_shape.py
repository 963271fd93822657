"""One frame through a model of the true 3B shape, scaled down in depth only, in the hub's own files.

Weights are random, so nothing is said about answers; widths, heads, rotary sections, windows,
vocabulary, file layout and copied generation settings are those of Qwen2.5-VL-3B-Instruct.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from training.checkpoint import CHAT_TEMPLATE
from vlm_perception.engines.base import never_stop
from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.transformers.checkpoint import find_checkpoint
from vlm_perception.types import Request

# As published, but 2 layers instead of 36 and 2 vision blocks, one of them windowed, instead of 32.
CONFIG: dict[str, Any] = {
    "architectures": ["Qwen2_5_VLForConditionalGeneration"],
    "model_type": "qwen2_5_vl",
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "initializer_range": 0.02,
    "intermediate_size": 11008,
    "max_position_embeddings": 128000,
    "max_window_layers": 70,
    "num_attention_heads": 16,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "sliding_window": 32768,
    "use_sliding_window": False,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": 151936,
    "vision_config": {
        "depth": 2,
        "hidden_act": "silu",
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "in_chans": 3,
        "out_hidden_size": 2048,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "spatial_patch_size": 14,
        "window_size": 112,
        "fullatt_block_indexes": [1],
        "tokens_per_second": 2,
        "temporal_patch_size": 2,
    },
}
PREPROCESSOR = {
    "min_pixels": 3136,
    "max_pixels": 12845056,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "image_processor_type": "Qwen2VLImageProcessor",
    "processor_class": "Qwen2_5_VLProcessor",
}
TOKEN_IDS = {
    "bos_token_id": "<|endoftext|>",
    "eos_token_id": "<|im_end|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
    "vision_token_id": "<|vision_pad|>",
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
}


@pytest.fixture(scope="module")
def checkpoint_3b_shape(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tokenizer is a small one; its ids take the place of Qwen's."""
    folder = tmp_path_factory.mktemp("shape_3b")
    config = {**CONFIG, **{key: tokenizer.convert_tokens_to_ids(token) for key, token in TOKEN_IDS.items()}}
    torch.manual_seed(0)
    # Filled once, in the number format it is stored in, to stay within 4 GB and a few seconds.
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig.from_dict(config))
    model = model.to(torch.bfloat16).to_empty(device="cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.03, 0.03)
    model.save_pretrained(folder, max_shard_size="400MB")
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    eos = [config["eos_token_id"], config["bos_token_id"]]
    copied = {"do_sample": True, "eos_token_id": eos, "repetition_penalty": 1.05, "temperature": 0.000001}
    files = {"config": config, "preprocessor_config": PREPROCESSOR, "generation_config": copied}
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_one_frame_runs_through(checkpoint_3b_shape: Path, make_request: Callable[..., Request]) -> None:
    stored = find_checkpoint(str(checkpoint_3b_shape))
    assert stored.stored_dtype == "bfloat16"
    assert len(list(checkpoint_3b_shape.glob("*.safetensors"))) > 1
    engine = open_engine(checkpoint_3b_shape)
    try:
        frame = np.random.default_rng(1).integers(0, 256, (240, 424, 3), dtype=np.uint8)
        answer = engine.answer(make_request(frame, max_new_tokens=3), never_stop)
        facts = engine.describe()
    finally:
        engine.close()
    assert facts["dtype"] == "bfloat16"
    assert float(facts["parameters"].split()[0]) == pytest.approx(stored.weight_bytes / 2 / 1e6, rel=0.01)
    assert answer.model_wh == (420, 252)
    assert len(answer.tokens) == 3
    assert all(np.isfinite(token.logprob) and token.logprob < 0 for token in answer.tokens)
