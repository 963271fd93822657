"""Which colour a label names, in some languages, so that no red box is drawn around what is called blue."""

from __future__ import annotations

import re

# (hue in degrees, saturation, value)
HSV = tuple[float, float, float]

# Names that stand alone, then what they may end with. Whole words of alphabets; parts of words in Chinese and Japanese.
_ENGLISH, _GERMAN, _SPANISH, _FRENCH = (
    ("",),
    ("", "e", "er", "es", "en", "em"),
    ("o", "a", "os", "as"),
    ("", "e", "s", "es"),
)
_NAMED: tuple[tuple[HSV, str], ...] = (
    ((0.0, 0.85, 0.95), "red reddish crimson scarlet maroon rot- roj+ rouge* 红色 紅色 赤い 赤色"),
    ((28.0, 0.90, 1.00), "orange orangefarben- anaranjad+ naranja naranjas 橙色 橘色 オレンジ色"),
    ((25.0, 0.75, 0.55), "brown braun- marrón marrones marron* brun* 棕色 褐色 茶色"),
    ((52.0, 0.90, 0.98), "yellow golden gelb- amarill+ jaune* 黄色 黃色 黄色い"),
    ((125.0, 0.80, 0.72), "green greenish grün- gruen- verde verdes vert* 绿色 綠色 緑色"),
    ((175.0, 0.80, 0.75), "turquoise teal türkis- turquesa 青绿色"),
    ((190.0, 0.85, 0.95), "cyan 青色"),
    ((220.0, 0.80, 0.95), "blue bluish navy blau- azul azules bleu* 蓝色 藍色 青い"),
    ((280.0, 0.70, 0.85), "purple violet lila violett- morad+ púrpura violet* 紫色"),
    ((335.0, 0.50, 1.00), "pink rosa rosas rose* 粉色 粉红色 ピンク色"),
    ((0.0, 0.00, 0.12), "black schwarz- negr+ noir* 黑色 黒い 黒色"),
    ((0.0, 0.00, 1.00), "white weiss- blanc+ blanc* blanche* 白色 白い"),
    ((0.0, 0.00, 0.60), "gray grey silver grau- gris grises gris* 灰色 银色"),
)


def _forms() -> dict[str, HSV]:
    ends = {"-": _GERMAN, "+": _SPANISH, "*": _FRENCH}
    forms: dict[str, HSV] = {}
    for hsv, names in _NAMED:
        for name in names.split():
            for end in ends.get(name[-1], _ENGLISH):
                forms[name.rstrip("-+*") + end] = hsv
    return forms


_FORMS = _forms()
_PARTS = {name: hsv for name, hsv in _FORMS.items() if not name[0].isascii() and ord(name[0]) > 0x3000}


def named_colour(label: str) -> HSV | None:
    """Return the first colour that a label names, or None.

    Args:
        label: Any text; case does not matter.
    """
    key = label.casefold()
    found = [(word.start(), _FORMS[word[0]]) for word in re.finditer(r"[^\W\d_]+", key) if word[0] in _FORMS]
    found += [(key.index(part), hsv) for part, hsv in _PARTS.items() if part in key]
    return min(found)[1] if found else None
