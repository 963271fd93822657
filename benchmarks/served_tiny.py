"""The shipped checkpoint behind a server: how the engine is told of it, and drawn questions that it can answer."""

from __future__ import annotations

from typing import Any

from benchmarks.real_servers import Server
from vlm_perception.engines.base import Engine
from vlm_perception.engines.factory import open_engine
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scenes import MovingScene
from vlm_perception.types import WH, Frame, PixelBudget, Request

# What its own processor allows: larger images it would shrink on the server, and the engine refuses that.
TINY_BUDGET = PixelBudget(30_000, 90_000)
# A size that stays as it is: what differs is not the resizing.
TINY_WH: WH = (336, 252)


def open_served(*servers: Server, **parameters: Any) -> Engine:
    """Open the engine for servers that have the shipped checkpoint."""
    asked = {
        "servers": [server.url for server in servers],
        "served_model": servers[0].model,
        "model_family": "qwen2_5_vl",
        "server_image": "png",
        "min_pixels": TINY_BUDGET.min_pixels,
        "max_pixels": TINY_BUDGET.max_pixels,
        **parameters,
    }
    return open_engine(servers[0].url, **asked)


def request_about(seed: int, text: str, image_wh: WH = TINY_WH, n_objects: int = 4) -> Request:
    """Draw a scene and ask about it."""
    scene = MovingScene(seed, image_wh, n_objects=n_objects).at(0.0)
    return Request(Frame(scene.rgb), build_prompt(text), TINY_BUDGET, max_new_tokens=256)
