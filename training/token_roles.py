"""What the tokens of a reply are for: digits of a place, the opening of an object, a word that claims something."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from training.checkpoint import STRUCTURE_TOKENS

# Of a sentence, these follow from what stands around them; all other words are claims.
FUNCTION_WORDS = frozenset(("a", "an", "the", "is", "are", "of", "there", "i", "see", "and", "in", "to"))
# What the lists of times consist of, whatever happened.
FUNCTION_WORDS |= {"json", "start", "end", "time", "description"}


class TokenRoles:
    """Sorts the tokens of one vocabulary.

    Args:
        tokenizer: The tiny checkpoint's tokenizer.

    Attributes:
        digits: 0 to 9.
        openers: Begin an object of a list.
        closers: End an object.
        begins: Begin a list.
        deciders: Decide whether another object follows, or whether there is any.
        fixed: Signs, keys and structure, which follow from what stands around them.
        function: What follows by itself in a sentence: signs, and words without a claim.
        text_opener: Begins what is written on a thing.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        texts = [tokenizer.decode([token]) for token in range(len(tokenizer))]

        def those(has_role: Callable[[str], bool]) -> NDArray[np.int64]:
            return np.array([token for token, text in enumerate(texts) if has_role(text)], np.int64)

        structure = np.array([tokenizer.convert_tokens_to_ids(text) for text in STRUCTURE_TOKENS], np.int64)
        self.digits = np.array([tokenizer.convert_tokens_to_ids(str(digit)) for digit in range(10)], np.int64)
        self.openers, self.text_opener = structure[:2], int(structure[4])
        self.closers = those(lambda text: text.startswith('"}'))
        self.begins = those(lambda text: text.startswith("\n["))
        self.deciders = np.concatenate([self.closers, self.begins])
        self.fixed = np.append(those(lambda text: not any(map(str.isalnum, text)) or "_" in text), structure)
        self.function = those(lambda text: text.strip().lower() in FUNCTION_WORDS or not any(map(str.isalnum, text)))

    def in_text(self, reply: Sequence[int]) -> NDArray[np.bool_]:
        """Token by token of a reply: whether it is of what is written on a thing."""
        inside, marks = False, []
        for token in reply:
            inside = inside and token not in self.closers
            marks.append(inside)
            inside = inside or token == self.text_opener
        return np.array(marks, bool)
