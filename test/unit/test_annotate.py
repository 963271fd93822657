"""Drawing: right places, right colours, readable text, input untouched."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ImageFont

from vlm_perception import fonts
from vlm_perception.annotate import annotate
from vlm_perception.types import (
    Answer,
    DetectedObject,
    Frame,
    FrameHeader,
    PixelBudget,
    Prompt,
    Request,
    Result,
    Task,
    Timings,
)

GRAY = 120


def gray(width: int = 640, height: int = 480) -> NDArray[np.uint8]:
    image = np.full((height, width, 3), GRAY, dtype=np.uint8)
    image.flags.writeable = False
    return image


def result_of(
    rgb: NDArray[np.uint8], *objects: DetectedObject, prompt: str = "shapes", text: str = "", count: int | None = None
) -> Result:
    frame = Frame(rgb, FrameHeader(0, 0, ""), "/image", 0.0)
    request = Request(frame, Prompt(prompt, Task.DETECT, prompt), PixelBudget(3136, 10**6), 8)
    answer = Answer("", (1, 1), "absolute", "stop", (), Timings(0, 0, 0))
    return Result(request, answer, objects, (), text, count)


def changed(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray((before != after).any(axis=2))


BOX = DetectedObject("cart", (200.0, 150.0, 400.0, 300.0), None, score=0.87)
POINT = DetectedObject("wheel", None, (320.0, 240.0))


def test_input_is_untouched_and_output_is_its_own() -> None:
    rgb = gray()
    out = annotate(rgb, result_of(rgb, BOX, POINT))
    assert (rgb == GRAY).all()
    assert out.shape == rgb.shape
    assert out.dtype == np.uint8
    assert not np.shares_memory(out, rgb)


def test_box_is_drawn_on_its_edges_and_not_inside() -> None:
    rgb = gray()
    marks = changed(rgb, annotate(rgb, result_of(rgb, BOX)))
    assert marks[152:298, 200].all()
    assert marks[300, 200:400].all()
    assert not marks[170:280, 220:380].any()


def test_point_is_drawn_where_it_is() -> None:
    rgb = gray()
    marks = changed(rgb, annotate(rgb, result_of(rgb, POINT)))
    assert marks[240, 320]
    # The label stands above the dot, so the dot alone is looked at from its centre down.
    columns = np.nonzero(marks[240, 300:340])[0] + 300
    assert columns.min() + columns.max() == pytest.approx(640, abs=2)
    assert not marks[250:400].any()


def test_colours_keep_rgb_order() -> None:
    # supervision draws BGR: a red image must stay red outside the marks.
    rgb = np.zeros((100, 100, 3), np.uint8)
    rgb[..., 0] = 200
    assert (annotate(rgb, result_of(rgb))[10, 10] == (200, 0, 0)).all()


def test_same_label_same_colour_other_label_other_colour() -> None:
    rgb = gray()
    boxes = [DetectedObject(label, (50.0 + 150 * i, 150, 150.0 + 150 * i, 300), None) for i, label in enumerate("aab")]
    out = annotate(rgb, result_of(rgb, *boxes))
    first, second, third = (out[225, 50 + 150 * i] for i in range(3))
    assert (first == second).all()
    assert (first != third).any()


def test_score_prompt_count_and_text_change_the_picture() -> None:
    rgb = gray()
    unscored = DetectedObject("cart", BOX.xyxy, None)
    plain = annotate(rgb, result_of(rgb, unscored))
    for other in (
        result_of(rgb, BOX),
        result_of(rgb, unscored, prompt="things"),
        result_of(rgb, unscored, count=7),
        result_of(rgb, unscored, text="a cart"),
        result_of(rgb, DetectedObject("cart", BOX.xyxy, None, {"sub_label": "old"})),
    ):
        assert changed(plain, annotate(rgb, other)).any()


def test_lines_and_text_grow_with_the_image() -> None:
    def bar_height(height: int) -> int:
        rgb = gray(height * 4 // 3, height)
        return int(changed(rgb, annotate(rgb, result_of(rgb)))[:, 0].sum())

    assert bar_height(1080) > 1.8 * bar_height(480)


@pytest.mark.parametrize("size", [(1, 1), (8, 6), (64, 48), (3000, 20)])
def test_odd_sizes_are_drawn(size: tuple[int, int]) -> None:
    rgb = gray(*size)
    whole = DetectedObject("a very long label indeed", (0.0, 0.0, float(size[0]), float(size[1])), None, score=0.5)
    assert annotate(rgb, result_of(rgb, whole, prompt="p" * 300)).shape == rgb.shape


def test_long_prompts_are_cut_inside_the_picture() -> None:
    rgb = gray()
    short, long = (annotate(rgb, result_of(rgb, prompt="word " * n)) for n in (300, 400))
    assert (short == long).all()


def test_a_script_without_a_font_is_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_installed", lambda: ())
    rgb = gray()
    chinese = DetectedObject("红色的圆", BOX.xyxy, None, score=0.87)
    numbered = DetectedObject("#1", BOX.xyxy, None, score=0.87)
    assert fonts.font_for("红色") is None
    assert (annotate(rgb, result_of(rgb, chinese)) == annotate(rgb, result_of(rgb, numbered))).all()


def test_ascii_needs_no_installed_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_installed", lambda: ())
    assert fonts.font_for("red circle 0.87") == ""
    assert isinstance(fonts.load_font("", 12), ImageFont.FreeTypeFont)


def test_a_font_is_chosen_by_the_glyphs_it_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Two stand-ins: the first lacks what the second has.
    glyphs = {"latin": "é", "cjk": "é红"}
    monkeypatch.setattr(fonts, "_installed", lambda: ("latin", "cjk"))
    monkeypatch.setattr(fonts, "_has_glyph", lambda path, character: character in glyphs[path])
    assert fonts.font_for("é") == "latin"
    assert fonts.font_for("红 é") == "cjk"
    assert fonts.font_for("ж") is None


def test_missing_glyphs_are_told_from_drawn_ones() -> None:
    path = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    assert fonts._has_glyph(path, "é")
    assert fonts._has_glyph(path, "Ж")
    assert not fonts._has_glyph(path, "红")
