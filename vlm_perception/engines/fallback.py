"""An engine made of two: the second answers while the first cannot."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

from vlm_perception.engines.base import Engine, OnText, ShouldStop, ignore_text
from vlm_perception.errors import ServerUnavailableError
from vlm_perception.types import Answer, Request, Token

# How often a request that waits for its turn looks whether it is still wanted.
_LOOK_PERIOD_S = 0.02

_log = logging.getLogger(__name__)


class FallbackEngine:
    """Servers first, and a checkpoint in this process while none of them can be asked.

    Args:
        servers: Raises `ServerUnavailableError` where it cannot answer; may be asked from several threads at once.
        local: Answers then, one request after the other.
        max_in_flight: See `ConcurrentEngine.max_in_flight`.
    """

    def __init__(self, servers: Engine, local: Engine, max_in_flight: int) -> None:
        self._servers, self._local, self.max_in_flight = servers, local, max_in_flight
        self._turn = threading.Lock()
        self._local_requests: set[int] = set()
        self._n_local = 0
        self._problem = ""

    @property
    def name(self) -> str:
        """The servers' name."""
        return self._servers.name

    def load(self) -> None:
        """Load both; see `Engine.load`."""
        self._local.load()
        self._servers.load()

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        """See `Engine.answer`."""
        told: list[str] = []

        def tell(chunk: str, tokens: tuple[Token, ...]) -> None:
            told.append(chunk)
            on_text(chunk, tokens)

        try:
            answer = self._servers.answer(request, should_stop, tell)
        except ServerUnavailableError as error:
            self._tell(str(error))
        else:
            self._tell("")
            return answer
        while not self._turn.acquire(timeout=_LOOK_PERIOD_S):
            if should_stop():
                return replace(self.blank_answer(request), finish_reason="aborted")
        self._local_requests.add(id(request))
        try:
            # What a server had told cannot be taken back: then all of this answer is told at its end.
            return self._local.answer(request, should_stop, ignore_text if told else on_text)
        finally:
            self._n_local += 1
            self._local_requests.discard(id(request))
            self._turn.release()

    def blank_answer(self, request: Request) -> Answer:
        """See `Engine.blank_answer`: that of whoever answers this request now."""
        if id(request) in self._local_requests:
            return self._local.blank_answer(request)
        try:
            return self._servers.blank_answer(request)
        except ServerUnavailableError:
            return self._local.blank_answer(request)

    def describe(self) -> dict[str, str]:
        """Facts of the servers, and `fallback`: what it is, and whether it answers."""
        local = self._local.describe()
        now = "answers now" if self._problem else "not needed now"
        told = f"{self._local.name} on {local['device']}, {now}, {self._n_local} answers so far"
        impaired = {"impaired": f"{self._local.name} answers: {self._problem}"} if self._problem else {}
        return {**self._servers.describe(), "fallback": told, **impaired}

    def close(self) -> None:
        """Free both."""
        self._servers.close()
        self._local.close()

    def _tell(self, problem: str) -> None:
        if problem and not self._problem:
            _log.warning("%s answers: %s", self._local.name, problem)
        elif self._problem and not problem:
            _log.warning("servers answer again")
        self._problem = problem
