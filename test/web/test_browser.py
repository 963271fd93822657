"""The real page, on the real tiny model, in a real headless browser: what a user does and sees."""

from __future__ import annotations

import io
import json
import re
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkout import ROOT
from PIL import Image

from vlm_perception.apps.web.examples import examples, examples_for
from vlm_perception.startup.arguments import resolve_model
from vlm_perception.types import XYXY
from vlm_perception.world.boxes import iou

expect = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright").expect

SCREENSHOTS = ROOT / "build" / "screenshots"
# For a busy machine; nothing here waits that long when it works.
TIMEOUT_MS = 60_000
expect.set_options(timeout=TIMEOUT_MS)
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
WIDE = {"width": 1920, "height": 1080}
# The sum of all jumps that follow no input of the user: more than the field's CLS, which counts the worst 5 s alone.
COUNT_JUMPS = """
window.jumps = 0;
new PerformanceObserver(list => {
  for (const jump of list.getEntries()) if (!jump.hadRecentInput) window.jumps += jump.value;
}).observe({type: 'layout-shift', buffered: true});
"""
MOST_JUMPS = 0.1
EXAMPLES = {example.name: example for example in examples()}
Page = Any


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Any]) -> Iterator[Any]:
    """One page for all tests of this file; what it leaves behind is checked when they are over."""
    with start_server("--model", "tiny", "--port", "0") as running:
        yield running
        assert running.foreign_connections() == "", "the server has to work without a network"
        assert running.end(signal.SIGTERM) == 0, running.said
        assert running.temporary_files() == [], "uploads have to be gone when the page has ended"
        assert running.written_files() == []
        # The one that asks for a file outside is refused inside Gradio, with a traceback in the log.
        failures = running.said.split("Traceback (most recent call last)")[1:]
        assert [failure for failure in failures if "InvalidPathError" not in failure] == []


@pytest.fixture
def open_page(browser: Any, server: Any) -> Iterator[Callable[..., Page]]:
    """Open the page; requests to other hosts and errors of scripts fail the test."""
    opened: list[Page] = []
    foreign: list[str] = []
    errors: list[str] = []

    def make(viewport: dict[str, int] = DESKTOP) -> Page:
        page = browser.new_page(viewport=viewport)
        page.set_default_timeout(TIMEOUT_MS)
        page.add_init_script(COUNT_JUMPS)
        page.on("request", lambda asked: foreign.append(asked.url) if not own(asked.url, server.url) else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(server.url)
        expect(page.locator("#model-state .ready")).to_be_visible()
        opened.append(page)
        return page

    yield make
    for page in opened:
        page.close()
    assert foreign == []
    assert errors == []


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    return open_page()


def own(url: str, base: str) -> bool:
    return url.startswith((base, "data:", "blob:"))


def png(path: Path, rgb: np.ndarray) -> Path:
    Image.fromarray(rgb).save(path)
    return path


def upload(page: Page, path: Path) -> None:
    remove = page.get_by_role("button", name="Remove Image")
    if remove.count():
        remove.click()
    page.locator("#image input[type=file]").set_input_files(path)
    expect(page.locator("#image .image-frame img")).to_be_attached()


def ask(page: Page, prompt: str) -> None:
    page.locator("#prompt textarea").fill(prompt)
    page.get_by_role("button", name="Ask").click()


def wait_answered(page: Page, instruction_part: str) -> None:
    """Wait for the whole answer to a question; `instruction_part` tells it from an earlier one."""
    facts = page.locator("table.facts")
    expect(facts).to_contain_text(instruction_part)
    expect(facts.locator("tr", has_text="ended by")).to_contain_text("stop")


def rows(page: Page) -> list[dict[str, str]]:
    heads = page.locator("table.objects th").all_inner_texts()
    lines = page.locator("table.objects tbody tr").all()
    return [dict(zip(heads, line.locator("td").all_inner_texts(), strict=True)) for line in lines]


def numbers(row: dict[str, str]) -> tuple[float, ...]:
    return tuple(map(float, re.findall(r"\d+", row["place, px"])))


def boxes(page: Page) -> dict[str, XYXY]:
    return {row["label"]: numbers(row) for row in rows(page) if row["place, px"].startswith("box")}  # type: ignore[misc]


def shown_picture(page: Page) -> np.ndarray:
    """Pixels of the annotated image as the browser got them."""
    image = page.locator("#picture img")
    expect(image).to_be_visible()
    with urllib.request.urlopen(image.get_attribute("src"), timeout=60) as answer:
        return np.asarray(Image.open(io.BytesIO(answer.read())).convert("RGB"))


def screenshot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.mouse.move(0, 0)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def screenshot_now(page: Page, name: str) -> None:
    """With the mouse where it is."""
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def truth_of(name: str, label: str) -> XYXY:
    return next(truth.xyxy for truth in EXAMPLES[name].scene.truths if truth.label == label)


def test_upload_ask_see_the_boxes_and_ask_again(page: Page, server: Any, tmp_path: Path) -> None:
    scene = EXAMPLES["Description"].scene
    assert page.locator("#picture img").count() == 0
    upload(page, png(tmp_path / "mine.png", scene.rgb))
    ask(page, "the red cart")
    wait_answered(page, "Locate the red cart")
    assert iou(boxes(page)["red cart"], truth_of("Description", "red cart")) >= 0.5
    drawn = shown_picture(page)
    # The words stand in a bar below.
    drawn = drawn[: len(scene.rgb)]
    assert drawn.shape == scene.rgb.shape
    changed = np.abs(drawn.astype(int) - scene.rgb).max(axis=2) > 80
    left, top, right, bottom = map(int, truth_of("Description", "red cart"))
    assert changed[top - 40 : bottom + 20, left - 20 : right + 20].sum() > 300, "a frame has to be drawn around it"
    assert changed[60:200, 400:560].sum() == 0, "and nothing around the green circle, which was not asked for"
    expect(page.locator("pre.reply mark.object")).to_have_count(1)
    expect(page.locator("#rejects")).to_contain_text("No rejects")
    assert "mine.png" in {path.name for path in server.temporary_files()}, "the end of the page has to remove it"
    page.locator("#prompt textarea").fill("the blue cart")
    page.locator("#prompt textarea").press("Enter")
    wait_answered(page, "Locate the blue cart")
    assert iou(boxes(page)["blue cart"], truth_of("Description", "blue cart")) >= 0.5
    assert "red cart" not in boxes(page)
    assert (shown_picture(page)[: len(drawn)] != drawn).any()


@pytest.mark.parametrize(("viewport", "device"), [(DESKTOP, "desktop"), (PHONE, "phone")])
def test_counting_example_in_one_click(open_page: Callable[..., Page], viewport: dict[str, int], device: str) -> None:
    page = open_page(viewport)
    page.get_by_role("button", name="how many carts are there?").click()
    wait_answered(page, "Count carts")
    expect(page.locator("#answer")).to_contain_text("count 2")
    expect(page.locator("#answer")).to_contain_text("agrees with the list")
    expect(page.locator("#answer .spoken")).to_have_text("There are 2 carts.")
    for label in ("red cart", "blue cart"):
        assert iou(boxes(page)[label], truth_of("Count", label)) >= 0.5
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing may stick out"
    shown_picture(page)
    expect(page.locator("#picture img")).to_be_in_viewport()
    screenshot(page, f"ui_{device}")


def test_attributes_example(page: Page) -> None:
    page.get_by_role("button", name="each object, and describe it").click()
    wait_answered(page, "sub_label")
    patterns = {truth.label: truth.attributes["pattern"] for truth in EXAMPLES["Attributes"].scene.truths}
    told = {row["label"]: row["attributes"] for row in rows(page)}
    right = [label for label, pattern in patterns.items() if told.get(label) == f"sub_label: {pattern}"]
    assert len(right) >= 2, told
    for label in right:
        assert iou(boxes(page)[label], truth_of("Attributes", label)) >= 0.5


def test_key_points_example(page: Page) -> None:
    page.get_by_role("button", name="point to the wheels of the red cart").click()
    wait_answered(page, "Point to the wheels")
    found = [numbers(row) for row in rows(page) if row["place, px"].startswith("point")]
    wheels = next(truth.points for truth in EXAMPLES["Key points"].scene.truths if truth.points)
    assert len(found) == len(wheels)
    for _, x, y in wheels:
        assert min(np.hypot(x - px, y - py) for px, py in found) < 40
    screenshot(page, "ui_points")


def test_rejects_are_shown_with_reason_and_place(page: Page) -> None:
    score = page.locator("#score input[type=number]")
    score.fill("1")
    score.press("Tab")
    page.get_by_role("button", name="the red cart", exact=True).click()
    wait_answered(page, "Locate the red cart")
    expect(page.locator("pre.reply mark.reject")).to_have_count(1)
    expect(page.locator("table.rejects")).to_contain_text("score_threshold")
    expect(page.locator("pre.reply mark.reject")).to_have_attribute("title", re.compile("below score_threshold"))
    expect(page.locator("#objects").get_by_text("No objects.")).to_be_visible()
    screenshot(page, "ui_rejects")


def test_a_bad_image_is_told_and_the_page_lives_on(page: Page, tmp_path: Path) -> None:
    good = png(tmp_path / "good.png", EXAMPLES["Description"].scene.rgb)
    upload(page, good)
    ask(page, "the red cart")
    wait_answered(page, "Locate the red cart")
    bad = tmp_path / "holiday.png"
    bad.write_text("no picture\n" * 50)
    upload(page, bad)
    page.get_by_role("button", name="Ask").click()
    problem = page.locator("#notice .problem")
    expect(problem).to_contain_text("holiday.png cannot be decoded as an image")
    expect(problem).to_contain_text("choose a JPEG, PNG")
    assert page.locator("#picture img").count() == 0, "an answer to another picture must not stay"
    expect(page.get_by_role("button", name="Download as JSON")).to_be_disabled()
    screenshot(page, "ui_bad_image")
    upload(page, good)
    ask(page, "the blue cart")
    wait_answered(page, "Locate the blue cart")
    expect(problem).to_have_count(0)
    assert "blue cart" in boxes(page)


def test_a_question_without_an_image_is_told(page: Page) -> None:
    ask(page, "the red cart")
    expect(page.locator("#notice .problem")).to_contain_text("there is no image")


def test_a_refused_prompt_keeps_the_result_before(page: Page) -> None:
    page.get_by_role("button", name="how many carts are there?").click()
    wait_answered(page, "Count carts")
    drawn = shown_picture(page)
    ask(page, "x" * 5000)
    expect(page.locator("#notice .problem")).to_contain_text("Not asked: prompt has 5000 characters")
    assert set(boxes(page)) == {"red cart", "blue cart"}
    assert (shown_picture(page) == drawn).all()
    expect(page.locator("#answer .spoken")).to_have_text("There are 2 carts.")
    screenshot(page, "ui_refused_prompt")


@pytest.mark.parametrize("viewport", [DESKTOP, WIDE, PHONE], ids=lambda viewport: str(viewport["width"]))
def test_it_is_wide_from_the_start_and_nothing_jumps(open_page: Callable[..., Page], viewport: dict[str, int]) -> None:
    page = open_page(viewport)
    expect(page.locator("#reply")).to_be_visible()
    assert page.locator("#head").bounding_box()["width"] >= 0.8 * viewport["width"]
    assert page.evaluate("window.jumps") < MOST_JUMPS, "while it is built"
    page.get_by_role("button", name="how many carts are there?").click()
    wait_answered(page, "Count carts")
    shown_picture(page)
    # Jumps of the last moment are reported a frame later.
    page.wait_for_timeout(500)
    # On a phone everything stands below the answer, which has to make room for itself.
    assert page.evaluate("window.jumps") < MOST_JUMPS or viewport == PHONE, "with the answer"
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], "nothing may stick out"


def test_a_screen_reader_is_told_the_answer_the_errors_and_what_pictures_show(page: Page) -> None:
    # It listens to elements that were there before their text came.
    for name in ("spoken", "notice"):
        region = page.locator(f"#{name} [aria-live]")
        expect(region).to_have_attribute("aria-live", "polite")
        region.evaluate("(element, name) => { window[name] = element }", name)
    page.get_by_role("button", name="how many carts are there?").click()
    wait_answered(page, "Count carts")
    told = re.compile(r"2 objects: (red cart, blue cart|blue cart, red cart)\. Count 2\.")
    expect(page.locator("#spoken [aria-live]")).to_have_text(told)
    expect(page.locator("#spoken [aria-live]")).to_contain_text("There are 2 carts.")
    expect(page.locator("#picture img")).to_have_attribute("alt", told)
    expect(page.locator("#image .image-frame img")).to_have_attribute("alt", "The picture to ask about")
    ask(page, "  ")
    expect(page.locator("#notice").get_by_role("alert")).to_contain_text("names nothing to look for")
    assert page.evaluate(
        "['spoken', 'notice'].every(name => document.querySelector(`#${name} [aria-live]`) === window[name])"
    )
    unnamed = (
        "[...document.images].filter(image => image.checkVisibility() && !image.alt).map(image => image.outerHTML)"
    )
    assert page.evaluate(unnamed) == []


def marked_xyxy(page: Page) -> XYXY:
    """Where the mark stands in the picture, in pixels of the image."""
    expect(page.locator("#picture .highlight")).to_have_count(1)
    return tuple(
        page.evaluate("""() => {
          const image = document.querySelector('#picture img'), shown = image.getBoundingClientRect()
          const mark = document.querySelector('#picture .highlight').getBoundingClientRect()
          const scale = Math.min(shown.width / image.naturalWidth, shown.height / image.naturalHeight)
          const left = shown.left + (shown.width - image.naturalWidth * scale) / 2
          const top = shown.top + (shown.height - image.naturalHeight * scale) / 2
          return [mark.left - left, mark.top - top, mark.right - left, mark.bottom - top].map(side => side / scale)
        }""")
    )


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_row_of_the_table_shows_its_box(open_page: Callable[..., Page], viewport: dict[str, int]) -> None:
    page = open_page(viewport)
    page.get_by_role("button", name="how many carts are there?").click()
    wait_answered(page, "Count carts")
    found, mark = boxes(page), page.locator("#picture .highlight")
    lines = {label: page.locator("table.objects tbody tr", has_text=label) for label in found}
    for label, line in lines.items():
        line.hover()
        expect(mark).to_have_attribute("data-object", line.locator("td").first.inner_text())
        assert iou(marked_xyxy(page), found[label]) > 0.95
    page.mouse.move(0, 0)
    expect(mark).to_have_count(0)
    # By keyboard, and kept.
    lines["red cart"].focus()
    page.keyboard.press("Enter")
    page.locator("#prompt textarea").focus()
    expect(lines["red cart"]).to_have_attribute("aria-current", "true")
    assert iou(marked_xyxy(page), found["red cart"]) > 0.95
    screenshot(page, f"ui_highlight_{viewport['width']}")
    lines["red cart"].click()
    page.mouse.move(0, 0)
    page.locator("#prompt textarea").focus()
    expect(mark).to_have_count(0)


def test_a_box_drawn_on_the_image_or_taken_from_the_answer_is_the_part_that_is_asked_about(
    page: Page, tmp_path: Path
) -> None:
    example = EXAMPLES["Count"]
    upload(page, png(tmp_path / "carts.png", example.scene.rgb))
    prompt, (left, top, _, bottom) = page.locator("#prompt textarea"), truth_of("Count", "red cart")
    prompt.fill("every cart")
    image = page.locator("#image .image-frame img")
    shown = image.bounding_box()
    scale = min(shown["width"] / 640, shown["height"] / 480)
    x0, y0 = shown["x"] + (shown["width"] - 640 * scale) / 2, shown["y"] + (shown["height"] - 480 * scale) / 2
    # From the lower right, and beyond the edge: both are boxes too.
    page.mouse.move(x0 + 639 * scale, y0 + (bottom + 60) * scale)
    page.mouse.down()
    page.mouse.move(x0 + (left - 95) * scale, y0 + (top - 40) * scale, steps=3)
    screenshot_now(page, "ui_part_drawn")
    page.mouse.up()
    expect(prompt).to_have_value(re.compile(r"^in \[\d+, \d+, \d+, \d+\]: every cart$"))
    drawn = tuple(map(float, re.findall(r"\d+", prompt.input_value())))
    assert np.abs(np.subtract(drawn, (left - 95, top - 40, 639, bottom + 60))).max() <= 3
    page.get_by_role("button", name="Ask", exact=True).click()
    wait_answered(page, "cart")
    (found,) = boxes(page).values()
    assert iou(found, truth_of("Count", "red cart")) >= 0.5, "the blue one is elsewhere"
    assert downloaded(page)["region_xyxy"] == list(drawn)
    inside = page.get_by_role("button", name="Ask about this part")
    expect(inside).to_be_hidden()
    page.locator("table.objects tbody tr").first.click()
    inside.click()
    expect(prompt).to_be_focused()
    taken = tuple(map(float, re.findall(r"\d+", prompt.input_value())))
    assert np.abs(np.subtract(taken, found)).max() <= 1
    assert prompt.input_value().endswith("]: every cart"), "one part takes the place of the other"
    screenshot(page, "ui_part")
    # A click takes it away.
    image.click(position={"x": shown["width"] / 2, "y": shown["height"] / 2})
    expect(prompt).to_have_value("every cart")
    # Its box means nothing in another picture, and the earlier answer's does again where its picture comes back.
    expect(inside).to_be_visible()
    upload(page, png(tmp_path / "other.png", example.scene.rgb[:, ::-1]))
    expect(inside).to_be_hidden()
    upload(page, tmp_path / "carts.png")
    expect(inside).to_be_visible()


MAGENTA = (255, 0, 255)


def on_screen(page: Page) -> XYXY:
    """Where the picture's magenta is seen in the window."""
    seen = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
    ys, xs = np.nonzero((seen == MAGENTA).all(axis=2))
    return float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)


def pull(page: Page, xyxy: XYXY) -> None:
    page.mouse.move(*xyxy[:2])
    page.mouse.down()
    page.mouse.move(*xyxy[2:], steps=3)


def test_a_box_on_a_picture_smaller_than_its_frame_is_in_the_picture_s_own_pixels(page: Page, tmp_path: Path) -> None:
    small, box = np.full((150, 200, 3), 128, np.uint8), (50, 30, 150, 110)
    small[box[1] : box[3], box[0] : box[2]] = MAGENTA
    upload(page, png(tmp_path / "small.png", small))
    prompt, mark = page.locator("#prompt textarea"), page.locator("#image .highlight")
    prompt.fill("cup")
    expect(page.locator("#image .image-frame img")).to_have_js_property("complete", True)
    left, top, right, bottom = on_screen(page)
    pull(page, (left, top, right, bottom))
    page.mouse.up()
    expect(prompt).to_have_value(re.compile(r"^in \[.*\]: cup$"))
    drawn = tuple(map(float, re.findall(r"\d+", prompt.input_value())))
    assert np.abs(np.subtract(drawn, box)).max() <= 1
    # What is taken away while it is drawn changes nothing, and nothing is drawn on.
    pull(page, (left, top, left + 30, top + 30))
    expect(mark).to_have_count(1)
    page.evaluate("dispatchEvent(new PointerEvent('pointercancel'))")
    page.mouse.move(right, bottom)
    expect(mark).to_have_count(0)
    page.mouse.up()
    assert tuple(map(float, re.findall(r"\d+", prompt.input_value()))) == drawn
    # Some pixels of the screen may be less than one of a picture that is shown enlarged.
    tiny = np.full((15, 20, 3), 128, np.uint8)
    tiny[5:10, 5:15] = MAGENTA
    upload(page, png(tmp_path / "tiny.png", tiny))
    expect(page.locator("#image .image-frame img")).to_have_js_property("naturalWidth", 20)
    left, top, right, _ = on_screen(page)
    pixel = (right - left) / 10
    assert pixel > 12, "enlarged"
    pull(page, (left + 0.55 * pixel, top + 0.55 * pixel, left + 0.55 * pixel + 5, top + 0.55 * pixel + 5))
    page.mouse.up()
    expect(prompt).to_have_value("cup")


def downloaded(page: Page) -> dict[str, Any]:
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as JSON").click()
    assert download.value.suggested_filename == "answer.json"
    return json.loads(Path(download.value.path()).read_text("utf-8"))  # type: ignore[no-any-return]


def test_earlier_answers_of_the_session_come_back_and_each_is_a_file(open_page: Callable[..., Page]) -> None:
    page = open_page()
    expect(page.get_by_role("button", name="Download as JSON")).to_be_disabled()
    page.get_by_role("button", name="how many carts are there?", exact=True).click()
    wait_answered(page, "Count carts")
    earlier = page.locator("#history button img")
    expect(earlier).to_have_count(1)
    counted = downloaded(page)
    assert (counted["prompt"], counted["count"], counted["model"]) == ("how many carts are there?", 2, "tiny")
    assert {found["label"] for found in counted["objects"]} == {"red cart", "blue cart"}
    page.get_by_role("button", name="the shadow of the blue circle", exact=True).click()
    wait_answered(page, "the shadow of the blue circle")
    expect(earlier).to_have_count(2)
    assert [found["label"] for found in downloaded(page)["objects"]] == ["shadow"]
    # A question that is refused is no answer.
    ask(page, "  ")
    expect(page.locator("#notice .problem")).to_be_visible()
    expect(earlier).to_have_count(2)
    earlier.nth(1).click()
    wait_answered(page, "Count carts")
    assert set(boxes(page)) == {"red cart", "blue cart"}
    expect(page.locator("#picture img")).to_have_attribute("alt", re.compile("Count 2"))
    assert downloaded(page) == counted
    screenshot(page, "ui_history")
    assert open_page().locator("#history button img").count() == 0, "of nobody else"


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi"])
def test_any_moment_of_a_video_can_be_asked_about(
    page: Page, tmp_path: Path, name: str, write_video: Callable[..., Path]
) -> None:
    cart = EXAMPLES["Description"].scene.rgb
    video = write_video(tmp_path / name, [np.full_like(cart, 128)] * 10 + [cart] * 5)
    page.get_by_text("From a video").click()
    page.locator("#video input[type=file]").set_input_files(video)
    shown = page.locator("#image .image-frame img")
    expect(shown).to_have_attribute("src", re.compile(r"clip_0\.00s\.png"))
    moment = page.locator("#moment input[type=number]")
    moment.fill("1.2")
    moment.press("Tab")
    expect(shown).to_have_attribute("src", re.compile(r"clip_1\.20s\.png"))
    ask(page, "the red cart")
    wait_answered(page, "Locate the red cart")
    assert iou(boxes(page)["red cart"], truth_of("Description", "red cart")) >= 0.5
    assert downloaded(page)["source"] == "clip_1.20s.png"
    screenshot(page, "ui_video")


def test_a_whole_video_can_be_asked_about(page: Page, tmp_path: Path, write_video: Callable[..., Path]) -> None:
    video = write_video(tmp_path / "street.mp4", [EXAMPLES["Description"].scene.rgb] * 20)
    page.get_by_text("From a video").click()
    page.locator("#video input[type=file]").set_input_files(video)
    expect(page.locator("#image .image-frame img")).to_be_visible()
    ask(page, "watch: what happened?")
    expect(page.locator("table.facts")).to_contain_text("4 frames, 1.50 s")
    told = downloaded(page)
    assert (told["source"], told["task"], told["clip"]["frames"]) == ("street.mp4", "watch", 4)


def test_video_example(page: Page) -> None:
    (film,) = [example.film for example in EXAMPLES.values() if example.film is not None]
    (moved,) = film.happenings
    page.get_by_role("button", name="watch: what happened?").click()
    expect(page.locator("table.events")).to_be_visible()
    start_s, end_s, what = page.locator("table.events tbody td").all_inner_texts()
    assert (float(start_s), float(end_s)) == pytest.approx((moved.start_s, moved.end_s), abs=0.5)
    assert moved.label in what
    expect(page.locator("#video video")).to_be_visible()
    screenshot(page, "ui_watch")


def test_what_is_no_video_is_told(page: Page, tmp_path: Path) -> None:
    bad = tmp_path / "holiday.mp4"
    bad.write_text("no video\n" * 50)
    page.get_by_text("From a video").click()
    page.locator("#video input[type=file]").set_input_files(bad)
    expect(page.locator("#notice .problem")).to_contain_text("holiday.mp4 is neither an image nor a video")


def test_a_live_camera_is_answered_until_it_is_stopped(page: Page) -> None:
    page.locator("#prompt textarea").fill("the red cart")
    page.get_by_text("Live from a camera").click()
    camera = page.locator("#camera")
    camera.get_by_role("button", name="Click to Access Webcam").click()
    camera.get_by_text("Record").click()
    wait_answered(page, "Locate the red cart")
    assert iou(boxes(page)["red cart"], truth_of("Description", "red cart")) >= 0.5
    # The next question is asked while it films.
    page.locator("#prompt textarea").fill("the blue cart")
    wait_answered(page, "Locate the blue cart")
    assert iou(boxes(page)["blue cart"], truth_of("Description", "blue cart")) >= 0.5
    assert page.locator("#history button img").count() == 0, "two answers a second would fill it"
    screenshot(page, "ui_live")
    camera.get_by_text("Stop").click()
    expect(page.locator("#history button img")).to_have_count(1)
    assert downloaded(page)["source"] == "camera"


def test_the_model_is_called_by_its_name(page: Page) -> None:
    expect(page.locator("#model-state")).to_contain_text("tiny")
    expect(page.locator("#model-state")).not_to_contain_text("/models/")


def test_html_in_a_prompt_is_shown_and_not_run(page: Page, tmp_path: Path) -> None:
    upload(page, png(tmp_path / "good.png", EXAMPLES["Description"].scene.rgb))
    words = "<img src=x onerror='window.hit=1'><script>window.hit=1</script> ${window.hit=1} {{value}}"
    ask(page, f"raw: {words}")
    wait_answered(page, words)
    assert page.evaluate("window.hit === undefined")
    assert page.locator("#facts img").count() == 0


def test_two_people_at_once_get_their_own_answers(open_page: Callable[..., Page]) -> None:
    first, second = open_page(), open_page()
    first.get_by_role("button", name="how many carts are there?").click()
    second.get_by_role("button", name="the shadow of the blue circle").click()
    wait_answered(first, "Count carts")
    wait_answered(second, "the shadow of the blue circle")
    assert set(boxes(first)) == {"red cart", "blue cart"}
    assert set(boxes(second)) == {"shadow"}
    assert iou(boxes(second)["shadow"], truth_of("Relations", "shadow")) >= 0.5


def test_files_of_the_machine_cannot_be_asked_about(server: Any, tmp_path: Path) -> None:
    secret = png(tmp_path / "secret.png", EXAMPLES["Description"].scene.rgb)
    with urllib.request.urlopen(f"{server.url}config", timeout=60) as answer:
        config = json.load(answer)
    file = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
    kinds = {component["id"]: component["type"] for component in config["components"]}
    given = {
        "image": file,
        "video": file,
        "textbox": "the red cart",
        "dropdown": "auto",
        "slider": 0,
        "checkbox": False,
    }
    taking = [
        function for function in config["dependencies"] if {"image", "video"} & {*map(kinds.get, function["inputs"])}
    ]
    shown = len(examples_for(resolve_model("tiny")))
    assert len(taking) >= shown + 5, "the button, Enter, each example, the camera, and two for videos"
    for function in taking:
        session = f"thief{function['id']}"
        data = [given[kinds[component]] for component in function["inputs"]]
        body = {"data": data, "fn_index": function["id"], "session_hash": session}
        post = urllib.request.Request(
            f"{server.url}gradio_api/queue/join", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(post, timeout=60).close()
        with urllib.request.urlopen(f"{server.url}gradio_api/queue/data?session_hash={session}", timeout=60) as answer:
            events = [json.loads(line[5:]) for line in answer if line.startswith(b"data:")]
        done = next(event for event in events if event["msg"] == "process_completed")
        assert done["success"] is False, function
        assert "red cart" not in json.dumps(done["output"])


def test_it_listens_on_this_machine_alone(server: Any) -> None:
    port = f":{server.port:04X}"
    tables = [Path(f"/proc/{server.process.pid}/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    fields = [line.split() for table in tables for line in table]
    # State 0A is "listening"; addresses are written back to front.
    listening = {line[1] for line in fields if line[3] == "0A" and line[1].endswith(port)}
    assert listening == {f"0100007F{port}"}


def test_a_model_that_cannot_be_used_is_told_on_the_page_and_in_the_log(
    browser: Any, start_server: Callable[..., Any]
) -> None:
    with start_server("--model", "/no/such/model", "--port", "0") as server:
        page = browser.new_page(viewport=DESKTOP)
        page.goto(server.url)
        expect(page.locator("#model-state .problem")).to_contain_text("/no/such/model")
        page.get_by_role("button", name="how many carts are there?").click()
        expect(page.locator("#notice .problem")).to_contain_text("/no/such/model")
        screenshot(page, "ui_no_model")
        page.close()
        assert server.end(signal.SIGINT) == 0, server.said
        assert "/no/such/model" in server.said
        assert server.temporary_files() == []
