"""A copy of a checkpoint that thinks unless it is told not to: whoever asks it right gets the same answers."""

from __future__ import annotations

import shutil
from pathlib import Path

# As Qwen's own templates ask for the switch.
_SWITCH = "{%- if enable_thinking is not defined or enable_thinking -%}{{- '<think>\\n' -}}{%- endif -%}"
_PROMPT = "{{- '<|im_start|>assistant\\n' -}}"


def write_thinking_checkpoint(folder: Path, copy: Path) -> Path:
    """Copy a checkpoint, with a chat template that begins the answer with a thought.

    Args:
        folder: Of the checkpoint.
        copy: Does not exist yet.

    Returns:
        `copy`.
    """
    shutil.copytree(folder, copy)
    template = copy / "chat_template.jinja"
    written = template.read_text(encoding="utf-8")
    if written.count(_PROMPT) != 1:
        raise ValueError(f"{template} begins the answer in another way than {_PROMPT}")
    template.write_text(written.replace(_PROMPT, _PROMPT + _SWITCH), encoding="utf-8")
    return copy
