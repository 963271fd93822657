"""How much each token of a reply counts in the loss, by what it decides.

Places are most of the tokens and their last digits are partly chance, so what is found, what it is and when the list
ends would be drowned by them without weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.token_roles import TokenRoles

# In thousandths the last digit is a quarter of a pixel, all chance.
WEIGHTS = {
    "structure": 1.0,
    "coordinate": 3.0,
    "thousandth": 0.4,
    "said": 5.0,
    "word": 8.0,
    "decision": 12.0,
    "letter": 48.0,
}


def list_weights(
    reply: Sequence[int], pointers: NDArray[np.int64], roles: TokenRoles, *, thousandths: bool
) -> NDArray[np.float32]:
    """Weigh a list of objects.

    Args:
        reply: Its tokens.
        pointers: (tokens,) the image token of each, -1 outside of objects.
        roles: What the tokens are for.
        thousandths: Whether coordinates are in thousandths of the image.
    """
    decides, digit = np.isin(reply, roles.deciders), np.isin(reply, roles.digits)
    in_object, in_text = (pointers >= 0) & ~decides, roles.in_text(reply)
    weights = np.where(digit & in_object, WEIGHTS["coordinate"], WEIGHTS["structure"]).astype(np.float32)
    if thousandths:
        weights[digit & in_object & ~np.append(digit[1:], False)] = WEIGHTS["thousandth"]
    word = in_object & ~digit & ~np.isin(reply, roles.fixed)
    # The number in the sentence is a word too, in this sense.
    weights[word | (digit & ~in_object)] = WEIGHTS["word"]
    # One of three dozen, and few questions have any.
    weights[in_text] = WEIGHTS["letter"]
    weights[decides] = WEIGHTS["decision"]
    return weights


def sentence_weights(reply: Sequence[int], roles: TokenRoles) -> NDArray[np.float32]:
    """Weigh a sentence: claims count, and above all its first word, which decides.

    In a list of times it is the opening that decides whether there is one.
    """
    weights = np.where(np.isin(reply, roles.function), WEIGHTS["structure"], WEIGHTS["said"]).astype(np.float32)
    begins = np.flatnonzero(np.isin(reply, roles.begins))
    weights[begins if len(begins) else 0] = WEIGHTS["decision"]
    return weights


def clip_weights(reply: Sequence[int], telling: NDArray[np.bool_], roles: TokenRoles) -> NDArray[np.float32]:
    """Weigh what is said of a clip: as a sentence, but of the digits of times only those that tell times apart."""
    weights = sentence_weights(reply, roles)
    weights[np.isin(reply, roles.digits)] = WEIGHTS["structure"]
    weights[telling] = WEIGHTS["word"]
    return weights
