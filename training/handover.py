"""A run that is not done yet, small enough to be committed: `python -m training.handover FOLDER OUTPUT`.

Kept are the weights as bfloat16, the step and the processor. With OUTPUT as its folder a run goes on at that step on
another machine; the optimisers' moments and the running average begin anew, which a few hundred steps make good.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from training.train import RESUME_FILE


def hand_over(folder: Path, output: Path) -> int:
    """Write what going on elsewhere needs.

    Args:
        folder: Of the run.
        output: A folder, made where it is missing.

    Returns:
        The step that it goes on from.
    """
    (output / "checkpoint").mkdir(parents=True, exist_ok=True)
    with safe_open(folder / RESUME_FILE, "pt") as file:
        metadata = file.metadata()
        names = [name for name in file.keys() if name.startswith(("model.", "heads."))]  # noqa: SIM118 - no mapping
        weights = {name: file.get_tensor(name).bfloat16() for name in names}
    save_file(weights, output / RESUME_FILE, metadata=metadata)
    for path in (folder / "checkpoint").iterdir():
        if path.suffix in (".json", ".jinja"):
            shutil.copy(path, output / "checkpoint" / path.name)
    return int(metadata["step"])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the run, such as build/train_qwen2_5_vl")
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    print(f"handed over at step {hand_over(args.folder, args.output)}: {args.output}")


if __name__ == "__main__":
    main()
