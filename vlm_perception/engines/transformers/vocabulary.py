"""Which bytes each token id of a checkpoint writes."""

from __future__ import annotations

import re
from typing import Any

# Special tokens that are part of an answer: the Qwen family marks objects and places with them.
_PART_OF_ANSWER = re.compile(r"<\|(object_ref|box|quad|point)_(start|end)\|>")
# What a byte-level vocabulary has to give back: spaces, line ends, other scripts, 1 to 4 bytes a character.
_SAMPLE = '[\n\t{"label": "red cup é 猫 🐈"}]\r\n'


class ByteVocabulary:
    """A tokenizer's vocabulary: the ids of a text, and which bytes each id writes. See `Vocabulary`.

    Chat control tokens (`<|im_end|>`, `<|vision_start|>`, ...) write nothing. The special tokens
    that belong to an answer (`<|object_ref_start|>`, `<|box_start|>`, `<|quad_end|>`, ...) write
    their own name, because the parser reads them.

    Args:
        tokenizer: A byte-level tokenizer of transformers, as the Qwen family has.

    Raises:
        ValueError: The tokenizer does not write bytes.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._byte_of = _byte_of_character()
        special = {int(token_id) for token_id in tokenizer.all_special_ids}
        special |= {token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special}
        names = {token_id: str(tokenizer.convert_ids_to_tokens(token_id)) for token_id in special}
        self._known = {token_id: b"" for token_id, name in names.items() if not _PART_OF_ANSWER.fullmatch(name)}
        sample = self.encode(_SAMPLE)
        if b"".join(map(self.bytes_of, sample)) != _SAMPLE.encode():
            raise ValueError("the tokenizer is not a byte-level one, as the Qwen family has; use that of the model")

    @property
    def end_id(self) -> int:
        """The token that ends a reply."""
        return int(self._tokenizer.eos_token_id)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, no special ones added."""
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def bytes_of(self, token_id: int) -> bytes:
        """Return what an id writes; an id that the vocabulary does not have writes nothing."""
        written = self._known.get(token_id)
        if written is None:
            written = self._known[token_id] = self._read(self._tokenizer.convert_ids_to_tokens(token_id))
        return written

    def _read(self, name: str | None) -> bytes:
        try:
            return bytes(self._byte_of[character] for character in name or "")
        except KeyError:
            # A token that was added by hand is stored as it reads.
            return (name or "").encode()


def _byte_of_character() -> dict[str, int]:
    """The alphabet of byte-level vocabularies: printable Latin-1 stands for itself, the rest follows from U+0100.

    Source: "Language Models are Unsupervised Multitask Learners" (GPT-2), section 2.2, and its
    released encoder.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = sorted(set(range(256)) - set(printable))
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}
