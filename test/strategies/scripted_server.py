"""A real HTTP server on this machine that answers chat completions as a test scripts it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

from PIL import Image
from scripted_engine import PATIENCE_S

from vlm_perception.engines.probe_card import draw_card

Body = dict[str, Any]


@dataclass
class Reply:
    """What the server writes.

    Attributes:
        texts: Each is one event with one token; a callable is called instead, as to wait.
        status: Of HTTP; another one than 200 sends `texts` joined as the body.
        headers: Of HTTP.
        finish: Its reason; None breaks off before it.
        usage: At the end; None for none.
        logprobs: Whether tokens are told.
    """

    texts: Sequence[str | Callable[[], object]] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    finish: str | None = "stop"
    usage: Body | None = None
    logprobs: bool = True


def images_of(body: Body) -> list[Image.Image]:
    """The images that were sent."""
    urls = [part["image_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "image_url"]
    return [Image.open(BytesIO(base64.b64decode(url.partition("base64,")[2]))) for url in urls]


def image_of(body: Body) -> Image.Image:
    """The image that was sent, or the first of them."""
    return images_of(body)[0]


def instruction_of(body: Body) -> str:
    """The text that was sent behind the image."""
    return str(body["messages"][0]["content"][-1]["text"])


def usage(body: Body, cell_px: int, *, kind: Callable[[int], object] = lambda tokens: {"image": tokens}) -> Body:
    """What vLLM counts; `kind` is how it tells the image's tokens, None for servers that do not."""
    width, height = image_of(body).size
    tokens = (width // cell_px) * (height // cell_px)
    return {"prompt_tokens": 40 + tokens, "prompt_tokens_details": {"multimodal_tokens": kind(tokens)}}


def boxes_text(boxes: Sequence[Sequence[float]], label: str = "thing") -> str:
    """A reply with these boxes as they are."""
    items = [f'{{"bbox_2d": [{", ".join(f"{number:g}" for number in box)}], "label": "{label}"}}' for box in boxes]
    return "```json\n[" + ",\n".join(items) + "]\n```"


def card_reply(body: Body, cell_px: int = 28, to_frame: Callable[[float, float], float] | None = None) -> Reply:
    """The right answer about the card, in pixels of the image, or in what `to_frame` makes of a share and a side."""
    across, down = image_of(body).size
    card = draw_card()
    width, height = card.frame.image_wh
    change = to_frame or (lambda share, side: round(share * side))
    boxes = [
        [change(place / (width, height)[axis % 2], (across, down)[axis % 2]) for axis, place in enumerate(truth.xyxy)]
        for truth in card.truths
    ]
    return Reply([boxes_text(boxes)], usage=usage(body, cell_px))


def relative(share: float, side: float) -> float:
    """0 to 1000 of the image."""
    return round(1000 * share)


class ScriptedServer:
    """Answers with what `script` makes of the body of a question; a card is answered rightly before.

    Attributes:
        url: Base URL.
        asked: Bodies of all questions but those about the card.
        looked: How often somebody asked for the list of models.
        closed: Set when somebody closed a connection in the middle of an answer.
        authorization: The last header of that name.
    """

    def __init__(
        self,
        script: Callable[[Body], Reply],
        *,
        models: Sequence[str] = ("Qwen2.5-VL-test",),
        about_card: Callable[[Body], Reply] = card_reply,
        port: int = 0,
    ) -> None:
        self.asked: list[Body] = []
        self.looked = 0
        self.closed = threading.Event()
        self.authorization = ""
        self.script, self.about_card, self.models = script, about_card, models
        card = draw_card().prompt.instruction
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                server.looked += 1
                body = json.dumps({"data": [{"id": name} for name in server.models]}).encode()
                self.send_response(200 if server.models else 404)
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                server.authorization = self.headers.get("authorization", "")
                if instruction_of(body) == card:
                    reply = server.about_card(body)
                else:
                    server.asked.append(body)
                    reply = server.script(body)
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    self._write(reply)
                except OSError:
                    server.closed.set()

            def _write(self, reply: Reply) -> None:
                if reply.status != 200:
                    self.wfile.write("".join(map(str, reply.texts)).encode())
                    return
                for text in reply.texts:
                    if callable(text):
                        text()
                        continue
                    tokens = {"content": [{"token": text, "logprob": -0.25}]} if reply.logprobs else None
                    self._event({"choices": [{"delta": {"content": text}, "logprobs": tokens}]})
                if reply.finish is not None:
                    self._event({"choices": [{"delta": {}, "finish_reason": reply.finish}]})
                    if reply.usage is not None:
                        self._event({"choices": [], "usage": reply.usage})
                    self.wfile.write(b"data: [DONE]\n\n")

            def _event(self, event: Body) -> None:
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                self.wfile.flush()

        class Server(ThreadingHTTPServer):
            # Connections of a test that fails must not hold up its end.
            daemon_threads, allow_reuse_address, request_queue_size = True, True, 128

            def handle_error(self, *_: object) -> None:
                pass

        self._http = Server(("127.0.0.1", port), Handler)
        self.port = int(self._http.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Refuse connections from now on."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(PATIENCE_S)


@contextmanager
def serving(script: Callable[[Body], Reply], **options: Any) -> Iterator[ScriptedServer]:
    """Serve for the length of a test."""
    server = ScriptedServer(script, **options)
    try:
        yield server
    finally:
        server.close()
