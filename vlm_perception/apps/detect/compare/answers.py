"""What each variant says of each picture, without the pixels: a drive of an hour has to fit into memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vlm_perception.apps.detect.compare.variants import Variant
from vlm_perception.apps.detect.exports.jsonl import place_fields
from vlm_perception.apps.detect.inputs import Failure, Picture, PictureId
from vlm_perception.types import Frame, Result


@dataclass(slots=True)
class Answers:
    """An export that keeps the answers of one variant.

    Attributes:
        variant: Whose they are.
        results: By picture, in the order they were given; their frames have a size, and no pixels.
        failures: What was not answered, and why.
        fields: How a picture or failure is told in JSON.
        error: Why the variant could not be asked, or not to the end.
    """

    variant: Variant
    results: dict[PictureId, Result] = field(default_factory=dict)
    failures: dict[PictureId, Failure] = field(default_factory=dict)
    fields: dict[PictureId, dict[str, Any]] = field(default_factory=dict)
    error: str = ""

    def add(self, picture: Picture, result: Result) -> None:
        """See `Export.add`."""
        self.fields[picture.id] = place_fields(picture)
        request, nothing = result.request, np.broadcast_to(np.uint8(0), picture.rgb.shape)
        frame = Frame(nothing, request.frame.header, request.frame.camera, request.frame.received_s)
        self.results[picture.id] = replace(
            result, request=replace(request, frame=frame), answer=replace(result.answer, tokens=())
        )

    def fail(self, failure: Failure) -> None:
        """Take what could not be answered."""
        self.fields[failure.id] = place_fields(failure)
        self.failures[failure.id] = failure

    def close(self) -> tuple[str, ...]:
        """See `Export.close`."""
        return ()
