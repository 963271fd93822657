"""What travels along the data path, in the order it travels.

Frame -> Request -> Answer -> ParsedAnswer -> Result. Everything is frozen; nothing here imports
ROS, torch or transformers.

Conventions: `xyxy` is (left, top, right, bottom) in pixels with the origin at the top left corner
of the image; `*_wh` is (width, height) in pixels; `*_s` is seconds. `image_wh` belongs to the
camera image, `model_wh` to the resized image the model saw. A `Span` is a range of characters in
`Answer.text`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vlm_perception.errors import GeometryError, PromptError

XYXY = tuple[float, float, float, float]
XY = tuple[float, float]
WH = tuple[int, int]
Span = tuple[int, int]
CoordinateFrame = Literal["absolute", "relative_1000"]
Zoom = Literal["off", "auto"]
LookOutcome = Literal["done", "failed", "stale", "stopped"]
FinishReason = Literal["stop", "length", "aborted", "timeout", "repetition", "unfinished"]


class Task(str, Enum):
    """What is asked of the model; `AUTO` lets `prompts/builder.py` choose from the wording."""

    AUTO = "auto"
    DETECT = "detect"
    GROUND = "ground"
    POINT = "point"
    COUNT = "count"
    READ = "read"
    DESCRIBE = "describe"
    WATCH = "watch"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """Copy of `std_msgs/Header`, kept exact so that results carry the camera's own header."""

    stamp_sec: int
    stamp_nanosec: int
    frame_id: str

    @property
    def stamp_ns(self) -> int:
        """The stamp, nanoseconds."""
        return self.stamp_sec * 10**9 + self.stamp_nanosec


def stamp_ns(stamp: Any) -> int:
    """Return a `builtin_interfaces/Time` of a message, of ROS or of a bag, in nanoseconds."""
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


@dataclass(frozen=True, slots=True)
class Frame:
    """One camera image.

    Attributes:
        rgb: (height, width, 3) uint8, RGB order; read-only by agreement.
        header: The image message's own header; zero where the image is no message.
        camera: Resolved topic name the image came from; empty where it came from none.
        received_s: Local monotonic time of arrival, seconds.
    """

    rgb: NDArray[np.uint8]
    header: FrameHeader = FrameHeader(0, 0, "")
    camera: str = ""
    received_s: float = field(default_factory=time.monotonic)

    @property
    def image_wh(self) -> WH:
        """Width and height in pixels."""
        return int(self.rgb.shape[1]), int(self.rgb.shape[0])


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of an image, of any size of image when it is given in shares.

    Attributes:
        xyxy: Its edges, from the image's top left corner.
        unit: "share" of the image's width and height, 0..1; "px", pixels of the camera image.

    Raises:
        PromptError: An edge is not finite, negative or above 1 (shares), or there is no area.
    """

    xyxy: XYXY
    unit: Literal["share", "px"] = "share"

    def __post_init__(self) -> None:
        left, top, right, bottom = self.xyxy
        most = 1.0 if self.unit == "share" else math.inf
        fits = all(math.isfinite(edge) and 0 <= edge <= most for edge in self.xyxy)
        if not fits or left >= right or top >= bottom:
            limit = "shares of the image from 0 to 1" if self.unit == "share" else "pixels from 0 on"
            raise PromptError(
                f"region [{', '.join(f'{edge:g}' for edge in self.xyxy)}] is no rectangle: give left, top, right, "
                f"bottom in {limit}, left below right and top below bottom"
            )

    def in_image(self, image_wh: WH) -> tuple[int, int, int, int]:
        """Return what of it lies in an image, in whole pixels: left, top, right, bottom, the last two beyond it.

        Raises:
            GeometryError: Nothing of it does.
        """
        (width, height), (left, top, right, bottom) = image_wh, self.xyxy
        across, down = image_wh if self.unit == "share" else (1, 1)
        # What a share falls on is a matter of rounding; an edge between two pixels takes both.
        edges = (round(left * across, 6), round(top * down, 6), round(right * across, 6), round(bottom * down, 6))
        x1, y1, x2, y2 = (
            *map(math.floor, edges[:2]),
            min(math.ceil(edges[2]), width),
            min(math.ceil(edges[3]), height),
        )
        if x1 >= x2 or y1 >= y2:
            raise GeometryError(
                f"region {list(self.xyxy)} ({self.unit}) lies outside of the image of {width}x{height} pixels: name "
                f"one inside of it"
            )
        return x1, y1, x2, y2


@dataclass(frozen=True, slots=True)
class Clip:
    """The last frames of a camera, as a video.

    Attributes:
        frames: At least one, oldest first, all of one `image_wh`; their pixels may be fewer, all but those of the last,
            which is the frame that is asked about.
        times_s: When each was taken, seconds after the first; rises, not always evenly.
    """

    frames: tuple[Frame, ...]
    times_s: tuple[float, ...]

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame to the last."""
        return self.times_s[-1]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked about a frame.

    Attributes:
        text: What the user sent, stripped.
        task: Resolved task, never `AUTO`.
        instruction: Full text for the model (task, object details, output format).
        targets: Phrases asked for, in order; empty for `RAW`, `DESCRIBE`, `WATCH`, and `READ` of everything.
        neutralised: How many chat control tokens in `text` were made harmless.
        id: Its name among several standing prompts; empty when it was sent as plain text.
        region: The part of the image that the model sees; None for all of it.
        zoom: Whether closer looks follow its answers; empty leaves that to the setting.
    """

    text: str
    task: Task
    instruction: str
    targets: tuple[str, ...] = ()
    neutralised: int = 0
    id: str = ""
    region: Region | None = None
    zoom: Zoom | Literal[""] = ""


@dataclass(frozen=True, slots=True)
class PixelBudget:
    """Bounds of the processed image's area in pixels (Qwen's `min_pixels`, `max_pixels`)."""

    min_pixels: int = 224 * 224
    max_pixels: int = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Move:
    """How far a thing has come since a model saw it, as its pixels show.

    Attributes:
        from_xy: Centre of the box or point that the model gave, image pixels.
        to_xy: The same in the frame that is asked about now.
    """

    from_xy: XY
    to_xy: XY


@dataclass(frozen=True, slots=True)
class Request:
    """One frame and one prompt for the engine.

    Attributes:
        frame: What is looked at.
        prompt: What is asked.
        budget: How large the model sees the frame.
        max_new_tokens: The longest reply; one box takes about 40 tokens.
        moves: How things of the prompt's last answers have moved, where they are followed; only speed hangs on it.
        look: 0 for what somebody asked; 1 and more for closer looks that follow of themselves. Only speed hangs on it.
        clip: What led to the frame, which is its last one; `budget` is then that of each of its frames. None asks
            about the frame alone.
    """

    frame: Frame
    prompt: Prompt
    budget: PixelBudget = PixelBudget()
    max_new_tokens: int = 1024
    moves: tuple[Move, ...] = field(default=(), compare=False)
    look: int = 0
    clip: Clip | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token.

    Attributes:
        start: Index of its first character in `Answer.text`.
        end: Index one past its last character in `Answer.text`.
        logprob: Natural log-probability from the unprocessed logits.
    """

    start: int
    end: int
    logprob: float


@dataclass(frozen=True, slots=True)
class Timings:
    """Durations of one answer, seconds.

    Attributes:
        preprocess_s: Pixels and prompt to model inputs.
        generate_s: The model's work; in a partial result, from the request until then.
        decode_s: What is left to do after the last decoder pass.
        first_object_s: From the request until the first object was complete; None when there is
            none, or when the engine does not stream.
        prefill_s: The part of `generate_s` in which the model read the image and the prompt.
    """

    preprocess_s: float
    generate_s: float
    decode_s: float
    first_object_s: float | None = None
    prefill_s: float = 0.0

    @property
    def total_s(self) -> float:
        """From the request to the whole answer."""
        return self.preprocess_s + self.generate_s + self.decode_s


@dataclass(frozen=True, slots=True)
class Calibration:
    """Fitted map from a raw score to a chance of being right; lives in a checkpoint's card.

    Attributes:
        formula: Name of the formula in `replies/scores.py` it was fitted for.
        temperature: Divides the raw score's log-odds.
        bias: Added to the divided log-odds.
        fitted_on: What it was fitted on, in the card's words: of nothing else it says that it holds.
    """

    formula: str
    temperature: float
    bias: float
    fitted_on: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said about one request, before anything is read into it.

    `calibration` is what the checkpoint's card states, None when it states none. `finish_reason`
    is "repetition" when a certain repetition loop was ended early, "timeout" when the answer took
    too long, and "unfinished" in a partial result, whose answer is what was written so far. `passes`
    counts the decoder passes it took, the one that read the prompt included; 0 where it was stopped
    before the first one ended, or the engine does not tell.
    """

    text: str
    model_wh: WH
    coordinates: CoordinateFrame
    finish_reason: FinishReason
    tokens: tuple[Token, ...]
    timings: Timings
    calibration: Calibration | None = None
    passes: int = 0


@dataclass(frozen=True, slots=True)
class EvidenceSpans:
    """Where a reply says what it says of one object.

    Attributes:
        coordinates: Its numbers; signs may be among them.
        label: The name the model wrote; several spans for a list of names.
        begin: From the object before it, or the opening of the list, to its first content.
        text: What was read in the image.
    """

    coordinates: tuple[Span, ...] = ()
    label: tuple[Span, ...] = ()
    begin: Span = (0, 0)
    text: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class DetectedObject:
    """One thing found, in image pixels; `xyxy` or `point_xy` is set, or both.

    Attributes:
        label: Text the model (or the asked phrase) gives it.
        xyxy: Clipped box, or None.
        point_xy: Clipped point, or None.
        attributes: Extra keys of the reply such as `sub_label`.
        span: Its characters; several boxes or points of one item share them.
        score: 0..1; None until `replies/scores.py` has filled it.
        evidence: Where its numbers, its name and its beginning stand, for its score.
        polygon: Its outline where the model gave one; `xyxy` is then what bounds it.
        keypoints: Points of it by their names.
        id: Its track's name, the same from answer to answer; empty where objects are not followed.
        text: What is written there, where text was to be read; lines end with a line feed, and the cells of a table's
            row stand between bars.
        kind: What carries the text: `line`, or a document's `paragraph`, `heading`, `table`, `list_item`, `image`,
            ...; empty for things.
    """

    label: str
    xyxy: XYXY | None
    point_xy: XY | None
    attributes: Mapping[str, str] = field(default_factory=dict)
    span: Span = (0, 0)
    score: float | None = None
    evidence: EvidenceSpans = EvidenceSpans()
    polygon: tuple[XY, ...] = ()
    keypoints: Mapping[str, XY] = field(default_factory=dict)
    id: str = ""
    text: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a clip.

    Attributes:
        start_s: When it began, seconds after the clip's first frame.
        end_s: When it ended, likewise; `start_s` for a moment.
        text: What the model says of it; may be empty.
        xyxy: Where it was at that moment, image pixels; None where the model gave no box.
    """

    start_s: float
    end_s: float
    text: str
    xyxy: XYXY | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    """A piece of a reply that looked like an object or an event and was not accepted.

    `span` is its character range in the reply; `score` is that of a good object that is left out, below
    `score_threshold` or because a closer look found nothing there, and None for all others.
    """

    reason: str
    text: str
    span: Span = (0, 0)
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Remark:
    """Something odd about a whole reply that was read nevertheless.

    Attributes:
        kind: `fractions`: coordinates were read as shares of the image. `width_height`: most boxes look like x, y,
            width, height. `other_frame`: most boxes lie outside of the image on one side. `thinking`: the reply
            ended before its thinking did.
        text: The same for people, with numbers.
    """

    kind: Literal["fractions", "width_height", "other_frame", "thinking"]
    text: str


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """Objects, rejects, the prose outside of them, what the model thought first, and what is odd about it all."""

    objects: tuple[DetectedObject, ...]
    rejects: tuple[Reject, ...]
    text: str
    thinking: str = ""
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """A closer look that was wanted after an answer.

    Attributes:
        xyxy: The part of the image, pixels.
        outcome: "done"; "failed", and the answer stands without it; "stale", not asked because the frame was too old by
            then; "stopped" before its end, with what was complete.
        text: What the model wrote, or why it failed.
        took_s: What it cost, seconds.
    """

    xyxy: tuple[int, int, int, int]
    outcome: LookOutcome
    text: str = ""
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that is published about one frame: the end of the pure data path.

    Attributes:
        request: The frame and prompt that were asked.
        answer: The raw reply.
        objects: Scored objects in image pixels.
        rejects: What was not accepted, with reasons.
        text: The spoken-language answer: prose outside the objects, and every text that was read.
        count: Number for counting prompts, else None.
        count_agrees: For a count that was said: whether it is the number of listed objects.
        calibrated: Whether the scores went through the calibration of the checkpoint's card, which holds for images
            like those that it was fitted on; nobody looks whether this one is like them.
        partial: Whether the model is still writing and more may follow.
        thinking: What the model thought before it answered; nothing of it is an object or a count.
        remarks: What is odd about the whole reply.
        looks: Closer looks, whose finds are in `objects` and `count`; all else is of the first answer.
        events: What happened when in the request's clip.
    """

    request: Request
    answer: Answer
    objects: tuple[DetectedObject, ...]
    rejects: tuple[Reject, ...]
    text: str
    count: int | None = None
    count_agrees: bool | None = None
    calibrated: bool = False
    partial: bool = False
    thinking: str = ""
    remarks: tuple[Remark, ...] = ()
    looks: tuple[Look, ...] = ()
    events: tuple[Event, ...] = ()

    @property
    def words_alone(self) -> bool:
        """Whether words were asked for and came, and no object with them."""
        asked = self.request.prompt.task in (Task.DESCRIBE, Task.WATCH)
        return asked and bool(self.text.strip()) and not self.objects

    @property
    def truncated(self) -> bool:
        """Whether a limit of time or length ended the reply, so that more may be there than is listed."""
        return not self.partial and self.answer.finish_reason in ("length", "timeout")


class DropCause(str, Enum):
    """Why a good frame was not answered; bad frames are counted under `ImageError.cause`.

    REPLACED: a newer one came. QUEUE_FULL: too many waited under the policy `every`. NOT_ASKED: nobody
    asked for it under `on_demand`. STALE: it waited over `max_age_s`. OVERTAKEN: the answer about a later frame
    came first. INACTIVE: the node was deactivated. OUT_OF_MEMORY: with fewer pixels too.
    """

    REPLACED = "replaced"
    QUEUE_FULL = "queue_full"
    NOT_ASKED = "not_asked"
    STALE = "stale"
    OVERTAKEN = "overtaken"
    NO_PROMPT = "no_prompt"
    NOT_READY = "not_ready"
    PAUSED = "paused"
    INACTIVE = "inactive"
    PROMPT_CHANGED = "prompt_changed"
    CAMERA_GONE = "camera_gone"
    STOPPED = "stopped"
    BAD_GEOMETRY = "bad_geometry"
    OUT_OF_MEMORY = "out_of_memory"
    INFERENCE_ERROR = "inference_error"
    INTERNAL_ERROR = "internal_error"
