"""The page itself: which controls there are and where; the only module that imports Gradio."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import cv2
import gradio as gr

from vlm_perception.apps.web.examples import Example, examples
from vlm_perception.apps.web.session import Controls, Session
from vlm_perception.apps.web.show import NO_ANSWER, Shown
from vlm_perception.frames.encodings import Pixels
from vlm_perception.settings import Settings
from vlm_perception.startup.arguments import StartupError
from vlm_perception.types import Task

STYLE_PATH = Path(__file__).with_name("style.css")
# Uploads and pictures are removed this long after they were made, and all of them when the page ends.
KEEP_FILES_S = 1800
_TIDY_EVERY_S = 60
_WAITING_LIMIT = 16
_SLIDER_TOP_PX, _SLIDER_STEP_PX = 4 * 1024 * 1024, 28 * 28
_THUMBNAIL_WH = (240, 180)
_TASKS = (
    ("automatic", Task.AUTO.value),
    ("detect: boxes", Task.DETECT.value),
    ("ground: descriptions", Task.GROUND.value),
    ("point: points", Task.POINT.value),
    ("count: a number", Task.COUNT.value),
    ("describe: words", Task.DESCRIBE.value),
    ("raw: sent as it is", Task.RAW.value),
)
# On a phone, and for the examples, the answer would appear where nobody looks.
_SHOW_PICTURE = "() => document.querySelector('#picture').scrollIntoView({behavior: 'smooth', block: 'nearest'})"
_LEGEND = (
    '<p class="legend"><mark class="object">read as an object</mark> <mark class="reject">not accepted</mark> '
    "hold the pointer over a mark for its number or reason</p>"
)


def build_page(session: Session, settings: Settings) -> gr.Blocks:
    """Lay out the page and connect it with a session.

    Args:
        session: Answers the questions.
        settings: What the controls start with.
    """
    with gr.Blocks(analytics_enabled=False, title="vlm_perception", delete_cache=(_TIDY_EVERY_S, KEEP_FILES_S)) as page:
        with gr.Row(equal_height=True, elem_id="head"):
            gr.HTML("<h1>vlm_perception</h1><p>Say what to find in a picture.</p>", elem_id="title")
            state = gr.HTML(elem_id="model-state")
        with gr.Row():
            with gr.Column(scale=4, min_width=320):
                controls = _controls(settings)
                with gr.Row():
                    ask = gr.Button("Ask", variant="primary", elem_id="ask")
                    stop = gr.Button("Stop", variant="secondary", elem_id="stop")
            with gr.Column(scale=5, min_width=320):
                outputs = _main_outputs()
        cards = _example_cards()
        outputs += _detail_outputs()
        _connect(session, controls, outputs, (ask.click, controls[1].submit), cards)
        stop.click(_stopper(session), queue=False, api_visibility="private")
        page.load(session.model_states, outputs=state, concurrency_limit=None, api_visibility="private")
        page.unload(_stopper(session))
    page.queue(max_size=_WAITING_LIMIT, default_concurrency_limit=1, api_open=False)
    return page


def _controls(settings: Settings) -> list[Any]:
    """Make the inputs, in the order of `_asker`'s arguments."""
    image = gr.Image(
        label="Image",
        type="filepath",
        image_mode=None,
        format="png",
        sources=["upload", "webcam", "clipboard"],
        # A mirrored picture would turn left and right around for the model.
        webcam_options=gr.WebcamOptions(mirror=False),
        height=290,
        elem_id="image",
    )
    prompt = gr.Textbox(
        label="Prompt",
        value=settings.prompt,
        placeholder="red cup    ·    how many people are there?    ·    point to the handle",
        lines=1,
        max_lines=4,
        submit_btn=False,
        elem_id="prompt",
    )
    with gr.Row():
        task = gr.Dropdown(list(_TASKS), value=settings.task.value, label="Task", filterable=False, elem_id="task")
        threshold = gr.Slider(0.0, 1.0, settings.score_threshold, step=0.01, label="Least score", elem_id="score")
    with gr.Accordion("More", open=False):
        area = gr.Slider(
            settings.min_pixels, max(_SLIDER_TOP_PX, settings.max_pixels), settings.max_pixels,
            step=_SLIDER_STEP_PX, label="Pixels the model sees at most",
            info="More pixels find smaller things and take longer. A model's own limit still holds.", elem_id="area",
        )  # fmt: skip
    return [image, prompt, task, threshold, area]


def _main_outputs() -> list[Any]:
    return [
        gr.HTML(elem_id="notice"),
        gr.Image(
            label="What was found", format="jpeg", interactive=False, buttons=["download", "fullscreen"],
            elem_id="picture",
        ),
        gr.HTML(elem_id="answer"),
        gr.HTML(elem_id="objects"),
    ]  # fmt: skip


def _detail_outputs() -> list[Any]:
    with gr.Row():
        with gr.Column(scale=5, min_width=320, elem_classes="part"):
            gr.HTML(f"<h3>Raw reply</h3>{_LEGEND}")
            reply = gr.HTML(NO_ANSWER, elem_id="reply")
            gr.HTML("<h3>Rejects</h3>")
            rejects = gr.HTML(NO_ANSWER, elem_id="rejects")
        with gr.Column(scale=4, min_width=320, elem_classes="part"):
            gr.HTML("<h3>Timings</h3>")
            facts = gr.HTML(NO_ANSWER, elem_id="facts")
    return [reply, rejects, facts]


def _example_cards() -> list[tuple[Example, Any]]:
    """Show each example as a picture with a button under it."""
    gr.HTML("<h3>Examples</h3>", elem_classes="part")
    cards = []
    with gr.Row(elem_id="examples"):
        for example in examples():
            with gr.Column(min_width=150, elem_classes="card"):
                picture = _data_uri(example.scene.rgb)
                gr.HTML(f'<img alt="{escape(example.name)}" src="{picture}"><p>{escape(example.name)}</p>')
                cards.append((example, gr.Button(example.prompt, size="sm", elem_classes="example")))
    return cards


def _connect(
    session: Session,
    controls: list[Any],
    outputs: list[Any],
    asking: tuple[Callable[..., Any], ...],
    cards: list[tuple[Example, Any]],
) -> None:
    image, prompt, task, _, _ = controls
    wiring: dict[str, Any] = {
        "inputs": controls,
        "outputs": outputs,
        # The image is checked by us, with our words; Gradio still makes sure that it is an upload.
        "preprocess": False,
        "concurrency_id": "model",
        "concurrency_limit": 1,
        "show_progress": "minimal",
        "show_progress_on": outputs[1],
        "api_visibility": "private",
    }
    ask = _asker(session)
    for event in asking:
        event(ask, **wiring)
        event(None, js=_SHOW_PICTURE, api_visibility="private")
    for example, button in cards:
        filled = button.click(
            _filler(example), outputs=[image, prompt, task], queue=False, show_progress="hidden",
            api_visibility="private",
        )  # fmt: skip
        filled.then(ask, **wiring)
        button.click(None, js=_SHOW_PICTURE, api_visibility="private")


def _asker(session: Session) -> Callable[..., Iterator[tuple[Any, ...]]]:
    def ask(
        image: Mapping[str, Any] | None, prompt: str, task: str, threshold: float, area: float, request: gr.Request
    ) -> Iterator[tuple[Any, ...]]:
        path = Path(image["path"]) if image and image.get("path") else None
        name = str((image or {}).get("orig_name") or "the image")
        question = Controls(path, name, str(prompt or ""), task, threshold, area)
        for shown in session.ask(question, str(request.session_hash)):
            yield _row(shown)

    return ask


def _stopper(session: Session) -> Callable[[gr.Request], None]:
    def stop(request: gr.Request) -> None:
        session.stop(str(request.session_hash))

    return stop


def _filler(example: Example) -> Callable[[], tuple[Pixels, str, str]]:
    return lambda: (example.scene.rgb, example.prompt, Task.AUTO.value)


def _row(shown: Shown) -> tuple[Any, ...]:
    """Order the pieces as the outputs are ordered."""
    return shown.notice, shown.picture, shown.answer, shown.objects, shown.reply, shown.rejects, shown.facts


def _data_uri(rgb: Pixels) -> str:
    small = cv2.resize(rgb, _THUMBNAIL_WH, interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode("ascii")


def launch(page: gr.Blocks, *, host: str, max_file_bytes: int) -> str:
    """Serve the page from this process, on the first free port of those in Gradio's environment variables.

    Nothing of the page comes from another host.

    Returns:
        Its address for a browser on this machine.

    Raises:
        StartupError: Gradio cannot serve it.
    """
    try:
        _, url, _ = page.launch(
            server_name=f"[{host}]" if ":" in host else host,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            max_file_size=max_file_bytes,
            footer_links=[],
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            enable_monitoring=False,
            css_paths=STYLE_PATH,
            # The fonts of the machine: the theme's own are files, those of others would come from the network.
            theme=gr.themes.Default(
                primary_hue="blue", font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace")
            ),
        )
    except (OSError, ValueError, gr.exceptions.ServerFailedToStartError) as error:
        raise StartupError(
            f"the page cannot be served on {host}: {error} Remedy: another --port; 0 takes any free one"
        ) from error
    return str(url)
