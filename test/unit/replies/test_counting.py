"""The number of a counting answer, and whether its list agrees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.replies.counting import Count, count_answer, count_of
from vlm_perception.replies.reader import parse_answer
from vlm_perception.types import Answer, DetectedObject, FinishReason, Task, Timings

CAT = '{"bbox_2d": [10, 20, 30, 40], "label": "cat"}'
DOG = '{"bbox_2d": [50, 60, 70, 80], "label": "dog"}'
BAD = '{"bbox_2d": [50, 60, 70], "label": "dog"}'
TWO = f"```json\n[\n\t{CAT},\n\t{DOG}\n]\n```\n"

# Reply, how it ended, the number, whether the list agrees.
REPLIES: list[tuple[str, FinishReason, int | None, bool | None]] = [
    # Said in digits, in English and in Chinese words.
    (TWO + "There are 2 animals.", "stop", 2, True),
    (TWO + "There are two animals.", "stop", 2, True),
    (TWO + "图中有两只动物。", "stop", 2, True),
    (TWO + "图中有2只动物。", "stop", 2, True),
    (TWO + "There are twenty-one animals.", "stop", 21, False),
    (TWO + "一共有十二只动物。", "stop", 12, False),
    (TWO + "In the picture with 3 trees there are 2 animals.", "stop", 2, True),
    ("[]\nThere are 0 animals.", "stop", 0, True),
    ("There are no animals.", "stop", 0, True),
    ("[]\n图中没有动物。", "stop", 0, True),
    ("There are three animals.", "stop", 3, False),  # said, but not shown
    # Not said: the list is the answer, and there is nothing to compare it with.
    (TWO, "stop", 2, None),
    ("[]", "stop", 0, None),
    # An item that cannot be used was not listed.
    (f"[{CAT}, {BAD}]\nThere are 2 animals.", "stop", 2, False),
    # Cut off: the number may still have come, the list may not be whole.
    (TWO + "There are 2 animals. They", "length", 2, True),
    (f"[{CAT}, {DOG}", "length", None, None),
    (f"[{CAT}, {DOG}", "aborted", None, None),
    ("I cannot tell.", "stop", None, None),
]


def reply(text: str, finish_reason: FinishReason = "stop") -> Answer:
    return Answer(text, (100, 100), "absolute", finish_reason, (), Timings(0.0, 0.0, 0.0))


@pytest.mark.parametrize(("text", "finish_reason", "number", "agrees"), REPLIES)
def test_number_and_agreement(text: str, finish_reason: FinishReason, number: int | None, agrees: bool | None) -> None:
    parsed = parse_answer(text, model_wh=(100, 100), image_wh=(100, 100))
    assert count_answer(Task.COUNT, reply(text, finish_reason), parsed, parsed.objects) == Count(number, agrees)


def test_the_models_number_is_compared_with_its_own_list_not_with_what_a_threshold_left() -> None:
    text = TWO + "There are 2 animals."
    parsed = parse_answer(text, model_wh=(100, 100), image_wh=(100, 100))
    assert count_answer(Task.COUNT, reply(text), parsed, parsed.objects[:1]) == Count(2, True)
    ambiguous = TWO + "In 1 of the 2 cages."
    parsed = parse_answer(ambiguous, model_wh=(100, 100), image_wh=(100, 100))
    assert count_answer(Task.COUNT, reply(ambiguous), parsed, parsed.objects[:1]) == Count(2, True)


def test_without_a_number_what_is_published_is_counted() -> None:
    parsed = parse_answer(TWO, model_wh=(100, 100), image_wh=(100, 100))
    assert count_answer(Task.COUNT, reply(TWO), parsed, parsed.objects[:1]) == Count(1, None)
    assert count_answer(Task.COUNT, reply(TWO), parsed, ()) == Count(0, None)


@pytest.mark.parametrize("task", [task for task in Task if task is not Task.COUNT])
def test_other_questions_are_not_counted(task: Task) -> None:
    text = TWO + "There are 2 animals."
    parsed = parse_answer(text, model_wh=(100, 100), image_wh=(100, 100))
    assert count_answer(task, reply(text), parsed, parsed.objects) == Count()


# prose, objects listed, number
COUNTS: list[tuple[str, int, int | None]] = [
    ("There are 3 circles.", 3, 3),
    ("There are three circles.", 0, 3),
    ("There is one cat.", 1, 1),
    ("Twenty-three owls", 0, 23),
    ("There are no cats.", 0, 0),
    ("None.", 0, 0),
    ("zero", 0, 0),
    ("a dozen eggs", 0, 12),
    ("3 red and 2 green apples, 5 in total.", 0, 5),  # the total wins over its parts
    ("A total of 6 eyes: each of the three owls has two.", 3, 6),  # the total wins over the list, too
    ("Each of the 3 owls has 2 eyes, so there are 6.", 6, 6),  # the number that agrees with the list
    ("2 of the 7 are red", 0, 2),  # nothing to agree with: the first
    ("count: 4", 4, 4),  # said by a wrapper
    ("1. red cart\n2. blue cart\nSo there are 2 carts.", 0, 2),  # list markers are no counts
    ("The 1st and the 2nd are red.", 0, None),  # nor are ordinals
    ("It is 2.5 m away.", 0, None),  # nor decimals
    ("50% sure", 0, None),
    ("x1 and y2", 0, None),  # nor parts of names
    ("图中一共有三个红色的圆。", 3, 3),  # 一共 is "in all", not one
    ("共有12个", 0, 12),
    ("有两只猫", 0, 2),
    ("十二个", 0, 12),
    ("二十三只", 0, 23),
    ("一百零五个", 0, 105),
    ("没有", 0, 0),
    ("第一个是红色的", 0, None),  # the first one is red
    ("A red cart.", 1, None),
    ("sıx ſeven", 0, None),  # i and s to a pattern without case
    ("", 0, None),
]


@pytest.mark.parametrize(("text", "listed", "number"), COUNTS)
def test_counts(text: str, listed: int, number: int | None) -> None:
    objects = [DetectedObject(f"o{i}", (0, 0, 1, 1), None) for i in range(listed)]
    assert count_of(text, objects) == number


# prose, what was asked, number
SAYS_HOW_MANY: list[tuple[str, tuple[str, ...], int | None]] = [
    ('{"action": "click", "coordinate": [640, 900]}', (), None),
    ("No, there is one cup.", (), 1),
    ("There are 1,200 people.", (), 1200),
    ("1, 2, 3, 4. So there are four owls.", (), 4),
    ("There are 3 people and 2 dogs.", ("dogs",), 2),
    ("I see 4 dogs.", ("dogs",), 4),
    ("The image contains 12 sheep.", ("sheep",), 12),
    ("There are a hundred and five people.", (), 105),
    ("There are 1,024 dots.", (), 1024),
    ("one thousand two hundred", (), 1200),
    ("The cup at (100, 200) is red.", (), None),
    ("x=100, y=200", (), None),
    ("cups = 3", ("cups",), 3),
    ("Total cups: 3", (), 3),
    ("\\boxed{7}", (), 7),
    ("$\\boxed{7}$", (), 7),
    ("The final answer is 7.", (), 7),
    ("There are 2 dogs, 3 cats: 5 animals in total.", (), 5),
    ("I count: 1, 2, 3, 4, 5. There are five.", (), 5),
    ("1 cat, 2 cat, 3 cat. So there are three cats.", (), 3),
    ("Step 1: look. Step 2: count. There are 6 birds.", (), 6),
    ("The photo taken on 2023-05-06 shows 4 boats.", (), 4),
    ("At 5 pm there were two cars.", (), 2),
    ("Car 54 is the only one; there is 1 car.", (), 1),
    ("The car has a 4-digit plate 1234.", (), None),
    ("There are no cats.", (), 0),
    ("No cats are visible.", (), 0),
    ("No, I can't see any cats.", (), 0),
    ("There is no doubt: there are 4 cats.", (), 4),
    ("No one is there.", (), None),
    ("None of the cups is red.", (), None),
    ("Nothing.", (), 0),
    ("There is not a single cup.", (), 0),
    ("图中没有猫。", (), 0),
    ("图片中共有12只鸟。", (), 12),
    ("有１０个人", (), 10),
    ("答案是4。", (), 4),
    ("一共十五个苹果", (), 15),
    ("图里有两千人", (), 2000),
    ("下午3点有2个人", (), 2),
    ("3号房间有5把椅子", (), 5),
    ("这是第3张图", (), None),
    ("一个也没有", (), 0),
    ("有一百二十三个", (), 123),
    ("四", (), 4),
    ("5个", (), 5),
    ("2020年有3辆车", (), 3),
    ("一些人", (), None),
    ("左边有一个，右边有两个，总共三个", (), 3),
    ("猫が2匹います。", (), 2),
    ("りんごは三つあります", (), 3),
    ("人が五人います", (), 5),
    ("猫はいません。", (), 0),
    ("全部で7個です", (), 7),
    ("ふたつあります", (), 2),
    ("Es gibt vier Tassen.", (), 4),
    ("Auf dem Bild sind einundzwanzig Personen.", (), 21),
    ("Ich sehe eine Tasse.", (), 1),
    ("Es sind keine Tassen zu sehen.", (), 0),
    ("Insgesamt 1.200 Personen.", (), 1200),
    ("Drei", (), 3),
    ("Drei Tassen.", (), 3),
    ("Um 12:30 Uhr sind es zwei.", (), 2),
    ("Hay tres gatos.", (), 3),
    ("Veo veintidós personas.", (), 22),
    ("No hay gatos.", (), 0),
    ("Hay una taza.", (), 1),
    ("Tres.", (), 3),
    ("Son treinta y dos.", (), 32),
    ("En total hay cinco.", (), 5),
    ("Il y a trois chats.", (), 3),
    ("Je vois vingt et un chats.", (), 21),
    ("Il n'y a pas de chats.", (), 0),
    ("Il y a une tasse.", (), 1),
    ("Quatre-vingt-deux personnes.", (), 82),
    ("Au total, sept chats.", (), 7),
    ("The image is 1920 pixels wide.", (), None),
    ("Score 3/5", (), None),
    ("version 2.5.1", (), None),
    ("Phone: 555-1234", (), None),
    ("$5", (), None),
    ("5 km", (), None),
    ("It's been 3 years.", (), None),
    ("There are between 3 and 5 people.", (), None),
    ("There are 10-12 people.", (), None),
    ("about 50 people", (), 50),
    ("around twenty", (), 20),
    ('{"count": 3, "objects": []}', (), 3),
    ('{"total_cups": 3}', (), 3),
    ('{"number_of_cups": "3"}', (), 3),
    ('{"room": 5}', (), None),
    ('{"type": "text", "x": 3}', (), None),
    ("[3, 4]", (), None),
    ("<p>There are <b>3</b> cups</p>", (), 3),
    ("<td>4</td>", (), None),
    ("|cup|3|", (), None),
    ("Cups: 3", ("cups",), 3),
    ("- cups: 3", ("cups",), 3),
    ("cups: 3\ndogs: 2", ("dogs",), 2),
    ("Six cups are on the table, and one has fallen.", (), 6),
    ("One of them is red; in all there are 6.", (), 6),
    ("There are two cups: one red and one blue.", (), 2),
    ("There's only one cup.", (), 1),
    ("There is only 1.", (), 1),
    ("I can see only one.", (), 1),
    ("Just one.", (), 1),
    ("Only 2", (), 2),
    ("Yes, there are 3.", (), 3),
    ("Sure! There are 3 dogs in the image.", (), 3),
    ("The room number is 5.", (), None),
    ("The bus number is 42.", (), None),
    ("The number of people is 42.", (), 42),
    ("The number of cups in room 5 is 3.", (), 3),
    ("The cup on the left, the cup on the right: 2", (), 2),
    ("A dozen eggs.", (), 12),
    ("two dozen eggs", (), 24),
    ("a couple of cups", (), None),
    ("There is a pair of shoes", (), None),
    ("Page 3 of 5", (), None),
    ("Figure 2 shows 6 cats.", (), 6),
    ("I am 100% sure there are 4.", (), 4),
    ("On second thought, there are 4.", (), 4),
    ("Let me count. One, two, three. There are three dogs.", (), 3),
    ("There are 2 red cups and 1 blue cup, so 3 cups.", (), 3),
    ("6 (six)", (), 6),
    ("three (3) cups", (), 3),
    ("There are three (3) cups.", (), 3),
    ("≈ 30", (), 30),
    ("The scene was recorded in 1999 with 7 people.", (), 7),
    ("In 2020 there were 5 cars", (), 5),
    ("Based on the image, 5 people are visible.", (), 5),
    ("In the picture, 3 cups can be seen.", (), 3),
    ("I believe there are 8 of them.", (), 8),
    ("Answer: three", (), 3),
    ("**Answer:** 3", (), 3),
    ("Count = 3", (), 3),
    ("A: 3", (), 3),
    ("It looks like there are 3.", (), 3),
    ("We have 3 cups here.", (), 3),
    ("You can see 3 cups.", (), 3),
    ("Number of cups: 3", (), 3),
    ("3 cups", (), 3),
]


@pytest.mark.parametrize(("text", "targets", "number"), SAYS_HOW_MANY)
def test_a_number_counts_only_where_it_says_how_many(text: str, targets: tuple[str, ...], number: int | None) -> None:
    assert count_of(text, (), targets) == number


@given(st.text() | st.text(alphabet="一二三十百共计total 0123456789.,-\nfivetwenty"))
def test_no_text_raises(text: str) -> None:
    number = count_of(text, ())
    assert number is None or number >= 0
