"""Ship a checkpoint: evaluate it and copy it with its card to where its family's is shipped when it is the better one.

`python -m training.publish --family qwen3_vl` compares the held-out figures with those in the shipped card and does
nothing when the shipped checkpoint is as good. A new checkpoint gets a new card and its own
calibration; one that cannot be calibrated gets none, never that of the checkpoint before.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from transformers import AutoProcessor

from training.calibrate import calibrate
from training.checkpoint import CHAT_TEMPLATE
from training.evaluate import BARS, SCENES_A_CLIP, evaluate
from training.families import TINY_FAMILIES
from vlm_perception.engines.families import plan_resize
from vlm_perception.types import PixelBudget

CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: image-text-to-text
vlm_perception:
  knows: drawn scenes only{learned}
---

# The tiny {family} of vlm_perception

A `{architecture}` with {parameters:,} parameters, trained from nothing on drawn
scenes by {edition}`make train FAMILY={model_type}` on two CPU cores{took}.
It exists so that the whole product can be built, tested and shown without a GPU and without a model hub.
It knows coloured circles, squares, triangles, carts and faces, plain or striped, and their shadows{knows};
it knows nothing of the real world.
Use `{hub_id}` or larger on a robot.

- Prompts: English and some Chinese, in the wording of `vlm_perception/prompts/templates.yaml`.
- Replies: {family}'s own forms, `bbox_2d`, `point_2d`, `sub_label`, and a sentence when counting;
  coordinates are {coordinates}.
- Image sizes: {pixels}. Larger and smaller camera images are resized to these areas.
- Scores: `vlm_perception: score:` above, where it stands, is their fitted calibration (`training/calibrate.py`).
- Training: `training/` holds all of it: scenes, questions, dense heads (not shipped), schedule.

## Held-out figures

{scenes} scenes from seeds, and on photographs, that training never drew; {replies} replies, greedy, float32.
Printed by `make evaluate MODEL={name}`. `recall50` counts expected boxes found at IoU >= 0.5, `mean_iou` is over
those matches, `precision50` counts answered boxes that match, labels are judged on the matches,
`rejection` is the share of questions about absent things answered with an empty list, and a point is
right within 5 % of the image side, sqrt(width * height).{taught}

{report}
"""
KNOWS = """, how they stand to each other,
letters on carts, and what moves, comes and leaves in a clip, each as well as the figures below say; it answers in
boxes, points, numbers and words"""
TAUGHT = """ `shadow_recall` and `two_recall` are as `recall50`, of
shadows and of two things asked for at once (one more question a scene). Over {taught_scenes} more varied scenes (up to
twelve things, small ones, letters, relations): `varied_shadow_recall` and `varied_two_recall` are of these, without a
bar; `crowd_recall` of seven things and more, `small_recall` of those under 8 % of the image side,
`relation_recall` by relation, size or pattern; `photo_rejection` as `rejection`, on photographs with nothing drawn;
`no_doubles` is the share of replies without a second box on one thing; `yes_no_accuracy` judges the yes or no,
`words_accuracy` whether all that a sentence claims is so, `described` how much of what is there or named is both, and
`texts_accuracy` wants the letters to be exact and their box at IoU >= 0.5. Over
{clips} clips of four seconds, two frames a second: `watch_said` is the share of "what happened" told rightly, which
thing did what and which way, and nothing else; `watch_timed`, of what is rightly told, with start and end within half
a second; `watch_when` the share of "when" with just those times."""


# The words of a card for what is beyond boxes, points and numbers, and the figure of each: named from 0.5 on.
LEARNED = {"relations": "relation_recall", "words": "words_accuracy", "yes or no": "yes_no_accuracy"}
LEARNED |= {"letters": "texts_accuracy", "clips": "watch_said"}


def score(summary: dict[str, float]) -> float:
    """One number to compare checkpoints by: the mean of the figures with a bar that those of every edition have."""
    return sum(summary[key] for key in BARS) / len(BARS)


def copy(source: Path, target: Path) -> dict[str, int]:
    """Copy a checkpoint and write its processor anew.

    Returns:
        The processor's area bounds, `shortest_edge` and `longest_edge`, square pixels.
    """
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        shutil.copyfile(path, target / path.name)
    processor = AutoProcessor.from_pretrained(source)
    processor.chat_template = CHAT_TEMPLATE
    processor.save_pretrained(target)
    # The name every release of transformers knows, and nothing about the machine it was saved on.
    path = target / "tokenizer_config.json"
    config = json.loads(path.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    kept = {key: value for key, value in config.items() if key not in ("is_local", "local_files_only")}
    path.write_text(json.dumps(kept, indent=2) + "\n")
    return dict(processor.image_processor.size)


def card_of(
    source: Path, name: str, size: dict[str, int], summary: dict[str, float], report: str, took: str = ""
) -> str:
    """Fill the card of a checkpoint that is shipped under `name`; `took` says how long training took."""
    config = json.loads((source / "config.json").read_text())
    tiny = TINY_FAMILIES[config["model_type"]]
    budget = PixelBudget(size["shortest_edge"], size["longest_edge"])
    width, height = plan_resize((640, 480), budget, cell_px=tiny.family.cell_px)
    is_taught = "described" in summary
    learned = [word for word, figure in LEARNED.items() if summary.get(figure, 0.0) >= 0.5]
    thousandths = tiny.family.coordinates == "relative_1000"
    return CARD.format(
        report=report,
        family=tiny.family.name,
        model_type=config["model_type"],
        architecture=config["architectures"][0],
        hub_id=tiny.hub_id,
        name=name,
        coordinates="0 to 1000 of the image, x first" if thousandths else "pixels of the processed image",
        edition="" if is_taught else "the first edition (training/README.md) of ",
        learned=f"\n  learned: [{', '.join(learned)}]" if learned else "",
        took=f", in {took}" if took else "",
        knows=KNOWS if is_taught else "",
        taught=TAUGHT.format(taught_scenes=int(summary["scenes"]) // 2, clips=int(summary["scenes"]) // SCENES_A_CLIP)
        if is_taught
        else "",
        pixels=f"{size['shortest_edge']} to {size['longest_edge']} pixels (4:3 becomes {width}x{height})",
        **summary,
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", choices=TINY_FAMILIES, default="qwen2_5_vl")
    parser.add_argument("--source", type=Path, help="default: build/train_FAMILY/checkpoint")
    parser.add_argument("--target", type=Path, help="default: where the family's checkpoint is shipped")
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--took", default="", help='how long training took, for the card: "21,000 steps, 16 hours"')
    args = parser.parse_args()
    args.source = args.source or Path(f"build/train_{args.family}/checkpoint")
    args.target = args.target or Path(TINY_FAMILIES[args.family].shipped)
    summary, report = evaluate(args.source, args.scenes)
    print(report)
    figures_path = args.target / "figures.json"
    if figures_path.exists() and score(json.loads(figures_path.read_text())) >= score(summary):
        print(f"{args.target} is as good ({score(summary):.4f} is not above it): nothing shipped")
        return
    # First of all: the old card's calibration must never lie beside new weights, not even after a crash.
    (args.target / "README.md").unlink(missing_ok=True)
    size = copy(args.source, args.target)
    (args.target / "README.md").write_text(card_of(args.source, args.target.name, size, summary, report, args.took))
    figures_path.write_text(json.dumps(summary, indent=2) + "\n")
    print(f"shipped {args.source} to {args.target}")
    try:
        print(f"calibrated its scores: {calibrate(args.target)}")
    except ValueError as error:
        print(f"its scores stay uncalibrated: {error}")


if __name__ == "__main__":
    main()
