"""The number a counting question gets: said in the reply's sentence, or else the length of its list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlm_perception.replies.prose import count_of
from vlm_perception.types import Answer, DetectedObject, ParsedAnswer, Task


@dataclass(frozen=True, slots=True)
class Count:
    """The answer to "how many".

    Attributes:
        number: What was said, else how many were listed; None when neither can be told.
        agrees: Whether the said number is the number of listed objects; None when none was said.
    """

    number: int | None = None
    agrees: bool | None = None


def count_answer(task: Task, answer: Answer, parsed: ParsedAnswer, kept: Sequence[DetectedObject]) -> Count:
    """Count as the model did.

    Args:
        task: What was asked; only `Task.COUNT` is counted.
        answer: The reply; a list that was cut off is no count.
        parsed: What stands in the reply, before any score threshold: the model's number is compared
            with the model's list.
        kept: Objects that are published; their number is the count where no number was said.
    """
    if task is not Task.COUNT:
        return Count()
    said = count_of(parsed.text, parsed.objects)
    if said is not None:
        return Count(said, said == len(parsed.objects))
    # A finished list without a sentence is an answer too; a cut-off one is not.
    listed = bool(parsed.objects) or not (parsed.rejects or parsed.text)
    return Count(len(kept)) if answer.finish_reason == "stop" and listed else Count()
