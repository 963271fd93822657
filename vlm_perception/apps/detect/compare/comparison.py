"""What all variants say of all pictures, side by side: figures, and where they differ most."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from vlm_perception.apps.detect.compare.agreement import Agreement, agreed_share, agreement_of
from vlm_perception.apps.detect.compare.answers import Answers
from vlm_perception.apps.detect.inputs import PictureId
from vlm_perception.apps.tables import figure_text, table
from vlm_perception.replies.result_json import result_fields

Figures = dict[str, float | int | None]


class Comparison:
    """Compares every variant with the first one.

    Args:
        answers: Of each variant, those that were asked first first.
        complete: Whether all of them were asked about everything.
    """

    def __init__(self, answers: Sequence[Answers], *, complete: bool) -> None:
        self.answers, self.complete = tuple(answers), complete

    @cached_property
    def agreements(self) -> dict[PictureId, dict[str, Agreement]]:
        """By picture and by letter of the variant that is compared with the first; where both answered, in order."""
        first, *others = self.answers
        return {
            picture: {each.variant.letter: agreement_of(result, each.results[picture]) for each in both}
            for picture, result in first.results.items()
            if (both := [each for each in others if picture in each.results])
        }

    @cached_property
    def differing(self) -> tuple[PictureId, ...]:
        """Pictures about which not all agree, most differing objects first, then the smallest share of agreement."""
        counts = {picture: sum(one.differing for one in each.values()) for picture, each in self.agreements.items()}
        shares = {picture: agreed_share(each.values()) or 0.0 for picture, each in self.agreements.items()}
        return tuple(
            sorted((picture for picture in counts if counts[picture]), key=lambda one: (-counts[one], shares[one]))
        )

    def figures(self, answers: Answers) -> Figures:
        """Figures of one variant; None where there is nothing that they are about.

        `objects`, `rejects`: in all answers. `agreement`: with the first variant, over the pictures that both answered.
        `latency_p50_s`, `latency_p95_s`: whole answers with their closer looks, one picture at a time.
        """
        results, letter = answers.results.values(), answers.variant.letter
        times_s = [one.answer.timings.total_s + sum(look.took_s for look in one.looks) for one in results]
        return {
            "answered": len(answers.results),
            "failed": len(answers.failures),
            "objects": sum(len(one.objects) for one in results),
            "agreement": agreed_share(each[letter] for each in self.agreements.values() if letter in each),
            "latency_p50_s": float(np.percentile(times_s, 50)) if times_s else None,
            "latency_p95_s": float(np.percentile(times_s, 95)) if times_s else None,
            "rejects": sum(len(one.rejects) for one in results),
        }

    def as_table(self) -> str:
        """One row a variant."""
        rows = [(each.variant, self.figures(each)) for each in self.answers]
        return table(
            ["", "compared", *rows[0][1]],
            [[who.letter, who.text, *map(figure_text, figures.values())] for who, figures in rows],
        )

    def as_json(self) -> dict[str, Any]:
        """Everything: of each variant its settings and figures, of each picture all answers."""
        fields = {picture: told for each in reversed(self.answers) for picture, told in each.fields.items()}
        order = dict.fromkeys(picture for each in self.answers for picture in each.fields)
        return {
            "variants": [
                {
                    "letter": each.variant.letter,
                    "given": each.variant.text,
                    "prompt": each.variant.prompt.text,
                    "settings": each.variant.settings.to_mapping(),
                    "error": each.error or None,
                    **self.figures(each),
                }
                for each in self.answers
            ],
            "complete": self.complete,
            "frames": [
                {
                    **fields[picture],
                    "differing": self._differing_about(picture),
                    "answers": self._answers_about(picture),
                }
                for picture in order
            ],
        }

    def _differing_about(self, picture: PictureId) -> int | None:
        agreements = self.agreements.get(picture)
        return None if agreements is None else sum(one.differing for one in agreements.values())

    def _answers_about(self, picture: PictureId) -> dict[str, dict[str, Any] | None]:
        return {each.variant.letter: _answer_of(each, picture) for each in self.answers}


def _answer_of(answers: Answers, picture: PictureId) -> dict[str, Any] | None:
    if (result := answers.results.get(picture)) is not None:
        return result_fields(result)
    failure = answers.failures.get(picture)
    return None if failure is None else {"error": failure.message}
