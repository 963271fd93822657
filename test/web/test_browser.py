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

from vlm_perception.apps.web.examples import examples
from vlm_perception.scenes.matching import iou
from vlm_perception.types import XYXY

expect = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright").expect

SCREENSHOTS = ROOT / "build" / "screenshots"
# For a busy machine; nothing here waits that long when it works.
TIMEOUT_MS = 60_000
expect.set_options(timeout=TIMEOUT_MS)
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
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
    expect(problem).to_contain_text("holiday.png is not an image that can be read")
    expect(problem).to_contain_text("choose a JPEG, PNG")
    assert page.locator("#picture img").count() == 0, "an answer to another picture must not stay"
    screenshot(page, "ui_bad_image")
    upload(page, good)
    ask(page, "the blue cart")
    wait_answered(page, "Locate the blue cart")
    expect(problem).to_have_count(0)
    assert "blue cart" in boxes(page)


def test_a_question_without_an_image_is_told(page: Page) -> None:
    ask(page, "the red cart")
    expect(page.locator("#notice .problem")).to_contain_text("there is no image")


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
        functions = json.load(answer)["dependencies"]
    asking = [function["id"] for function in functions if len(function["inputs"]) == 5]
    assert asking
    image = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
    body = {"data": [image, "the red cart", "auto", 0, 1048576], "fn_index": asking[0], "session_hash": "thief"}
    post = urllib.request.Request(
        f"{server.url}gradio_api/queue/join", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(post, timeout=60).close()
    with urllib.request.urlopen(f"{server.url}gradio_api/queue/data?session_hash=thief", timeout=60) as answer:
        events = [json.loads(line[5:]) for line in answer if line.startswith(b"data:")]
    done = next(event for event in events if event["msg"] == "process_completed")
    assert done["success"] is False
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
