"""What an engine tells while it writes, kept; and a wish to stop."""

from __future__ import annotations

from vlm_perception.types import Token


class Told:
    """An `on_text` and a `should_stop`.

    Args:
        stop_after: Tokens after which to stop; None never stops.
        stop_asked: How many times to go on when asked; None always.
    """

    def __init__(self, stop_after: int | None = None, stop_asked: int | None = None) -> None:
        self.pieces: list[tuple[str, tuple[Token, ...]]] = []
        self.asked_before: list[int] = []
        self.asked = 0
        self._stop_after, self._stop_asked = stop_after, stop_asked

    def on_text(self, chunk: str, tokens: tuple[Token, ...]) -> None:
        self.pieces.append((chunk, tokens))
        self.asked_before.append(self.asked)

    def should_stop(self) -> bool:
        self.asked += 1
        enough = self._stop_after is not None and len(self.tokens) >= self._stop_after
        return enough or (self._stop_asked is not None and self.asked > self._stop_asked)

    @property
    def text(self) -> str:
        return "".join(chunk for chunk, _ in self.pieces)

    @property
    def tokens(self) -> tuple[Token, ...]:
        return tuple(token for _, tokens in self.pieces for token in tokens)
