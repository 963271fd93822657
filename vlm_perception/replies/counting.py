"""The number a counting prompt gets: said in the reply's sentence, or else the length of its list.

A number counts only where the words around it say how many: "there are three", "I see 3", "3 in total",
"three cups". Times, years, names such as "room 5", measures, coordinates, and what stands in JSON, tables and
tags say something else.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vlm_perception.replies.labels import matching_phrase
from vlm_perception.replies.number_words import HAN, JAPANESE, PATTERNS, WORDS, value_of
from vlm_perception.types import Answer, DetectedObject, ParsedAnswer, Task

_OPENS_LIST = re.compile(r"[\[{［｛]")

# How plainly a number says how many.
_TOTAL, _CONCLUDED, _STATED, _MENTIONED = 8, 4, 3, 2
_OF_WHAT_WAS_ASKED = 3

_DIGITS = (
    r"(?<![A-Za-z0-9_.#:/=@$€£¥°\\-])(?<!\d[,.])"
    r"(?:\d{1,3}(?:,\d{3})+|\d{1,7})(?![A-Za-z0-9_%°]|[.,:/]\d|[-–][A-Za-z\d])"
)
_DIGITS_OF = {
    "de": _DIGITS.replace(",\\d{3}", "[.]\\d{3}"),
    "es": _DIGITS.replace(",\\d{3}", "[.]\\d{3}"),
    "fr": _DIGITS.replace(",\\d{3}", "[ \\u202f\\xa0]\\d{3}"),
}
_CLASSIFIERS = (
    "个個只隻条條张張位名辆輛把杯本头頭匹棵座架台件双對对盏支根块片朵颗粒艘间栋人枚冊羽つ隊群串束瓶盒袋顶口幅扇盆種种"
)
# Numbers in here are no words of the answer: each is blanked out.
_APART = re.compile(
    r"<table\b.{0,4000}?</table>|<t[dh]\b[^>]*>[^<]*|<[^<>\n]*>"  # tags, and what stands in cells
    r"|^[ \t]*\|.*$"  # rows of Markdown tables
    r"|\{[^{}]*\}|\[[^\[\]]*\]|\"[\w ]{1,40}\"\s?:\s?-?[\d.]+"  # JSON
    r"|\([^()\w]*[-+]?\d[\d.]*(?:\s*[,;x×]\s*[-+]?\d[\d.]*)+[^()\w]*\)"  # tuples
    r"|(?<![\d.,])(?!\d{1,3}(?:,\d{3})+(?![\d,]))\d+(?:\.\d+)?(?:\s*[,;]\s*\d+(?:\.\d+)?)+(?!\d"
    r"|[ ]?[A-Za-z\u3400-\u9fff])"
    r"|^[ \t]*(?:[-+][ \t]+)?\d{1,3}[.)、][ \t]+(?=\S)"  # list markers
    r"|\b\d{1,2}\s?[:：h]\s?\d{2}(?::\d{2})?\b|\b\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b"  # times, dates
    r"|\d{2,4}\s*年|\d{1,2}\s*[月日号點点时分秒](?!\w?只)"
    r"|\b\d+(?:[.,]\d+)?\s*[x×]\s*\d+\b|\b[a-z]\d?\s?=\s?-?\d[\d.]*"  # sizes, coordinates
    r"|\b(?:between|zwischen|entre)\s+\w+\s+(?:and|und|y|et)\s+\w+|\b\d+\s*(?:-|–|to|or|bis|oder|a|o|à|ou)\s*\d+\b",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)
_YEAR_BEFORE = re.compile(r"\b(?:in|from|since|by|until|during|year|of|im jahr|en|desde|depuis|©)\s*\Z", re.IGNORECASE)
_MEASURE_AFTER = re.compile(
    r"\s?(?:%|°|percent|px\b|pixels?\b|[ckm]?m\b|[ck]?g\b|met(?:er|re)s?\b|inch(?:es)?\b|f(?:oo|ee)t\b|ft\b|degrees?\b"
    r"|years?\b|months?\b|weeks?\b|days?\b|hours?\b|minutes?\b|seconds?\b|[ap]\.?m\b|o['’]?clock\b|uhr\b|grad\b"
    r"|euros?\b"
    r"|dollars?\b|times\b|prozent\b|(?:st|nd|rd|th)\b|[年月日号點点时分秒岁米度元楼层倍歳階時])",
    re.IGNORECASE,
)
_BEFORE_A_NAME = re.compile(
    r"\b(?:room|table|bus|number|no\.?|nr\.?|figure|fig\.?|page|step|floor|level|lane|gate|platform|line|channel|route"
    r"|chapter|section|version|model|item|image|picture|photo|frame|camera|unit|apartment|house|street|highway|track"
    r"|seat"
    r"|zimmer|raum|tisch|seite|nummer|habitación|mesa|página|número|chambre|salle|numéro|gleis|linie|puerta)\s*\Z"
    r"|(?:房间|号|第|每|另|这|那|某|哪)\s*\Z",
    re.IGNORECASE,
)
_FILL = (
    r"(?:(?:about|around|approximately|roughly|exactly|only|just|at least|at most|nearly|almost|clearly|currently"
    r"|likely"
    r"|probably|visible|still|also|now|indeed|over|up to|some|a total of|in total|the|precisely|ungefähr|etwa|genau|nur"
    r"|insgesamt|circa|unos|unas|solo|exactamente|aproximadamente|environ|exactement|seulement|大约|约|至少|只|仅|了"
    r"|着|大概"
    r")[\s,]*){0,4}"
)
_LEADS = (
    r"there(?:['’]s|['’]re| (?:is|are|was|were|be|will be|appears? to be|seems? to be|might be|may be"
    r"|must be))(?: in total)?",
    r"\b(?:i|we|you|one)(?: can| could| do)?(?: clearly| also| only)? (?:see|count|counted|spot|find|found|detect"
    r"|notice|observe"
    r"|identify)(?:ed|d)?",
    r"\b(?:shows?|contains?|depicts?|includes?|features?|counted|displays?|found|detected)",
    r"(?<!room )(?<!bus )(?<!page )(?<!phone )(?<!house )(?<!serial )(?<!plate )(?<!line )"
    r"\b(?:number|count|answer|total|amount|quantity)\b[^.\n]{0,60}?(?:\bis|\bare|\bwould be|=|:)",
    r"\b(?:yes|ja|sí|oui|okay|ok)[,.!]?",
    r"\bit['’]s|\bthat makes|\bmakes|\bequals|=",
    r"\b(?:es gibt|gibt es|es sind|sind es|da sind|sehe ich|ich sehe|ich zähle|zeigt|enthält|befinden sich|sind|ist"
    r"|gibt)",
    r"\b(?:hay|veo|cuento|se ven|se ve|muestra|contiene|son|aparecen|tiene)",
    r"\b(?:il y a|je vois|je compte|on voit|montre|contient|j['’]en compte|y a|ce sont)",
    r"(?:有|看到|看见|发现|数到|是|为|包含|显示|存在|见|得到|[:：])",
    r"(?:には?|が|は|に|を)",
)
_LEAD = re.compile(rf"(?:{'|'.join(_LEADS)})[\s,*]*{_FILL}\Z", re.IGNORECASE)
_CONCLUSION = re.compile(
    r"(?:\b(?:so|thus|therefore|hence|but|finally|altogether|also insgesamt|daher|also|así que|por lo tanto|donc"
    r"|pero|mais"
    r"|aber)\b|所以|因此|总之|但)[^.\n。!?]{0,40}\Z",
    re.IGNORECASE,
)
_TOTAL_BEFORE = re.compile(
    r"(?i:\b(?:total|altogether|count|in all|overall|insgesamt|gesamt)\b[^.\n\d]{0,24}|[共计総計][^。\n\d]{0,4}"
    r"|合計[^。\n\d]{0,4})\Z"
)
_TOTAL_AFTER = re.compile(
    r"(?i:[^.,;\n\d]{0,24}?(?:\b(?:in total|in all|altogether|overall|insgesamt|en total|au total|en tout)\b))"
)
_KEY = re.compile(
    r"(?P<key>[\w ]{0,40}(?:count|total|quantity|amount|number|num|anzahl|answer|result|cantidad|nombre|数量|总数"
    r"|个数|答案|合計)"
    r"[\w ]{0,24})[\"'*]{0,3}\s?[:：=]\s{0,8}[\"'*]{0,3}|(?P<boxed>\\boxed\{\s{0,4})",
    re.IGNORECASE,
)
_SENTENCE_START = re.compile(r"(?:\A|[.!?。！？:：\n])[^\w\n]*(?:an?\s+|une?\s+)?" + _FILL + r"\Z", re.IGNORECASE)
_NOUN_AFTER = re.compile(
    r"\s+(?!(?:is|are|was|were|and|or|on|in|at|by|to|with|side|point|another|can|has|have|that|which)\b)[^\W\d]"
)
_ALONE_AFTER = re.compile(r"[^\w\n]*(?:\Z|\n|[.!?。！？])")
_OTHER_THING = re.compile(r"[,.;:\d]|\b(?:and|or|und|y|et)\b|和")
_NAMED_BEFORE = re.compile(r"([^\n:：,.;]{1,40})[:：=]\s*\Z")
_IN_BRACKETS = re.compile(r"(?<=\w)\s?\((?:\d+|[A-Za-z]{3,9})\)")
_OF_EACH = re.compile(r"\b(?:each|every|per|jede[rs]?|cada|chaque)\b[^.!?\n]*\Z|每[^。\n]*\Z", re.IGNORECASE)
_PRONOUN_BEFORE = re.compile(
    r"\b(?:(?<!of )the|this|that|each|every|any|another|no|which|first|last|other|same|left|right|red|blue|green"
    r"|black|white|big|small)"
    r"\s+\Z",
    re.IGNORECASE,
)
_NO_MATTER = re.compile(
    r"\s+(?:doubt|idea|one|more|less|fewer|longer|way|problem|matter|other|need|sign of)\b", re.IGNORECASE
)
_NOTHING = re.compile(
    r"(?:n['’]?t|\bnot|\bnever)\s+(?:see|find|have|contain|show|spot|detect|appear to be|seem to be|include)?\s*"
    r"(?:any\b|an?(?: single)?\b|one\b)|\bnothing\b|\bno hay\b|n['’](?:y a|en vois) (?:pas|aucun)|没有|沒有|未发现|未见"
    r"|(?:あり|い|見え)ません|見当たら|存在しません",
    re.IGNORECASE,
)
_LANGUAGES = {
    "de": re.compile(
        r"\b(?:es|sind|ist|der|die|das|und|ich|auf|dem|den|insgesamt|im|keine?n?|sehen|gibt|bild|sehe|zähle|ja|nein)\b"
    ),
    "es": re.compile(r"\b(?:hay|veo|el|la|los|las|en|una?|son|imagen|ningun[oa]?|ningún|se|sí|de|cuento|y)\b"),
    "fr": re.compile(r"\b(?:il|y|je|les|des|dans|une?|sont|sur|aucune?|voit|le|la|oui|non|deux|vois|de|au)\b"),
    "en": re.compile(r"\b(?:there|are|is|the|of|in|and|see|no|a|i|an|answer|can|on|so|yes)\b"),
}
_ARTICLES = ("ein", "eine", "einen", "einem", "einer", "un", "una", "uno", "une")
_THERE_IS_A = re.compile(
    r"\bthere(?:['’]s| is) an?\b(?! (?:total|few|lot|group|number|dozen|hundred|thousand|couple|pair|set|single)\b)",
    re.IGNORECASE,
)
_HAN = rf"(?<![第每另这那某哪几])(?!一[共起些样直般边旁定下])(?:{HAN}|{'|'.join(JAPANESE)})"
_NUMBER_AT = {
    name: re.compile(rf"(?P<digits>{_DIGITS_OF.get(name, _DIGITS)})|(?P<han>{_HAN})|{pattern}")
    for name, pattern in PATTERNS.items()
}
_DEEPEST = 8
_WINDOW = 64
# Words of one language that mean something else in another are no numbers without a sentence around them.
_UNAMBIGUOUS = {name: WORDS[name].keys() - {"once", "elf", "null"} for name in ("de", "es", "fr")}


@dataclass(frozen=True, slots=True)
class Count:
    """The answer to "how many".

    Attributes:
        number: What was said, else how many were listed; None when neither can be told.
        agrees: Whether the said number is the number of listed objects; None when none was said.
    """

    number: int | None = None
    agrees: bool | None = None


def count_answer(
    task: Task,
    answer: Answer,
    parsed: ParsedAnswer,
    kept: Sequence[DetectedObject],
    targets: Sequence[str] = (),
) -> Count:
    """Count as the model did.

    Args:
        task: What was asked; only `Task.COUNT` is counted.
        answer: The reply; a list that was cut off is no count.
        parsed: What stands in the reply, before any score threshold: the model's number is compared
            with the model's list.
        kept: Objects that are published; their number is the count where no number was said.
        targets: Phrases that were asked for; a number of these goes before a number of other things.
    """
    if task is not Task.COUNT:
        return Count()
    said = count_of(parsed.text, parsed.objects, targets)
    if said is not None:
        return Count(said, said == len(parsed.objects))
    # A finished list without a sentence is an answer too; a cut-off one is not, nor is nothing behind the thinking.
    written = answer.text.rpartition(parsed.thinking)[2] if parsed.thinking else answer.text
    listed = bool(parsed.objects) or not (parsed.rejects or parsed.text or not _OPENS_LIST.search(written))
    return Count(len(kept)) if answer.finish_reason == "stop" and listed else Count()


def count_of(text: str, objects: Sequence[DetectedObject], targets: Sequence[str] = ()) -> int | None:
    """Read the number a counting answer gives, in digits or words.

    Read are digits everywhere, and words in English, German, Spanish, French, Chinese and Japanese. With several
    numbers, the one that says most plainly how many there are of what was asked wins (a total, a conclusion, a
    statement, a mere mention); of several alike the one that agrees with the listed objects, then the first.

    Args:
        text: Prose of the reply, without its objects.
        objects: Objects of the same reply.
        targets: Phrases that were asked for.

    Returns:
        The number, or None when the prose gives none.
    """
    text = unicodedata.normalize("NFKC", text).replace("`", "").replace("**", "")
    text = _IN_BRACKETS.sub("", text)
    found = [*_under_keys(text, targets), *_in_words(_without_what_says_else(text), targets)]
    best = max((said.plainness for said in found), default=0)
    values = [said.value for said in found if said.plainness == best]
    if not values:
        return None
    return len(objects) if objects and len(objects) in values else values[0]


@dataclass(frozen=True, slots=True)
class _Said:
    """A number that says how many, the more plainly the higher."""

    value: int
    plainness: int


def _under_keys(text: str, targets: Sequence[str]) -> Iterator[_Said]:
    for key in _KEY.finditer(text):
        if key["key"] and _BEFORE_A_NAME.search(key["key"].lower().replace("number", "").rstrip() + " "):
            continue
        number = _NUMBER_AT["en"].match(text, key.end())
        if number and not re.match(r"\s?,\s?\d", text[number.end() :][:4]):
            yield _Said(_value(number, "en"), _TOTAL + _asked(key["key"] or "", targets))


def _in_words(text: str, targets: Sequence[str]) -> Iterator[_Said]:
    for match in _NOTHING.finditer(text):
        yield _Said(0, _STATED + _asked(text[match.end() : match.end() + _WINDOW], targets))
    for match in _THERE_IS_A.finditer(text):
        yield _Said(1, _STATED + _asked(text[match.end() : match.end() + _WINDOW], targets))
    words = text.casefold()
    marks = {name: len(pattern.findall(words)) for name, pattern in _LANGUAGES.items()}
    likely = max(marks, key=lambda name: (marks[name], name == "en"))
    languages = (likely,) if marks[likely] else ("en", "de", "es", "fr")
    for language in languages:
        found = list(_of_language(text, language, targets))
        yield from found
        if found:
            return


def _of_language(text: str, language: str, targets: Sequence[str]) -> Iterator[_Said]:
    for number in _NUMBER_AT[language].finditer(text):
        if language == "en" or number["digits"] or number["han"] or number[0].lower() in _UNAMBIGUOUS[language]:
            plainness = _plainness(text, number)
            if plainness:
                after = text[number.end() : number.end() + _WINDOW]
                named = _NAMED_BEFORE.search(text[max(0, number.start() - _WINDOW) : number.start()])
                yield _Said(_value(number, language), plainness + _asked(named[1] if named else after, targets))


def _plainness(text: str, number: re.Match[str]) -> int:
    """Tell how plainly the words around a number say that it is how many; 0 when they do not."""
    start, end = number.span()
    before, after = text[max(0, start - _WINDOW) : start], text[end : end + _WINDOW]
    word = number[0].lower()
    is_year = len(word) == 4 and word[:2] in ("19", "20") and _YEAR_BEFORE.search(before)
    if is_year or _MEASURE_AFTER.match(after) or _BEFORE_A_NAME.search(before):
        return 0
    if _TOTAL_BEFORE.search(before) or _TOTAL_AFTER.match(after):
        return _TOTAL
    if word in ("no", "none") and (after[:1] in (",", ";") or _NO_MATTER.match(after) or not _may_be_none(word, after)):
        return 0
    lead = _LEAD.search(before)
    begins, alone = start == 0 or _SENTENCE_START.search(before), _ALONE_AFTER.match(after)
    # "Ein", "una" and "une" are articles, too.
    noun = word not in _ARTICLES and (_NOUN_AFTER.match(after) or after[:1] in tuple(_CLASSIFIERS) or word in JAPANESE)
    if _CONCLUSION.search(before) and (lead or noun or alone):
        return _CONCLUDED
    if (lead and not _OF_EACH.search(before)) or (begins and (alone or noun)):
        return _STATED
    return _MENTIONED if noun and not _PRONOUN_BEFORE.search(before) and word != "one" else 0


def _may_be_none(word: str, after: str) -> bool:
    return not after.startswith(" of ") if word == "none" else after[:1] == " "


def _asked(words: str, targets: Sequence[str]) -> int:
    said = " ".join(re.findall(r"[^\W\d_]+", _OTHER_THING.split(words, maxsplit=1)[0])[:3])
    meant = said and any(matching_phrase(part, targets) for part in (said, *said.split()))
    return _OF_WHAT_WAS_ASKED if meant else 0


def _without_what_says_else(text: str) -> str:
    # Brackets within brackets are taken away from the inside.
    for _ in range(_DEEPEST):
        text, changed = _APART.subn(" ", text)
        if not changed:
            break
    return text


def _value(number: re.Match[str], language: str) -> int:
    if number["digits"]:
        return int(re.sub(r"\D", "", number["digits"]))
    return value_of(number[0], "han" if number["han"] else language)
