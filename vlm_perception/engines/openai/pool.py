"""Several servers as one: the one with the fewest questions is asked, and another where it fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

import anyio
import httpx

from vlm_perception.engines.families import Family
from vlm_perception.engines.openai.chat import Delta, Question, ServerError, is_alive, stream_answer
from vlm_perception.engines.openai.circuit import Circuit
from vlm_perception.engines.openai.inspection import ServedModel, inspect_server, size_problem
from vlm_perception.errors import InferenceError, ModelLoadError, ServerUnavailableError
from vlm_perception.settings import Settings

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Begun:
    """A server begins with the answer; what another one has told of it before is void."""

    url: str


Hear = Callable[[Begun | Delta], None]


class Server:
    """One of the servers, as the pool sees it.

    Attributes:
        url: Base URL.
        circuit: Whether it may be asked.
        served: What it has; None until it was inspected.
        in_flight: Questions that it is answering.
        answered: Questions that it has answered.
    """

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        self.url, self.circuit = url, Circuit(clock)
        self.served: ServedModel | None = None
        self.in_flight = self.answered = 0
        self.broke = anyio.Event()

    @property
    def may_be_asked(self) -> bool:
        """Whether it is inspected and has not failed lately."""
        return self.served is not None and not self.circuit.is_open

    def fail(self, error: Exception) -> None:
        """Leave it alone for a while."""
        if not self.circuit.is_open:
            _log.warning("server %s is left alone for a while: %s", self.url, error)
        retry_after_s = error.retry_after_s if isinstance(error, ServerError) else None
        self.circuit.fail(str(error), retry_after_s)
        self.broke.set()


class ServerPool:
    """All servers of an engine. Lives in one event loop; only `family` and `servers` are looked at from elsewhere.

    Args:
        urls: Base URLs of servers that have the same model.
        settings: How they are asked.
        key: That they ask for; empty for none.

    Attributes:
        servers: One for each URL.
        family: Of the model; None while no server has told.
    """

    def __init__(self, urls: tuple[str, ...], settings: Settings, key: str) -> None:
        self._settings = settings
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # As many connections as there are questions; proxies and certificates as the environment says.
        self._client = httpx.AsyncClient(headers=headers, limits=httpx.Limits(max_connections=None))
        self.servers = tuple(Server(url, time.monotonic) for url in urls)
        self.family: Family | None = None

    async def open(self) -> None:
        """Inspect all servers; those that cannot be asked now are looked at again by `watch`.

        Raises:
            ModelLoadError: None of them can be used.
        """
        async with anyio.create_task_group() as group:
            for server in self.servers:
                group.start_soon(self._look_at, server)
        if self.family is None:
            reasons = "; ".join(server.circuit.reason for server in self.servers)
            raise ModelLoadError(f"no server can be used: {reasons}")

    async def watch(self) -> None:
        """Look at servers that failed until they are well again. Does not end."""
        async with anyio.create_task_group() as group:
            for server in self.servers:
                group.start_soon(self._watch, server)

    async def ask(self, question: Question, fresh_until_s: float, hear: Hear, *, may_wait: bool = True) -> None:
        """Have one server after the other answer a question, until one does.

        Args:
            question: What is asked, of any of them.
            fresh_until_s: No server is asked after this moment of the monotonic clock.
            hear: Told what is written, as it is; all of an answer comes from one server, after `Begun`.
            may_wait: Whether a server that stalls is waited for when it is the last; else it is given up, too.

        Raises:
            ServerUnavailableError: All of them failed, or are left alone.
            InferenceError: A server found the question wrong, or has seen the image in another size.
        """
        tried: list[Server] = []
        while (server := self._choose(tried)) is not None:
            is_last = may_wait and self._choose([*tried, server]) is None
            hear(Begun(server.url))
            server.in_flight += 1
            try:
                await self._ask_one(server, question, None if is_last else self._settings.server_stall_s, hear)
            except ServerError as error:
                if error.blames_question:
                    raise InferenceError(str(error)) from error
                server.fail(error)
                tried.append(server)
                if time.monotonic() > fresh_until_s:
                    raise ServerUnavailableError(f"{error}; its frame is too old to be asked about again") from error
            else:
                return
            finally:
                server.in_flight -= 1
        raise ServerUnavailableError(f"no server can be asked: {self.states()}")

    def states(self) -> str:
        """Say of each server whether it can be asked. For any thread."""
        return "; ".join(
            f"{server.url} {'can be asked' if server.may_be_asked else server.circuit.reason or 'not asked yet'}"
            for server in self.servers
        )

    def facts(self) -> dict[str, str]:
        """Facts for diagnostics. For any thread."""
        seen = [server.served for server in self.servers if server.served is not None]
        usable = sum(server.may_be_asked for server in self.servers)
        facts = {"servers": f"{usable} of {len(self.servers)} can be asked: {self.states()}"}
        if usable < len(self.servers):
            facts["impaired"] = f"of the servers {facts['servers']}"
        if not seen:
            return facts
        model = seen[0]
        card = f"{model.card.found} of {model.card.things} things of the card at IoU {model.card.mean_iou:.2f}"
        return {
            **facts,
            "source": model.name,
            "family": model.family.name,
            "probe": f"{card}; image size seen by {model.counted or 'nothing that the server tells'}",
            "scores": "from log-probabilities" if all(each.tells_logprobs for each in seen) else "unknown",
        }

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def _choose(self, tried: list[Server]) -> Server | None:
        usable = [server for server in self.servers if server.may_be_asked and server not in tried]
        return min(usable, key=lambda server: (server.in_flight, server.answered), default=None)

    async def _ask_one(self, server: Server, question: Question, stall_s: float | None, hear: Hear) -> None:
        served = server.served
        if served is None:
            raise ServerError(f"server {server.url} was never reached")
        body = question.body(served.name, served.refused)
        async with aclosing(stream_answer(self._client, server.url, body, stall_s=stall_s)) as deltas:
            async for delta in deltas:
                seen, sent = delta.image_tokens, (question.image_wh, served.family)
                if seen is not None and (problem := size_problem(server.url, *sent, seen, question.n_images)):
                    raise InferenceError(problem)
                hear(delta)
        server.answered += 1
        server.circuit.succeed()

    async def _watch(self, server: Server) -> None:
        while True:
            await server.broke.wait()
            while server.circuit.is_open:
                await anyio.sleep(server.circuit.wait_s)
                await self._look_at(server)
            server.broke = anyio.Event()
            _log.warning("server %s is asked again", server.url)

    async def _look_at(self, server: Server) -> None:
        try:
            if server.served is None:
                server.served = await self._inspect(server.url)
            else:
                await is_alive(self._client, server.url)
        except (ServerError, ModelLoadError) as error:
            server.fail(error)
        else:
            server.circuit.close()

    async def _inspect(self, url: str) -> ServedModel:
        served = await inspect_server(self._client, url, self._settings)
        self.family = self.family or served.family
        if served.family != self.family:
            raise ModelLoadError(
                f"server {url} has {served.name!r}, a {served.family.name}, another one a {self.family.name}: servers "
                f"share the work only with the same model"
            )
        if not served.tells_logprobs:
            _log.warning("server %s tells no log-probabilities: scores of its answers are unknown", url)
        return served
