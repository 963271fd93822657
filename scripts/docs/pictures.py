"""The pictures in docs/images, made from the product at work: `make pictures`.

`demo.gif` is what the shipped tiny model answers about the demo's scene, drawn by vlm-detect. `ui.png` is what a
browser shows after the page's counting example; its test makes it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from scripts.docs.pages import ROOT
from vlm_perception.apps.demo.demo import N_OBJECTS, SEED
from vlm_perception.apps.demo.report import questions_about
from vlm_perception.apps.detect import command as vlm_detect
from vlm_perception.scenes import MovingScene

IMAGES = ROOT / "docs" / "images"
# Faster than in the demo, so that its few seconds show that things move.
RATE_HZ, SECONDS_A_PROMPT, SPEED = 6, 3, 0.03
IMAGE_WH, SHOWN_WH = (640, 480), (480, 360)
COLOURS = 64


def moving_picture(target: Path) -> None:
    """Ask about the demo's scene while it moves, one prompt after another, and write the annotated frames as GIF."""
    scene = MovingScene(SEED, IMAGE_WH, N_OBJECTS, SPEED)
    prompts = [question.prompt for question in questions_about([truth.label for truth in scene.at(0.0).truths])]
    shown: list[Image.Image] = []
    for number, prompt in enumerate(prompts):
        with tempfile.TemporaryDirectory() as folder:
            drawn, annotated = Path(folder, "drawn"), Path(folder, "annotated")
            drawn.mkdir()
            for index in range(RATE_HZ * SECONDS_A_PROMPT):
                time_s = number * SECONDS_A_PROMPT + index / RATE_HZ
                Image.fromarray(scene.at(time_s).rgb).save(drawn / f"{index:03}.png")
            arguments = [str(drawn), "--model", "tiny", "--prompt", prompt, "--annotated", str(annotated), "--quiet"]
            if code := vlm_detect.main([*arguments, "--output", str(Path(folder, "found.jsonl"))]):
                raise SystemExit(code)
            for path in sorted(annotated.iterdir()):
                shown.append(Image.open(path).convert("RGB").resize(SHOWN_WH, Image.Resampling.LANCZOS))
    # One palette for all, or colours flicker.
    sample = Image.new("RGB", (SHOWN_WH[0], SHOWN_WH[1] * len(prompts)))
    for number in range(len(prompts)):
        sample.paste(shown[number * RATE_HZ * SECONDS_A_PROMPT], (0, number * SHOWN_WH[1]))
    palette = sample.quantize(COLOURS)
    frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in shown]
    frames[0].save(target, save_all=True, append_images=frames[1:], duration=1000 // RATE_HZ, loop=0, optimize=False)


def page_picture(target: Path) -> None:
    """Run the test of the page's counting example and keep its screenshot."""
    test = "test/web/test_browser.py::test_counting_example_in_one_click"
    subprocess.run([sys.executable, "-m", "pytest", "-q", test], cwd=ROOT, check=True)
    Image.open(ROOT / "build" / "screenshots" / "ui_desktop.png").quantize(COLOURS * 2).save(target, optimize=True)


if __name__ == "__main__":
    moving_picture(IMAGES / "demo.gif")
    page_picture(IMAGES / "ui.png")
