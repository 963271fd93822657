"""Questions that were answered before, so that the same question about the same image costs nothing."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from vlm_perception.engines.transformers.inputs import FrameKey
from vlm_perception.types import Answer

# An answer of a thousand tokens takes about 0.1 MB.
MAX_ANSWERS = 32


@dataclass(frozen=True, slots=True)
class AskedKey:
    """Everything that an answer depends on.

    Attributes:
        frame: The image, and the size to which it is brought.
        instruction: The full text for the model.
        max_new_tokens: Limit of the answer.
    """

    frame: FrameKey
    instruction: str
    max_new_tokens: int


class AnsweredQuestions:
    """The last finished answers, at most `MAX_ANSWERS`; the one not asked for longest makes room."""

    def __init__(self) -> None:
        self._answers: OrderedDict[AskedKey, Answer] = OrderedDict()

    def find(self, asked: AskedKey) -> Answer | None:
        """Return the answer that was given, if it is still known."""
        answer = self._answers.get(asked)
        if answer is not None:
            self._answers.move_to_end(asked)
        return answer

    def keep(self, asked: AskedKey, answer: Answer) -> None:
        """Keep an answer that is finished; one that was cut off in time says less than the model would have."""
        if answer.finish_reason in ("aborted", "timeout", "unfinished"):
            return
        self._answers[asked] = answer
        while len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)
