"""Drawing: right places, right colours, readable text, input untouched."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from results import result_of

from vlm_perception.drawing.annotate import DrawnTrack, annotate, annotate_tracks
from vlm_perception.drawing.caption import summary
from vlm_perception.drawing.class_colours import class_colours
from vlm_perception.types import DetectedObject, Prompt, Region, Task

GRAY = 120


def gray(width: int = 640, height: int = 480) -> NDArray[np.uint8]:
    image = np.full((height, width, 3), GRAY, dtype=np.uint8)
    image.flags.writeable = False
    return image


def changed(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a picture differs, without the bar below it."""
    return np.asarray((before != after[: len(before)]).any(axis=2))


def bar_px(rgb: NDArray[np.uint8], **said: str) -> int:
    return len(annotate(rgb, result_of(rgb, **said))) - len(rgb)


BOX = DetectedObject("cart", (200.0, 150.0, 400.0, 300.0), None, score=0.87)
POINT = DetectedObject("wheel", None, (320.0, 240.0))


def test_input_is_untouched_and_output_is_its_own() -> None:
    rgb = gray()
    out = annotate(rgb, result_of(rgb, BOX, POINT))
    assert (rgb == GRAY).all()
    assert out.shape == (480 + 32, 640, 3)
    assert out.dtype == np.uint8
    assert not np.shares_memory(out, rgb)


def test_boxes_are_drawn_on_their_edges_and_points_where_they_are() -> None:
    rgb = gray()
    marks = changed(rgb, annotate(rgb, result_of(rgb, BOX)))
    assert marks[152:298, 200].all()
    assert marks[300, 200:400].all()
    assert not marks[170:280, 220:380].any()
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


def test_same_label_same_colour_in_every_frame_whatever_else_is_there() -> None:
    rgb = gray()
    left, middle, right = (50.0, 150.0, 150.0, 300.0), (200.0, 150.0, 300.0, 300.0), (350.0, 150.0, 450.0, 300.0)
    cart, face = (DetectedObject(label, None, (0.0, 0.0)) for label in ("cart", "face"))
    first = annotate(rgb, result_of(rgb, replace(cart, xyxy=left), replace(cart, xyxy=right)))
    second = annotate(rgb, result_of(rgb, replace(face, xyxy=left), replace(cart, xyxy=middle)))
    colour = first[225, 50]
    assert (colour == first[225, 350]).all()
    assert (colour == second[225, 200]).all()
    assert (colour != second[225, 50]).any()
    assert tuple(colour) == class_colours(["cart"])["cart"]


def test_score_prompt_count_and_text_change_the_picture() -> None:
    rgb = gray()
    unscored = DetectedObject("cart", BOX.xyxy, None)
    plain = annotate(rgb, result_of(rgb, unscored))
    for other in (
        result_of(rgb, BOX),
        result_of(rgb, unscored, prompt="things"),
        result_of(rgb, unscored, count=7),
        result_of(rgb, unscored, text="a cart"),
        result_of(rgb, unscored, partial=True),
        result_of(rgb, DetectedObject("cart", BOX.xyxy, None, {"sub_label": "old"})),
    ):
        assert changed(plain, annotate(rgb, other)).any()


ASKED = Prompt("carts", Task.DETECT, "carts", ("cart",))
COLOUR = class_colours(["cart"])["cart"]


def followed(*objects: DrawnTrack, seen_age_s: float | None = None, rgb: NDArray[np.uint8] | None = None):
    return annotate_tracks(gray() if rgb is None else rgb, objects, (ASKED,), seen_age_s)


def test_text_that_was_read_is_its_label() -> None:
    """In place of the name that all of them share, with what kind of block it is where that is its name."""
    rgb = gray()
    line = DetectedObject("labels", BOX.xyxy, None, kind="line")

    def labels(*found: DetectedObject) -> bytes:
        return annotate(rgb, result_of(rgb, *found))[: len(rgb)].tobytes()

    assert labels(replace(line, text="A7")) != labels(line)
    assert labels(line) == labels(replace(line, kind="")), "found and not read"
    block = replace(line, label="heading", kind="heading", text="A7")
    assert labels(block) == labels(replace(block, label="heading", kind="x", text="heading: A7"))
    assert labels(replace(line, text="A\n7")) == labels(replace(line, text="A / 7"))


def test_a_long_text_in_a_crowd_takes_its_own_place() -> None:
    rgb = gray()
    page = [
        DetectedObject("paragraph", (10.0, y, 300.0, y + 14.0), None, text="many words " * 20, kind="paragraph")
        for y in np.arange(5.0, 470.0, 16.0)
    ]
    narrow = [replace(found, xyxy=(10.0, *(found.xyxy or ())[1:2], 80.0, *(found.xyxy or ())[3:])) for found in page]
    wide_px, narrow_px = (changed(rgb, annotate(rgb, result_of(rgb, *found))).sum() for found in (page, narrow))
    assert narrow_px < 0.7 * wide_px


def test_what_is_followed_has_its_number_its_trace_and_dashes_where_it_is_not_sure() -> None:
    rgb = gray()
    plain = followed(DrawnTrack(BOX))
    assert plain.shape == annotate(rgb, result_of(rgb, BOX)).shape
    assert (rgb == GRAY).all()
    edges = (plain[300, 200:400] == COLOUR).all(axis=1), (plain[160:300, 200] == COLOUR).all(axis=1)
    assert all(edge.all() for edge in edges)
    dashed = followed(DrawnTrack(BOX, is_sure=False))
    for edge in ((dashed[300, 200:400] == COLOUR).all(axis=1), (dashed[160:300, 200] == COLOUR).all(axis=1)):
        assert 0.4 < edge.mean() < 0.9
    trace = followed(DrawnTrack(BOX, ((240.0, 400.0), (300.0, 400.0))))
    marks = changed(plain[:480], trace)
    assert marks[399:402, 240:300].any(axis=0).all()
    assert marks[310:400].any(axis=1).all(), "up to where it is now"
    numbers = [followed(DrawnTrack(replace(BOX, id=number))) for number in ("7", "cups/7", "8")]
    assert changed(plain[:480], numbers[0]).any()
    assert (numbers[0] == numbers[1]).all()
    assert changed(numbers[0][:480], numbers[2]).any()


def test_the_bar_tells_what_is_followed_and_how_old_it_is() -> None:
    bars = [
        followed(),
        followed(DrawnTrack(BOX)),
        followed(DrawnTrack(BOX), seen_age_s=0.4),
        followed(DrawnTrack(BOX), seen_age_s=1.4),
    ]
    assert len({bar[480:].tobytes() for bar in bars}) == len(bars)


@pytest.mark.parametrize("size", [(1, 1), (8, 6), (64, 48), (3000, 20), (1, 150)])
@pytest.mark.parametrize("is_sure", [True, False])
def test_what_is_followed_beyond_the_image_is_drawn_on_odd_sizes(size: tuple[int, int], is_sure: bool) -> None:
    rgb = gray(*size)
    point = replace(POINT, id="9", point_xy=(-5.0, 1e4))
    things = [DrawnTrack(thing, ((-1e5, 1e5), (3.0, 4.0)), is_sure) for thing in (BOX, point)]
    assert followed(*things, rgb=rgb).shape == annotate(rgb, result_of(rgb)).shape


def test_a_name_that_no_font_has_is_the_number_of_what_is_followed() -> None:
    nameless = replace(BOX, label="\U000e0101", id="7")
    assert (followed(DrawnTrack(nameless)) != followed(DrawnTrack(replace(nameless, id="8")))).any()


def test_lines_and_text_grow_with_the_image() -> None:
    assert bar_px(gray(1440, 1080)) > 1.8 * bar_px(gray(640, 480))


def test_the_caption_hides_no_pixel_and_has_one_height_whatever_is_said() -> None:
    """Frames of one video, and of one camera, are of one size; halved colour planes want an even one."""
    rgb = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    out = annotate(rgb, result_of(rgb, prompt="what is it?", text="a long answer " * 20))
    assert not changed(rgb, out).any()
    assert len(annotate(rgb, result_of(rgb))) == len(out)
    for height in (70, 333, 480, 721, 1080):
        assert bar_px(gray(500, height)) % 2 == 0


@pytest.mark.parametrize("size", [(1, 1), (8, 6), (64, 48), (3000, 20), (1, 150), (40, 480)])
def test_odd_sizes_are_drawn(size: tuple[int, int]) -> None:
    rgb = gray(*size)
    whole = DetectedObject("a very long label indeed", (0.0, 0.0, float(size[0]), float(size[1])), None, score=0.5)
    assert annotate(rgb, result_of(rgb, whole, prompt="p" * 300)).shape == rgb.shape


def test_summary_names_count_partial_labels_left_out_and_that_more_may_be_there() -> None:
    rgb = gray()
    assert summary(result_of(rgb, BOX), 0) == "1 found"
    assert summary(result_of(rgb, BOX, POINT, count=3, partial=True), 1) == "count 3, 2 found, 1 without label, partial"
    result = result_of(rgb, BOX)
    cut = replace(result, answer=replace(result.answer, finish_reason="timeout"))
    assert summary(cut, 0) == "1 found, truncated"
    assert summary(result_of(rgb), 0) == "0 found"


def test_an_answer_in_words_is_no_finding_of_nothing() -> None:
    prompt = Prompt("describe the scene", Task.DESCRIBE, "describe the scene")
    assert summary(result_of(gray(), prompt=prompt, text="Two carts."), 0) == ""
    assert summary(result_of(gray(), BOX, prompt=prompt, text="A cart."), 0) == "1 found"
    assert summary(result_of(gray(), prompt=prompt), 0) == "0 found", "no words either: nothing was answered"
    annotate(gray(), result_of(gray(), prompt=prompt, text="Two carts."))


def test_every_edge_of_a_box_at_the_borders_is_seen() -> None:
    rgb = gray()
    whole = DetectedObject("room", (0.0, 0.0, 640.0, 480.0), None)
    out = annotate(rgb, result_of(rgb, whole))
    colour = np.array(class_colours(["room"])["room"])
    # Apart from the label in the upper left corner.
    # Two pixels wide on the far sides too, where half of a line on x = 640 would be outside.
    for edge in (out[0, 200:640], out[478:480, 200:640], out[100:440, 0], out[100:440, 638:]):
        assert (edge == colour).all()


def test_a_box_is_seen_on_a_thing_of_its_own_colour() -> None:
    colour = class_colours(["cart"])["cart"]
    rgb = np.full((480, 640, 3), colour, np.uint8)
    marks = changed(rgb, annotate(rgb, result_of(rgb, DetectedObject("cart", BOX.xyxy, None))))
    assert marks[150:300, 195:205].any(axis=1).all()


@pytest.mark.parametrize(("width", "height"), [(320, 240), (3840, 2160), (240, 320)])
def test_text_is_readable_and_leaves_the_picture_free(width: int, height: int) -> None:
    rgb = gray(width, height)
    line = bar_px(rgb) / 2
    assert line >= max(15, 0.025 * min(width, height))
    assert line <= 0.08 * height
    lefts = [(0.02 + 0.08 * column) * width for column in range(12)]
    row = [
        DetectedObject("red circle", (left, 0.4 * height, left + 0.06 * width, 0.6 * height), None, score=0.93)
        for left in lefts
    ]
    assert changed(rgb, annotate(rgb, result_of(rgb, *row))).mean() < 0.5


def test_labels_that_had_to_move_away_are_tied_to_their_boxes() -> None:
    rgb = gray(320, 240)
    row = [DetectedObject("red circle", (4.0 + 26 * i, 90, 26.0 + 26 * i, 130), None, score=0.9) for i in range(12)]
    marks = changed(rgb, annotate(rgb, result_of(rgb, *row))).astype(np.uint8)
    _, parts = cv2.connectedComponents(marks)
    # Every connected part of the drawing reaches the rows of the boxes.
    assert set(np.unique(parts)) == set(np.unique(parts[90:131]))


def test_labels_get_shorter_in_a_crowd_and_the_caption_says_what_is_left_out() -> None:
    # A hundred names of this length would cover a small picture several times.
    rgb = gray(320, 240)
    crowd = [
        DetectedObject("unmistakable thing", (x, y, x + 12.0, y + 12.0), None, score=0.5)
        for x in np.linspace(5.0, 300.0, 10).tolist()
        for y in np.linspace(5.0, 200.0, 10).tolist()
    ]
    out = annotate(rgb, result_of(rgb, *crowd))
    label = (out[:240] == np.array(class_colours(["unmistakable thing"])["unmistakable thing"])).all(axis=2)
    assert 0.05 < label.mean() < 0.42
    assert changed(annotate(rgb, result_of(rgb, *crowd[:1]))[240:], out[240:]).any()


def test_the_caption_stays_thin_on_low_pictures() -> None:
    for height in (20, 60, 90, 150, 240):
        rgb = gray(320, height)
        assert bar_px(rgb, text="said") <= 0.25 * height + 1


def test_a_small_score_is_drawn_faintly() -> None:
    """The image is seen through the line; the label still says what and how sure."""
    rgb = gray()
    colour = np.array(class_colours(["cart"])["cart"])

    def line(score: float | None) -> NDArray[np.int64]:
        return annotate(rgb, result_of(rgb, replace(BOX, score=score)))[225, 200].astype(np.int64)

    assert (line(0.30) == colour).all()
    assert (line(None) == colour).all()
    faint = line(0.29)
    assert np.abs(faint - GRAY).sum() < 0.5 * np.abs(colour - GRAY).sum()
    assert (faint != GRAY).any()


def test_what_is_called_black_has_a_light_edge() -> None:
    black = np.zeros((480, 640, 3), np.uint8)
    marks = changed(black + 30, annotate(black + 30, result_of(black, replace(BOX, label="black cat"))))
    assert marks[150:300, 195:205].any(axis=1).all()
    assert annotate(black, result_of(black, replace(BOX, label="black cat")))[225, 195:206].max() == 255


def test_absurdly_long_labels_and_prompts_are_cut() -> None:
    rgb = gray()
    # Colours follow labels, so only the places of what is drawn are the same.
    short, long = (
        changed(rgb, annotate(rgb, result_of(rgb, replace(BOX, label="word " * n), prompt="word " * n)))
        for n in (100, 50_000)
    )
    assert (short == long).all()
    assert 200 < np.ptp(np.nonzero(long[:140])[1]) <= 0.5 * 640


_boxes = st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.booleans())


@given(
    width=st.integers(1, 400),
    height=st.integers(1, 300),
    fractions=st.lists(_boxes, max_size=15),
    label=st.text(max_size=40),
    said=st.text(max_size=200),
)
@example(width=1, height=1, fractions=[(0.0, 0.0, 1.0, 1.0, True)], label="a", said="")
@example(width=400, height=300, fractions=[(0.1, 0.1, 0.2, 0.2, False)], label="\ud800\u202e\n\x00", said="\x00")
@settings(max_examples=60)
def test_any_size_any_label_any_place_is_drawn(
    width: int, height: int, fractions: list[tuple[float, float, float, float, bool]], label: str, said: str
) -> None:
    rgb = gray(width, height)
    objects = [
        DetectedObject(label, None, (x1 * width, y1 * height), score=0.5)
        if is_point
        else DetectedObject(
            label, (min(x1, x2) * width, min(y1, y2) * height, max(x1, x2) * width, max(y1, y2) * height), None
        )
        for x1, y1, x2, y2, is_point in fractions
    ]
    out = annotate(rgb, result_of(rgb, *objects, prompt=label, text=said, count=len(objects)))
    assert out.shape == (height + bar_px(rgb), width, 3)
    assert out.dtype == np.uint8
    assert (rgb == GRAY).all()
    if objects:
        assert changed(rgb, out).any()


def test_what_the_model_did_not_see_is_darker() -> None:
    rgb = gray()
    prompt = Prompt("in the left half: cart", Task.DETECT, "", region=Region((0.0, 0.0, 0.5, 1.0)))
    drawn = annotate(rgb, result_of(rgb, prompt=prompt))[:480]
    assert (drawn[:, :320] == GRAY).all()
    assert (drawn[:, 320:] == round(0.6 * GRAY)).all()
