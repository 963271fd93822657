"""Every script gets a font that has it, or a number and one warning."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import ImageFont
from results import result_of

from vlm_perception.drawing import fonts, lettering
from vlm_perception.drawing.annotate import annotate
from vlm_perception.types import DetectedObject

CHINESE = "红色的圆"
EM = 1000


def picture(label: str | None, prompt: str = "shapes") -> np.ndarray:
    """Draw one box with a label, or none, on gray and return what was drawn."""
    rgb = np.full((480, 640, 3), 120, np.uint8)
    objects = () if label is None else (DetectedObject(label, (200.0, 150.0, 400.0, 300.0), None, score=0.87),)
    return annotate(rgb, result_of(rgb, *objects, prompt=prompt))


def forget() -> None:
    """Empty what the modules remember about this machine's fonts."""
    for module in (fonts, lettering):
        for thing in vars(module).values():
            if hasattr(thing, "cache_clear"):
                thing.cache_clear()


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start without a named font and without what other tests found."""
    monkeypatch.delenv(fonts.FONT_VARIABLE, raising=False)
    forget()
    yield
    forget()


def build_font(path: Path, characters: str) -> str:
    """Write a TrueType font: an empty frame for what is missing, and for each character bars of its own."""
    names = [".notdef", *(f"u{ord(character):04X}" for character in characters)]
    glyphs = {}
    for number, name in enumerate(names):
        pen = TTGlyphPen(None)
        frame = [[(50, 50), (50, 800), (950, 800), (950, 50)], [(150, 150), (850, 150), (850, 700), (150, 700)]]
        right = 50 + 100 * number
        bars = [[(50, y), (50, y + 90), (right, y + 90), (right, y)] for y in (0, 300, 600)]
        for contour in bars if number else frame:
            pen.moveTo(contour[0])
            for corner in contour[1:]:
                pen.lineTo(corner)
            pen.closePath()
        glyphs[name] = pen.glyph()
    builder = FontBuilder(EM, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(character): name for character, name in zip(characters, names[1:], strict=True)})
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(names, (EM, 50)))
    builder.setupHorizontalHeader(ascent=880, descent=-120)
    builder.setupNameTable({"familyName": "Built", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=880, sTypoDescender=-120)
    builder.setupPost()
    builder.save(path)
    return str(path)


@pytest.fixture
def chinese_font(tmp_path: Path) -> str:
    return build_font(tmp_path / "Chinese.ttf", CHINESE)


def only_installed(monkeypatch: pytest.MonkeyPatch, *paths: str) -> None:
    monkeypatch.setattr(fonts, "_WIDE", tuple(Path(path).name for path in paths))
    monkeypatch.setattr(fonts, "_installed", lambda: {Path(path).name: path for path in paths})


def inked(text: str, size_px: int = 40) -> np.ndarray:
    mask = lettering.text_mask(text, size_px, 4000)
    assert mask is not None
    return mask


def test_installed_chinese_is_drawn_and_not_as_empty_frames(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chinese_font: str
) -> None:
    damaged = tmp_path / "damaged.ttf"
    damaged.write_bytes(b"\0" * 100)
    only_installed(monkeypatch, str(damaged), chinese_font)
    assert fonts.font_runs(CHINESE) == ((CHINESE, chinese_font),)
    label, number = ((picture(name) != 120).any(axis=2)[:140].sum() for name in (CHINESE, "#1"))
    assert label > 1.3 * number
    tofu = np.array(ImageFont.truetype(chinese_font, 40).getmask("\U0010fff0"))
    drawn = [inked(character) for character in CHINESE]
    for index, mask in enumerate(drawn):
        assert mask.any()
        assert mask[mask > 0].size != tofu[tofu > 0].size
        assert all((mask != other).any() for other in drawn[:index])
    assert inked(CHINESE).shape[1] == 4 * 40


def test_mixed_scripts_take_one_font_a_word_or_a_character(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chinese_font: str
) -> None:
    thai = build_font(tmp_path / "Thai.ttf", "กข")
    only_installed(monkeypatch, chinese_font, thai)
    own = fonts.PILLOWS_OWN
    assert fonts.font_runs("cup 0.87") == (("cup 0.87", own),)
    assert fonts.font_runs("red 红色 cup") == (("red ", own), ("红色 ", chinese_font), ("cup", own))
    assert fonts.font_runs("红a圆 กข") == (("红", chinese_font), ("a", own), ("圆 ", chinese_font), ("กข", thai))
    assert inked("red 红色 cup").shape[1] > inked("红色").shape[1] + inked("cup").shape[1]


def test_a_font_named_for_the_script_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bold, regular = (build_font(tmp_path / f"NotoSansThai-{style}.ttf", "ก") for style in ("Bold", "Regular"))
    monkeypatch.setattr(fonts, "_installed", lambda: {Path(path).name: path for path in (bold, regular)})
    assert fonts.font_runs("ก") == (("ก", regular),)


def test_a_font_named_by_the_user_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = build_font(tmp_path / "mine.ttf", "abc")
    monkeypatch.setenv(fonts.FONT_VARIABLE, mine)
    assert fonts.font_runs("abc") == (("abc", mine),)
    assert fonts.font_runs("xyz") == (("xyz", fonts.PILLOWS_OWN),)


@pytest.mark.parametrize("content", [None, b"", b"not a font at all"])
def test_a_wrong_named_font_is_said_once_and_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    path = tmp_path / "wrong.ttf"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv(fonts.FONT_VARIABLE, str(path))
    assert fonts.font_runs("abc") == (("abc", fonts.PILLOWS_OWN),)
    assert fonts.font_runs("def") is not None
    assert len(caplog.messages) == 1
    assert fonts.FONT_VARIABLE in caplog.text
    assert str(path) in caplog.text


def test_a_script_without_a_font_is_numbered_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    only_installed(monkeypatch)
    with caplog.at_level(logging.WARNING):
        first, second = picture(CHINESE), picture("的圆红色")
    assert fonts.font_runs(CHINESE) is None
    # Colours follow labels, so the pictures are compared by where something is drawn.
    numbered = (picture("#1") != 120).any(axis=2)
    for out in (first, second):
        assert ((out != 120).any(axis=2) == numbered).all()
    assert len(caplog.messages) == 1
    assert "fonts-noto-cjk" in caplog.text
    assert fonts.FONT_VARIABLE in caplog.text


def test_a_prompt_without_a_font_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    only_installed(monkeypatch)
    assert (picture(None, CHINESE) == picture(None, "(a script without a font)")).all()


def test_signs_without_a_font_are_left_out_and_the_letters_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    only_installed(monkeypatch)
    assert fonts.font_runs("cup 🤖") == (("cup", fonts.PILLOWS_OWN),)
    assert lettering.text_mask("🤖", 12, 100) is None


def test_accents_greek_and_cyrillic_need_nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    # supervision brings matplotlib, which brings a font that has them.
    monkeypatch.setattr(fonts, "_FOLDERS", ())
    for text in ("Tür", "ψαλίδι", "красный круг", "قلم", "e\u0301 Ж"):
        runs = fonts.font_runs(text)
        assert runs is not None, text
        assert all(run.text[0] != "\u0301" for run in runs), "marks stay with their letter"


def test_ascii_needs_no_font_file_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    only_installed(monkeypatch)
    assert inked("red circle 0.87").any()
    assert isinstance(fonts.load_font(fonts.PILLOWS_OWN, 12), ImageFont.FreeTypeFont)


def test_fonts_follow_one_another_in_the_direction_of_the_first_letter() -> None:
    hebrew, latin = fonts.FontRun("12 דלת ", "hebrew"), fonts.FontRun("cup", fonts.PILLOWS_OWN)
    assert lettering._in_drawing_order((hebrew, latin)) == (latin, hebrew)
    assert lettering._in_drawing_order((latin, hebrew)) == (latin, hebrew)


def test_small_text_is_still_text() -> None:
    # Capitals and stems of 8 pixels and more at the smallest size.
    mask = inked("H", 12)
    assert np.count_nonzero(mask.max(axis=1) > 128) >= 8
    assert inked("H", 12) is mask, "it is kept"
    assert not mask.flags.writeable


def test_text_is_cut_to_its_width_with_dots() -> None:
    whole, cut = inked("a long description of one thing", 12), lettering.text_mask("a long description of", 12, 60)
    assert cut is not None
    assert cut.shape[1] <= 60 < whole.shape[1]
    assert lettering.text_mask("a long description", 12, 3) is None


def test_plain_text_has_no_line_breaks_control_or_direction_characters() -> None:
    assert lettering.plain(" a\nb\t\x00c\u202e d\ud800 ") == "a b c d"
    assert len(lettering.plain("x" * 10**6)) <= 401
