"""One question to one server: OpenAI's chat completions, streamed as server-sent events.

Source: OpenAI API reference, "Create chat completion" and "The chat completion chunk object"; `repetition_penalty`
and `chat_template_kwargs` are additions of vLLM and SGLang.
"""

from __future__ import annotations

import base64
import email.utils
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import httpx
from pydantic import BaseModel, ValidationError

from vlm_perception.types import WH, FinishReason

# Fields that not every server knows: left out of questions to one that refuses them.
OPTIONAL_FIELDS = ("chat_template_kwargs", "repetition_penalty", "logprobs", "stream_options")
CONNECT_TIMEOUT_S = 3.0
_LONGEST_TOLD = 300
_FINISH_REASONS: dict[str, FinishReason] = {"stop": "stop", "tool_calls": "stop", "length": "length"}
# 408, 409, 425, 429 and all above 499 speak of the server's state; the other client errors of the question.
_STATE_STATUSES = (401, 403, 404, 408, 409, 425, 429)


class ServerError(Exception):
    """A server did not answer; never leaves this package.

    Attributes:
        status: HTTP status; 0 where there was none.
        retry_after_s: How long it asks to be left alone; None where it does not say.
    """

    def __init__(self, text: str, *, status: int = 0, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.status, self.retry_after_s = status, retry_after_s

    @property
    def blames_question(self) -> bool:
        """Whether the server is well and found the question wrong, so that another server would, too."""
        return 400 <= self.status < 500 and self.status not in _STATE_STATUSES


@dataclass(frozen=True, slots=True)
class Question:
    """What a server is asked.

    Attributes:
        instruction: Text of the prompt.
        image: The image as a file, exactly as large as the model is to see it.
        media_type: Of `image`, such as `image/png`.
        image_wh: Its width and height, pixels.
        max_tokens: The longest reply.
        clip: Seconds after the first, and image, of each frame of a clip, all of one size, the last one being `image`;
            empty for a question about that alone.
    """

    instruction: str
    image: bytes = field(repr=False)
    media_type: str
    image_wh: WH
    max_tokens: int
    clip: tuple[tuple[float, bytes], ...] = field(default=(), repr=False)

    @property
    def n_images(self) -> int:
        """How many images are sent."""
        return len(self.clip) or 1

    def body(self, model: str, refused: frozenset[str] = frozenset()) -> dict[str, Any]:
        """Write the body of the HTTP request, without the optional fields that the server refuses."""
        # Qwen's cookbook on videos, "interleaved timestamp-image pairs": the only form that keeps uneven times, and
        # every server that takes several images understands it.
        seen = [part for time_s, image in self.clip for part in (_text(f"<{time_s:.1f} seconds>"), self._part(image))]
        content = [*(seen or [self._part(self.image)]), _text(self.instruction)]
        body = {
            "model": model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self.max_tokens,
            "stream": True,
            # Greedy, and without the penalty that copied generation configs bring: it harms repeated JSON and digits.
            "temperature": 0.0,
            "repetition_penalty": 1.0,
            "logprobs": True,
            "stream_options": {"include_usage": True},
            "chat_template_kwargs": {"enable_thinking": False},
        }
        return {name: value for name, value in body.items() if name not in refused}

    def _part(self, image: bytes) -> dict[str, Any]:
        url = f"data:{self.media_type};base64,{base64.b64encode(image).decode('ascii')}"
        return {"type": "image_url", "image_url": {"url": url}}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


@dataclass(frozen=True, slots=True)
class ServedToken:
    """One token as a server tells it.

    Attributes:
        name: What it writes; not to be trusted where that is a part of a character.
        logprob: Natural log-probability.
    """

    name: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Delta:
    """One event of a streamed reply.

    Attributes:
        content: Text that is new.
        tokens: With log-probabilities, where the server tells them.
        finish_reason: With the last text.
        prompt_tokens: Of the whole prompt with its image; None until the server tells.
        image_tokens: Of the image alone; None until the server tells, which few do.
    """

    content: str = ""
    tokens: tuple[ServedToken, ...] = ()
    finish_reason: FinishReason | None = None
    prompt_tokens: int | None = None
    image_tokens: int | None = None


class _TokenLogprob(BaseModel):
    token: str
    logprob: float


class _Logprobs(BaseModel):
    content: list[_TokenLogprob] | None = None


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    delta: _Message = _Message()
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _TokenDetails(BaseModel):
    # A number, or numbers by kind: vLLM has changed it.
    multimodal_tokens: int | dict[str, int] | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    prompt_tokens_details: _TokenDetails | None = None


class _Chunk(BaseModel):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None
    message: str = ""


async def stream_answer(
    client: httpx.AsyncClient, url: str, body: dict[str, Any], *, stall_s: float | None = None
) -> AsyncGenerator[Delta, None]:
    """Ask a server and give out its reply as it is written.

    Closing the generator closes the connection, at which servers stop to generate.

    Args:
        client: Knows the key and how to connect.
        url: Base URL of the server, such as `http://host:8000/v1`.
        body: See `Question.body`.
        stall_s: The longest wait for the next event; None for ever.

    Raises:
        ServerError: It refuses, breaks off, stalls, or writes something else than such a reply.
    """
    finished = False
    try:
        timeout = httpx.Timeout(stall_s, connect=CONNECT_TIMEOUT_S)
        async with aclosing(await _opened(client, url, body, timeout)) as response:
            if response.status_code != httpx.codes.OK:
                raise _refusal(url, response, await response.aread())
            async for line in response.aiter_lines():
                name, _, value = line.partition(":")
                if name != "data":
                    continue
                if value.strip() == "[DONE]":
                    break
                delta = _read(url, value)
                finished = finished or delta.finish_reason is not None
                yield delta
    except httpx.TimeoutException as error:
        raise ServerError(f"{url} told nothing for too long ({type(error).__name__})") from error
    except httpx.HTTPError as error:
        raise ServerError(f"{url} cannot be reached: {_told(str(error) or type(error).__name__)}") from error
    if not finished:
        raise ServerError(f"{url} broke off before the end of its answer")


async def _opened(client: httpx.AsyncClient, url: str, body: dict[str, Any], timeout: httpx.Timeout) -> httpx.Response:
    """Send a question, once more where a connection that was kept open turns out to be dead."""
    request = client.build_request("POST", f"{url}/chat/completions", json=body, timeout=timeout)
    try:
        return await client.send(request, stream=True)
    except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
        return await client.send(request, stream=True)


async def is_alive(client: httpx.AsyncClient, url: str) -> None:
    """See whether a server answers at all, with whatever.

    Raises:
        ServerError: It does not, or is busy.
    """
    try:
        await list_models(client, url)
    except ServerError as error:
        # Some servers have no list of models, and are well.
        if error.status in (0, 401, 403, 429, 502, 503, 504):
            raise


async def list_models(client: httpx.AsyncClient, url: str) -> list[str]:
    """Return the names of the models that a server has, its default first.

    Raises:
        ServerError: It does not tell.
    """
    try:
        response = await client.get(f"{url}/models", timeout=httpx.Timeout(CONNECT_TIMEOUT_S))
    except httpx.HTTPError as error:
        raise ServerError(f"{url} cannot be reached: {_told(str(error) or type(error).__name__)}") from error
    if response.status_code != httpx.codes.OK:
        raise _refusal(url, response, response.content)
    try:
        return [str(model["id"]) for model in response.json()["data"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ServerError(f"{url}/models is no list of models: {_told(response.text)}") from error


def _read(url: str, value: str) -> Delta:
    try:
        chunk = _Chunk.model_validate_json(value)
    except ValidationError as error:
        raise ServerError(f"{url} wrote something else than a piece of an answer: {_told(value)}") from error
    if chunk.error or chunk.message:
        raise ServerError(f"{url} failed in the middle of its answer: {_told(str(chunk.error or chunk.message))}")
    usage = chunk.usage or _Usage()
    details = usage.prompt_tokens_details or _TokenDetails()
    seen = details.multimodal_tokens
    counted = (usage.prompt_tokens, seen.get("image") if isinstance(seen, dict) else seen)
    if not chunk.choices:
        return Delta(prompt_tokens=counted[0], image_tokens=counted[1])
    choice = chunk.choices[0]
    tokens = (choice.logprobs and choice.logprobs.content) or []
    reason = None
    if choice.finish_reason is not None:
        reason = _FINISH_REASONS.get(choice.finish_reason)
        if reason is None:
            raise ServerError(f"{url} ended its answer for the reason {choice.finish_reason!r}")
    served = tuple(ServedToken(told.token, told.logprob) for told in tokens)
    return Delta(choice.delta.content or "", served, reason, *counted)


def _refusal(url: str, response: httpx.Response, content: bytes) -> ServerError:
    status, said = response.status_code, _told(content.decode("utf-8", "replace"))
    remedy = "; set VLM_PERCEPTION_API_KEY or server_key_file" if status in (401, 403) else ""
    text = f"{url} refused with HTTP {status}: {said}{remedy}"
    return ServerError(text, status=status, retry_after_s=_retry_after_s(response.headers.get("retry-after")))


def _retry_after_s(header: str | None) -> float | None:
    """Read the header `Retry-After` (RFC 9110, 10.2.3): seconds, or a date."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        date = email.utils.parsedate_to_datetime(header) if email.utils.parsedate_tz(header) else None
        return None if date is None else max(0.0, date.timestamp() - time.time())


def _told(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_TOLD else f"{line[:_LONGEST_TOLD]} ..."
