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
from vlm_perception.apps.demo.report import questions_about
from vlm_perception.apps.detect import command as vlm_detect
from vlm_perception.scenes import MovingScene

IMAGES = ROOT / "docs" / "images"
RATE_HZ, FRAMES_A_PROMPT = 6, 18
# Faster than in the demo, so that its few seconds show that things move.
# A scene whose objects differ, two of them carts.
SEED, N_OBJECTS, SPEED = 1055, 4, 0.03
IMAGE_WH, SHOWN_WIDTH = (640, 480), 480
COLOURS = 64


def moving_picture(target: Path, frames_a_prompt: int = FRAMES_A_PROMPT) -> None:
    """Ask about the demo's scene while it moves, one prompt after another, and write the annotated frames as GIF."""
    scene = MovingScene(SEED, IMAGE_WH, N_OBJECTS, SPEED)
    prompts = [asked.prompt for asked in questions_about([truth.label for truth in scene.at(0.0).truths])]
    shown: list[Image.Image] = []
    for number, prompt in enumerate(prompts):
        begin = number * frames_a_prompt
        rgbs = [scene.at(index / RATE_HZ).rgb for index in range(begin, begin + frames_a_prompt)]
        shown += _annotated([Image.fromarray(rgb) for rgb in rgbs], prompt)
    # One palette for all, or colours flicker.
    width, height = shown[0].size
    sample = Image.new("RGB", (width, height * len(prompts)))
    for number, frame in enumerate(shown[::frames_a_prompt]):
        sample.paste(frame, (0, number * height))
    # By coverage, or thin lines take the colour of whatever large thing is near to theirs.
    palette = sample.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE)
    first, *others = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in shown]
    first.save(target, save_all=True, append_images=others, duration=1000 // RATE_HZ, loop=0, optimize=False)


def _annotated(frames: list[Image.Image], prompt: str) -> list[Image.Image]:
    with tempfile.TemporaryDirectory() as folder:
        drawn, annotated = Path(folder, "drawn"), Path(folder, "annotated")
        drawn.mkdir()
        for index, frame in enumerate(frames):
            frame.save(drawn / f"{index:03}.png")
        arguments = [str(drawn), "--model", "tiny", "--prompt", prompt, "--annotated", str(annotated), "--quiet"]
        if code := vlm_detect.main([*arguments, "--output", str(Path(folder, "found.jsonl"))]):
            raise SystemExit(code)
        return [_shown(Image.open(path).convert("RGB")) for path in sorted(annotated.iterdir())]


def _shown(picture: Image.Image) -> Image.Image:
    """Shrink a picture, with the bar below it."""
    height = round(picture.height * SHOWN_WIDTH / picture.width)
    return picture.resize((SHOWN_WIDTH, height), Image.Resampling.LANCZOS)


def page_picture(target: Path) -> None:
    """Run the test of the page's counting example and keep its screenshot."""
    made = ROOT / "build" / "screenshots" / "ui_desktop.png"
    made.unlink(missing_ok=True)
    test = "test/web/test_browser.py::test_counting_example_in_one_click"
    subprocess.run([sys.executable, "-m", "pytest", "-q", test], cwd=ROOT, check=True)
    if not made.exists():
        raise SystemExit("the page's test was skipped: there is no browser. Remedy: apt-get install -y chromium")
    Image.open(made).quantize(COLOURS * 2).save(target, optimize=True)


if __name__ == "__main__":
    moving_picture(IMAGES / "demo.gif")
    page_picture(IMAGES / "ui.png")
