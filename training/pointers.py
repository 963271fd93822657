"""Which image token each token of a reply is read from: what the pointer loss asks one head of the decoder to look at.

A list is read object by object, each from the token at its centre; where another may follow, from the next one's, or
from the null token behind the image where none does. Each thing that a question names is found before: nothing else
binds the colours and kinds of "red cart; blue face", and a red face is found too. A sentence is read from the things
that it names, letters from where they stand, and what is said of a clip from the thing at the time that is being
written.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from training.clip_pointers import Sight, places_to_look
from training.families import View
from training.replies import Expected
from training.token_roles import TokenRoles

REPLY_END = "<|im_end|>"
_REFUSALS = ("No", "没有", "不是", "There is nothing", "这里什么")


class Pointers:
    """Points the tokens of replies to image tokens; -1 is nowhere.

    Args:
        tokenizer: The tiny checkpoint's tokenizer.
        roles: What its tokens are for.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, roles: TokenRoles) -> None:
        self._tokenizer, self._roles = tokenizer, roles

    def of_image(self, reply: Sequence[int], expected: Expected, view: View) -> NDArray[np.int64]:
        """(tokens,) of a reply about an image."""
        return self._of_sentence(expected, view) if expected.words else self._of_list(reply, expected, view)

    def of_question(self, text: str, expected: Expected, view: View) -> NDArray[np.int64]:
        """(tokens,) of a question behind the image: what ends a name looks at the first such thing, or at null."""
        spans = self._offsets(text)
        pointers = np.full(len(spans), -1, np.int64)
        for end, box in expected.names:
            # A sign that is no word of the vocabulary has a token for each of its bytes.
            last = [i for i, (a, b) in enumerate(spans) if a < end <= b][-1:]
            pointers[last] = _null(view) if box is None else _token_at(*_centre(box), view)
        return pointers

    def of_clip(
        self, expected: Expected, sights: Sequence[Sight | None], pairs: int, view: View
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Point the words of a reply about a clip.

        Args:
            expected: The reply.
            sights: Where each thing that it tells of is seen to move, in its order.
            pairs: Of the clip's frames.
            view: How its frames are seen.

        Returns:
            (tokens,) the image tokens, counted through all pairs, and whether it is a digit that tells times apart.
        """
        # Where each pair has a null token of its own, the last one is meant.
        tokens = view.grid_hw[0] * view.grid_hw[1]
        stride = tokens + view.family.family.times_in_text
        seen = [s and tuple(pair * stride + token for pair, token in (s.start, s.middle, s.end)) for s in sights]
        text = expected.words + REPLY_END
        looks, telling = places_to_look(text, seen, (pairs - 1) * stride + tokens)
        ends = [last - 1 for _, last in self._offsets(text)]
        return looks[ends], np.isin(ends, telling)

    def _of_list(self, reply: Sequence[int], expected: Expected, view: View) -> NDArray[np.int64]:
        roles, centres = self._roles, _centres(expected, view)
        # Token by token, which object of the reply it belongs to: 1, 2, ... and 0 outside.
        opened, closes = np.cumsum(np.isin(reply, roles.openers)), np.isin(reply, roles.closers)
        part = opened * (opened > np.cumsum(closes) - closes)
        pointers = np.array([-1, *centres], np.int64)[part]
        # Where it is decided whether another object follows: the next one, or the null token.
        decides = np.isin(reply, roles.deciders)
        pointers[decides] = np.array([*centres, _null(view)])[opened][decides]
        in_text = roles.in_text(reply)
        pointers[in_text] = self._letters_at(reply, in_text, expected, view)
        return pointers

    def _letters_at(
        self, reply: Sequence[int], in_text: NDArray[np.bool_], expected: Expected, view: View
    ) -> list[int]:
        """Of each token of a text, the image token that it is read from; its letters are taken to be equally wide."""
        texts, places, at = iter(expected.texts), list[int](), 0
        for index in np.flatnonzero(in_text):
            if not in_text[index - 1]:
                (text, (left, top, right, bottom)), at = next(texts), 0
            size = len(self._tokenizer.decode([reply[index]]))
            x = left + (right - left) * (at + size / 2) / len(text)
            places.append(_token_at(x, (top + bottom) / 2, view))
            at += size
        return places

    def _of_sentence(self, expected: Expected, view: View) -> NDArray[np.int64]:
        """The centre of the thing that is named; a first word that refuses looks at the null token."""
        spans = self._offsets(expected.words + REPLY_END)
        pointers = np.full(len(spans), -1, np.int64)
        for first, end, box in expected.mentions:
            inside = [i for i, (a, b) in enumerate(spans) if a < end and b > first]
            pointers[inside] = _token_at(*_centre(box), view)
        if expected.words.startswith(_REFUSALS):
            pointers[0] = _null(view)
        elif expected.mentions:
            pointers[0] = _token_at(*_centre(expected.mentions[0][2]), view)
        return pointers

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        """First character of each token, and one past its last."""
        encoded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        offsets: list[tuple[int, int]] = encoded.offset_mapping
        return offsets


def _centres(expected: Expected, view: View) -> list[int]:
    """Index of the image token at the centre of each object of a list, in its order."""
    places = [_centre(box) for _, box, _ in expected.boxes]
    places += [(x, y) for _, x, y in expected.points]
    places += [_centre(box) for _, box in expected.texts]
    return [_token_at(x, y, view) for x, y in places]


def _centre(box: tuple[int, int, int, int]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _token_at(x: float, y: float, view: View) -> int:
    """Index of the image token at a place in a reply's coordinates; a point on the far border is in the last one."""
    (down, across), (width, height) = view.grid_hw, view.reply_wh
    return min(down - 1, int(y * down // height)) * across + min(across - 1, int(x * across // width))


def _null(view: View) -> int:
    """The token behind those of the image."""
    return view.grid_hw[0] * view.grid_hw[1]
