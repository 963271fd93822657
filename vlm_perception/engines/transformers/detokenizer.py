"""From generated tokens to text and `Token`s, one at a time and exact to the byte.

The tokenizers of the Qwen family write bytes, so one character may be spread over several tokens.
Decoding the whole reply after every token would cost more and more; this looks at each byte once.
"""

from __future__ import annotations

import codecs

from vlm_perception.types import Token

Piece = tuple[str, tuple[Token, ...]]


class Detokenizer:
    """Puts one reply together.

    A token is given out together with the last character it has a byte of: those that share a
    character come together with it, and all of them span it. Bytes that are no UTF-8 become
    U+FFFD, exactly as the tokenizer's own `decode` writes them.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._length = 0
        self._waiting: list[Token] = []

    def feed(self, written: bytes, logprob: float) -> Piece:
        """Take one more token: the bytes that it writes, and its natural log-probability.

        Returns:
            The characters that are whole now, often one token's, and the tokens that ended with
            them. A token that writes nothing comes as soon as those before it.
        """
        first = self._decode(written[:1])
        # The first byte lies in the last character that it ended, or in one that is still open.
        start = self._length + len(first) - (1 if first and not self._is_open() else 0)
        chunk = first + self._decode(written[1:])
        self._length += len(chunk)
        if written:
            self._waiting.append(Token(start, self._length + self._is_open(), logprob))
        else:
            self._waiting.append(Token(self._length, self._length, logprob))
        return chunk, self._ready()

    def finish(self) -> Piece:
        """End the reply: an unfinished character becomes U+FFFD."""
        chunk = self._decoder.decode(b"", True)
        self._length += len(chunk)
        return chunk, self._ready()

    def _decode(self, written: bytes) -> str:
        chunk = ""
        for byte in written:
            # The two are half of a surrogate, which is no UTF-8. Python would wait for the rest before it says so.
            if self._decoder.getstate()[0] == b"\xed" and 0xA0 <= byte < 0xC0:
                chunk += self._decoder.decode(b"", True)
            chunk += self._decoder.decode(bytes([byte]))
        return chunk

    def _is_open(self) -> bool:
        return bool(self._decoder.getstate()[0])

    def _ready(self) -> tuple[Token, ...]:
        # Tokens keep their order: one that writes nothing waits behind an open character too.
        count = next((i for i, token in enumerate(self._waiting) if token.end > self._length), len(self._waiting))
        ready, self._waiting = tuple(self._waiting[:count]), self._waiting[count:]
        return ready
