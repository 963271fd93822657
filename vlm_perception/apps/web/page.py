"""The page itself: which controls there are and where; the only module that imports Gradio."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from vlm_perception.apps.web.examples import FILM_S, Example, examples_for, write_film
from vlm_perception.apps.web.history import History, remember
from vlm_perception.apps.web.session import Controls, Session
from vlm_perception.apps.web.show import NO_ANSWER, Shown, show_problem
from vlm_perception.apps.web.uploads import length_s, read_moment
from vlm_perception.errors import ImageError
from vlm_perception.frames.encodings import Pixels
from vlm_perception.scenes.clips import DrawnClip
from vlm_perception.settings import Settings
from vlm_perception.startup.arguments import StartupError
from vlm_perception.types import Task

STYLE_PATH = Path(__file__).with_name("style.css")
_HIGHLIGHT, _PART = Path(__file__).with_name("highlight.js"), Path(__file__).with_name("part.js")
# Uploads and pictures are removed this long after they were made, and all of them when the page ends.
KEEP_FILES_S = 1800
_TIDY_EVERY_S = 60
_WAITING_LIMIT = 16
# A live camera waits for its answers among all others, and holds a place as long as it is on.
_LIVE_AT_ONCE, _LIVE_PERIOD_S = 4, 0.5
_SLIDER_TOP_PX, _SLIDER_STEP_PX = 4 * 1024 * 1024, 28 * 28
_THUMBNAIL_WH = (240, 180)
_TASKS = (
    ("automatic", Task.AUTO.value),
    ("detect: boxes", Task.DETECT.value),
    ("ground: descriptions", Task.GROUND.value),
    ("point: points", Task.POINT.value),
    ("count: a number", Task.COUNT.value),
    ("read: text", Task.READ.value),
    ("describe: words", Task.DESCRIBE.value),
    ("watch: a whole video", Task.WATCH.value),
    ("raw: sent as it is", Task.RAW.value),
)
# On a phone, and for the examples, the answer would appear where nobody looks.
_SHOW_PICTURE = "() => document.querySelector('#picture').scrollIntoView({behavior: 'smooth', block: 'nearest'})"
# Screen readers say what changes inside; the element itself has to stay, and Gradio keeps a template's.
_LIVE_REGION = '<div aria-live="polite" aria-atomic="true">${value}</div>'
_LEGEND = (
    '<p class="legend"><mark class="object">read as an object</mark> <mark class="reject">not accepted</mark> '
    "hold the pointer over a mark for its number or reason</p>"
)


@dataclass(frozen=True, slots=True)
class _Sources:
    """Where pictures come from beside uploads.

    Attributes:
        drawer: What has the next two in it and can be opened.
        video: An uploaded video.
        moment: Which of its pictures is asked about.
        camera: Asked about again and again while it is on.
    """

    drawer: Any
    video: Any
    moment: Any
    camera: Any


@dataclass(frozen=True, slots=True)
class _Memory:
    """What one browser's session remembers.

    Attributes:
        last: State: what was shown last, until it is in the history; None after a question that was not asked.
        history: State: a `History`.
        gallery: Shows the history.
        json_file: Offers the answer that is shown.
    """

    last: Any
    history: Any
    gallery: Any
    json_file: Any

    def after(self, asked: Any) -> None:
        """Remember the answer once this event is over."""
        asked.then(
            _keep, [self.last, self.history], [self.last, self.history, self.gallery, self.json_file],
            show_progress="hidden", api_visibility="private",
        )  # fmt: skip


def build_page(session: Session, settings: Settings) -> gr.Blocks:
    """Lay out the page and connect it with a session.

    Args:
        session: Answers the questions.
        settings: What the controls start with.
    """
    with gr.Blocks(
        analytics_enabled=False, title="vlm_perception", fill_width=True, delete_cache=(_TIDY_EVERY_S, KEEP_FILES_S)
    ) as page:
        with gr.Row(equal_height=True, elem_id="head"):
            gr.HTML("<h1>vlm_perception</h1><p>Say what to find in a picture.</p>", elem_id="title")
            state = gr.HTML("", html_template=_LIVE_REGION, elem_id="model-state")
        with gr.Row():
            with gr.Column(scale=4, min_width=320):
                controls, sources = _controls(settings)
                with gr.Row():
                    ask = gr.Button("Ask", variant="primary", elem_id="ask")
                    stop = gr.Button("Stop", variant="secondary", elem_id="stop")
                notice = gr.HTML("", html_template=_LIVE_REGION, elem_id="notice")
            with gr.Column(scale=5, min_width=320, elem_id="found"):
                outputs = [notice, *_main_outputs()]
                json_file = gr.DownloadButton("Download as JSON", size="sm", interactive=False, elem_id="json")
        cards = _example_cards(settings.model)
        outputs += _detail_outputs()
        memory = _Memory(*_history(), json_file)
        outputs.append(memory.last)
        _connect(session, controls, outputs, memory, (ask.click, controls[1].submit), cards, sources)
        _connect_sources(session, controls, sources, outputs, memory)
        stop.click(_stopper(session), queue=False, api_visibility="private")
        page.load(session.model_states, outputs=state, concurrency_limit=None, api_visibility="private")
        page.unload(_stopper(session))
    page.queue(max_size=_WAITING_LIMIT, default_concurrency_limit=1, api_open=False)
    return page


def _controls(settings: Settings) -> tuple[list[Any], _Sources]:
    """Make the inputs, in the order of `_asker`'s arguments, and the other places where pictures come from."""
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
        alt_text="The picture to ask about",
    )
    gr.HTML(
        '<p class="legend">Draw a box on the picture to ask about a part of it.</p>',
        js_on_load=_PART.read_text("utf-8"), elem_id="part",
    )  # fmt: skip
    with gr.Accordion("From a video", open=False, elem_id="from-video") as drawer:
        video = gr.Video(label="Video", sources=["upload"], height=220, elem_id="video")
        moment = gr.Slider(0.0, 1.0, 0.0, step=0.05, label="Picture at, seconds", interactive=False, elem_id="moment")
    with gr.Accordion("Live from a camera", open=False, elem_id="from-camera"):
        camera = gr.Image(
            label="Camera", sources=["webcam"], streaming=True, image_mode=None, height=290, elem_id="camera",
            webcam_options=gr.WebcamOptions(mirror=False), alt_text="What the camera sees",
        )  # fmt: skip
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
        tasks = [name for _, name in _TASKS]
        chosen = settings.task.value if settings.task.value in tasks else Task.AUTO.value
        task = gr.Dropdown(list(_TASKS), value=chosen, label="Task", filterable=False, elem_id="task")
        threshold = gr.Slider(0.0, 1.0, settings.score_threshold, step=0.01, label="Least score", elem_id="score")
    with gr.Accordion("More", open=False):
        area = gr.Slider(
            settings.min_pixels, max(_SLIDER_TOP_PX, settings.max_pixels), settings.max_pixels,
            step=_SLIDER_STEP_PX, label="Pixels the model sees at most",
            info="More pixels find smaller things and take longer. A model's own limit still holds.", elem_id="area",
        )  # fmt: skip
        zoom = gr.Checkbox(
            settings.zoom == "auto", label="Look closer at small and unsure things",
            info="Asks again about up to two parts of the picture.", elem_id="zoom",
        )  # fmt: skip
    return [image, prompt, task, threshold, area, zoom, video], _Sources(drawer, video, moment, camera)


def _main_outputs() -> list[Any]:
    return [
        gr.Image(
            label="What was found", format="jpeg", interactive=False, buttons=["download", "fullscreen"],
            elem_id="picture",
        ),
        gr.HTML("", elem_id="answer"),
        gr.HTML("", html_template=_LIVE_REGION, elem_id="spoken"),
        gr.HTML("", js_on_load=_HIGHLIGHT.read_text("utf-8"), elem_id="objects"),
    ]  # fmt: skip


def _detail_outputs() -> list[Any]:
    with gr.Row():
        with gr.Column(scale=5, min_width=320, elem_classes="part"):
            gr.HTML(f"<h2>Raw reply</h2>{_LEGEND}")
            reply = gr.HTML(NO_ANSWER, elem_id="reply")
            gr.HTML("<h2>Rejects</h2>")
            rejects = gr.HTML(NO_ANSWER, elem_id="rejects")
        with gr.Column(scale=4, min_width=320, elem_classes="part"):
            gr.HTML("<h2>Timings</h2>")
            facts = gr.HTML(NO_ANSWER, elem_id="facts")
    return [reply, rejects, facts]


def _history() -> tuple[Any, Any, Any]:
    gr.HTML(
        '<h2>This session</h2><p class="legend">The newest answer comes first; choose one to see it again.</p>',
        elem_classes="part",
    )
    gallery = gr.Gallery(
        label="Answers of this session", show_label=False, columns=6, fit_columns=False, height="auto",
        object_fit="contain", allow_preview=False, interactive=False, buttons=[], elem_id="history",
    )  # fmt: skip
    return gr.State(None), gr.State(()), gallery


def _example_cards(model: str) -> list[tuple[Example, Any]]:
    """Show each example as a picture with a button under it."""
    gr.HTML("<h2>Examples</h2>", elem_classes="part")
    cards = []
    with gr.Row(elem_id="examples"):
        for example in examples_for(model):
            with gr.Column(min_width=150, elem_classes="card"):
                picture = _data_uri(example.scene.rgb)
                gr.HTML(f'<img alt="{escape(example.name)}" src="{picture}"><p>{escape(example.name)}</p>')
                cards.append((example, gr.Button(example.prompt, size="sm", elem_classes="example")))
    return cards


def _connect(
    session: Session,
    controls: list[Any],
    outputs: list[Any],
    memory: _Memory,
    asking: tuple[Callable[..., Any], ...],
    cards: list[tuple[Example, Any]],
    sources: _Sources,
) -> None:
    filled_in = [*controls[:3], sources.drawer, sources.video, sources.moment]
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
        memory.after(event(ask, **wiring))
        event(None, js=_SHOW_PICTURE, api_visibility="private")
    for example, button in cards:
        filled = button.click(
            _filler(example), outputs=filled_in, queue=False, show_progress="hidden", api_visibility="private"
        )
        memory.after(filled.then(ask, **wiring))
        button.click(None, js=_SHOW_PICTURE, api_visibility="private")
    memory.gallery.select(
        _show_again, memory.history, [*outputs, memory.json_file], show_progress="hidden", api_visibility="private"
    )
    memory.gallery.select(None, js=_SHOW_PICTURE, api_visibility="private")


def _connect_sources(
    session: Session, controls: list[Any], sources: _Sources, outputs: list[Any], memory: _Memory
) -> None:
    image, notice = controls[0], outputs[0]
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    sources.video.upload(_open_video, sources.video, [sources.moment, image, notice], **quiet)
    sources.moment.change(
        _pick_moment, [sources.video, sources.moment], [image, notice], trigger_mode="always_last", **quiet
    )
    # Gradio hands over the newest picture only, and waits for the answer before the next.
    live = sources.camera.stream(
        _live_asker(session), [sources.camera, *controls[1:-1]], outputs, preprocess=False, stream_every=_LIVE_PERIOD_S,
        concurrency_id="live", concurrency_limit=_LIVE_AT_ONCE, **quiet,
    )  # fmt: skip
    memory.after(live)


def _open_video(path: str) -> tuple[Any, ...]:
    try:
        end_s = length_s(Path(path))
        image = _moment_file(Path(path), 0.0)
    except ImageError as error:
        return gr.Slider(interactive=False), gr.skip(), show_problem(str(error)).notice
    return gr.Slider(maximum=round(end_s, 2), value=0.0, interactive=True), image, ""


def _pick_moment(path: str | None, time_s: float) -> tuple[Any, Any]:
    if path is None:
        return gr.skip(), gr.skip()
    try:
        return _moment_file(Path(path), time_s), ""
    except ImageError as error:
        return gr.skip(), show_problem(str(error)).notice


def _moment_file(video: Path, time_s: float) -> str:
    """Write one picture of a video as a file that says where it comes from."""
    bgr = cv2.cvtColor(read_moment(video, time_s), cv2.COLOR_RGB2BGR)
    _, png = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return str(save_bytes_to_cache(png.tobytes(), f"{video.stem}_{time_s:.2f}s.png", get_upload_folder()))


def _live_asker(session: Session) -> Callable[..., tuple[Any, ...]]:
    def ask(
        image: Mapping[str, Any] | None,
        prompt: str,
        task: str,
        threshold: float,
        area: float,
        zoom: bool,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        head, _, data = str((image or {}).get("url") or "").partition(",")
        if not head.startswith("data:image/"):
            return (gr.skip(),) * 9
        with tempfile.NamedTemporaryFile() as file:
            file.write(base64.b64decode(data))
            file.flush()
            question = Controls(Path(file.name), "camera", str(prompt or ""), task, threshold, area, zoom)
            *_, shown = session.ask(question, str(request.session_hash))
        return _row(shown)

    return ask


def _asker(session: Session) -> Callable[..., Iterator[tuple[Any, ...]]]:
    def ask(
        image: Mapping[str, Any] | None,
        prompt: str,
        task: str,
        threshold: float,
        area: float,
        zoom: bool,
        video: Mapping[str, Any] | None,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        name = str((image or {}).get("orig_name") or "the image")
        question = Controls(_path(image), name, str(prompt or ""), task, threshold, area, zoom, _path(video))
        for shown in session.ask(question, str(request.session_hash)):
            yield _row(shown)

    return ask


def _path(upload: Mapping[str, Any] | None) -> Path | None:
    return Path(upload["path"]) if upload and upload.get("path") else None


def _keep(last: Shown | None, history: History) -> tuple[Any, ...]:
    """Put the last answer into the history and offer it as a file; where there is none, the one before is no offer."""
    if last is None:
        return (gr.skip(),) * 4
    if not last.json:
        return None, gr.skip(), gr.skip(), gr.DownloadButton(interactive=False)
    history = remember(history, last)
    return None, history, [(kept.thumbnail, kept.shown.title) for kept in history], _json_file(last)


def _show_again(history: History, chosen: gr.SelectData) -> tuple[Any, ...]:
    shown = history[chosen.index].again()
    return *_row(shown)[:-1], gr.skip(), _json_file(shown)


def _json_file(shown: Shown) -> gr.DownloadButton:
    path = save_bytes_to_cache(shown.json.encode(), "answer.json", get_upload_folder())
    return gr.DownloadButton(value=path, interactive=True)


def _stopper(session: Session) -> Callable[[gr.Request], None]:
    def stop(request: gr.Request) -> None:
        session.stop(str(request.session_hash))

    return stop


def _filler(example: Example) -> Callable[[], tuple[Any, ...]]:
    def fill() -> tuple[Any, ...]:
        asked = (example.scene.rgb, example.prompt, Task.AUTO.value)
        if example.film is None:
            return *asked, *[gr.skip()] * 3
        moment = gr.Slider(maximum=FILM_S, value=FILM_S, interactive=True)
        return *asked, gr.Accordion(open=True), _film_file(example.name, example.film), moment

    return fill


def _film_file(name: str, film: DrawnClip) -> str:
    """Write a drawn clip as a file that the page may show."""
    with tempfile.TemporaryDirectory() as folder:
        write_film(path := Path(folder) / "film.mp4", film)
        return str(save_bytes_to_cache(path.read_bytes(), f"{name.lower()}.mp4", get_upload_folder()))


def _row(shown: Shown) -> tuple[Any, ...]:
    """Order the pieces as the outputs are ordered."""
    if shown.kept:
        return shown.notice, *[gr.skip()] * 7, None
    picture = gr.Image(value=shown.picture, alt_text=shown.picture_alt)
    return (
        shown.notice, picture, shown.answer, shown.spoken, shown.objects, shown.reply, shown.rejects, shown.facts,
        shown,
    )  # fmt: skip


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
