"""Every parameter of the product, once: name, type, default, bounds, unit, description, live or not.

ROS descriptors, `config/vlm_perception.yaml` and the table of docs/parameters.md are made from
`parameters()`, so a parameter cannot mean two things in two places.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from vlm_perception.errors import SettingsError
from vlm_perception.types import PixelBudget, Task, Zoom

# Families take 4 to 16384 image tokens; one covers 28 x 28 pixels at least (Qwen2.5-VL) and 32 x 32 at most (Qwen3-VL).
SMALLEST_AREA_PX = 4 * 28 * 28
LARGEST_AREA_PX = 16384 * 32 * 32

MOST_WATCH_FRAMES = 256

FramePolicy = Literal["newest", "every", "on_demand"]
_Topic = Annotated[str, Field(min_length=1)]
_Url = Annotated[str, Field(pattern=r"^https?://")]
_Weight = Annotated[float, Field(ge=0.01, le=100.0)]
# ROS and files bring lists; settings are frozen.
_FROM_LIST = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)

ParameterKind = Literal["string", "bool", "integer", "double", "string_array", "double_array"]
ParameterValue = str | int | float | list[str] | list[float]


@dataclass(frozen=True, slots=True)
class Parameter:
    """Name, type, limits and meaning of one parameter.

    Attributes:
        name: Parameter name.
        kind: Type as ROS calls it.
        default: Plain default value of that kind.
        minimum: Smallest allowed number, or None.
        maximum: Largest allowed number, or None.
        choices: Allowed strings; empty when any string goes.
        unit: Unit of the value, such as `Hz`; empty when it has none.
        description: One sentence for people.
        live: Whether it may change while a model is loaded.
        fixed: Whether it may not change at all after the start; one that is neither may while the node is unconfigured.
    """

    name: str
    kind: ParameterKind
    default: ParameterValue
    minimum: int | float | None
    maximum: int | float | None
    choices: tuple[str, ...]
    unit: str
    description: str
    live: bool
    fixed: bool = False

    @property
    def changes(self) -> str:
        """When it may change, in one word or two, for tables."""
        return "yes" if self.live else "no" if self.fixed else "unconfigured"

    @property
    def limits(self) -> str:
        """The allowed values in words; empty when any string goes."""
        if self.choices:
            return ", ".join(self.choices)
        if self.kind == "bool":
            return "true, false"
        if self.minimum is None:
            return ""
        return f"{self.minimum} to {self.maximum}"

    @property
    def remedy(self) -> str:
        """What to do about a wrong value."""
        if self.name == "device":
            return "set device to auto, cpu, cuda, cuda:0 or mps"
        if self.choices or self.kind == "bool":
            return f"set {self.name} to one of {self.limits}"
        if self.limits:
            return f"set {self.name} to a value of type {self.kind} from {self.limits} {self.unit}".rstrip()
        if self.kind in ("string_array", "double_array"):
            return f"set {self.name} to a list of {self.kind.removesuffix('_array')}s"
        return f"set {self.name} to a {self.kind}"


def _extra(*, live: bool, unit: str = "", fixed: bool = False) -> dict[str, Any]:
    return {"live": live, "unit": unit, "fixed": fixed}


class Settings(BaseModel):
    """All parameters of the node, validated. Frozen: a change makes a new object."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    model: str = Field(
        "Qwen/Qwen2.5-VL-3B-Instruct",
        min_length=1,
        description="Hub id of a Qwen2.5-VL, Qwen3-VL or Qwen3.5 checkpoint, a local folder, which works offline, "
        "the shipped tiny, or the URL of a server, such as http://host:8000/v1.",
        json_schema_extra=_extra(live=False),
    )
    servers: Annotated[tuple[_Url, ...], _FROM_LIST] = Field(
        (),
        description="URLs of servers with the same model, which share the work; with a URL as model, further ones.",
        json_schema_extra=_extra(live=False),
    )
    served_model: str = Field(
        "",
        description="Name of the model on the servers; empty takes the first that each has.",
        json_schema_extra=_extra(live=False),
    )
    model_family: Literal["auto", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe"] = Field(
        "auto",
        description="Family of the model on the servers; auto reads it from its name, or asks about a drawn card.",
        json_schema_extra=_extra(live=False),
    )
    server_key_file: str = Field(
        "",
        description="File that holds the key of the servers; empty takes VLM_PERCEPTION_API_KEY, where that is set.",
        json_schema_extra=_extra(live=False),
    )
    server_image: Literal["jpeg", "png"] = Field(
        "jpeg",
        description="How images go to servers: png keeps every pixel, jpeg takes about a tenth of the bytes.",
        json_schema_extra=_extra(live=False),
    )
    server_stall_s: float = Field(
        5.0,
        ge=0.05,
        le=3600.0,
        description="A server that tells nothing for so long is given up, and another one is asked, if there is one.",
        json_schema_extra=_extra(live=False, unit="s"),
    )
    max_in_flight: int = Field(
        2,
        ge=1,
        # What is kept for each frame until its answer comes, depth and a small copy, is kept for as many.
        le=16,
        description="Most questions about one camera that servers are asked at the same time; see docs/cameras.md for "
        "cameras that weigh more.",
        json_schema_extra=_extra(live=False),
    )
    fallback_model: str = Field(
        "",
        description="Checkpoint in this process that answers while no server does; empty for none. It is loaded with "
        "the rest, and takes its memory.",
        json_schema_extra=_extra(live=False),
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="Where the model runs: auto, cpu, cuda, cuda:N or mps; auto takes one GPU that holds the model, "
        "else several together, and the cpu only where there is no GPU.",
        json_schema_extra=_extra(live=False),
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto",
        description="Number format of the weights; auto keeps the checkpoint's own.",
        json_schema_extra=_extra(live=False),
    )
    quantize: Literal["none", "int8", "int4"] = Field(
        "none",
        description="Weights of the decoder's layers in fewer bits, made so while a checkpoint is loaded that is not "
        "stored so: int8 by torchao, int4 (NF4) by bitsandbytes; on cuda and cpu.",
        json_schema_extra=_extra(live=False),
    )
    vision_attention: Literal["auto", "sdpa", "flash_attention_2"] = Field(
        "auto",
        description="What computes attention in the vision tower; auto is sdpa (torch's own), flash_attention_2 the "
        "package flash-attn, on CUDA in half precision. The decoder takes sdpa.",
        json_schema_extra=_extra(live=False),
    )
    decoder: Literal["auto", "eager", "graph"] = Field(
        "auto",
        description="How decoder passes are started: graph as CUDA graphs, eager one operation after the other; auto "
        "takes graphs where the whole model is on one CUDA device and not quantised.",
        json_schema_extra=_extra(live=False),
    )
    drafting: bool = Field(
        True,
        description="Draft tokens from earlier answers; it changes no bit of an answer.",
        json_schema_extra=_extra(live=False),
    )
    autostart: bool = Field(
        True,
        description="Configure and activate the node at its start; false leaves that to a lifecycle manager.",
        json_schema_extra=_extra(live=False, fixed=True),
    )
    min_pixels: int = Field(
        PixelBudget().min_pixels,
        ge=SMALLEST_AREA_PX,
        le=LARGEST_AREA_PX,
        description="Images are enlarged to at least this area before the model sees them.",
        json_schema_extra=_extra(live=True, unit="px"),
    )
    max_pixels: int = Field(
        PixelBudget().max_pixels,
        ge=SMALLEST_AREA_PX,
        le=LARGEST_AREA_PX,
        description="Images are shrunk to at most this area; fewer pixels answer faster, more find smaller things.",
        json_schema_extra=_extra(live=True, unit="px"),
    )
    max_new_tokens: int = Field(
        1024,
        ge=1,
        le=32768,
        description="Longest reply; one box takes about 40 tokens.",
        json_schema_extra=_extra(live=True, unit="tokens"),
    )
    timeout_s: float = Field(
        60.0,
        ge=0.1,
        le=3600.0,
        description="Longest time for one answer; then its complete objects are published as `truncated`.",
        json_schema_extra=_extra(live=True, unit="s"),
    )
    hang_exit_s: float = Field(
        0.0,
        ge=0.0,
        le=86_400.0,
        description="End the process with exit code 75 when the model has not come back for this long after "
        "timeout_s, so that respawn starts it afresh; 0 never does.",
        json_schema_extra=_extra(live=True, unit="s"),
    )
    max_failures: int = Field(
        20,
        ge=0,
        le=100_000,
        description="End the process with exit code 75 after this many answers in a row that failed, so that respawn "
        "starts it afresh; 0 never does.",
        json_schema_extra=_extra(live=True, unit="answers"),
    )
    prompt: str = Field(
        "",
        description="What to look for from the start; empty waits for ~/prompt.",
        json_schema_extra=_extra(live=True),
    )
    task: Task = Field(
        Task.AUTO,
        strict=False,
        description="What is asked of the model; auto chooses from the wording of the prompt.",
        json_schema_extra=_extra(live=True),
    )
    max_rate_hz: float = Field(
        5.0,
        ge=0.01,
        le=1000.0,
        description="Most frames handed to the model per second.",
        json_schema_extra=_extra(live=True, unit="Hz"),
    )
    max_age_s: float = Field(
        2.0,
        ge=0.01,
        le=3600.0,
        description="A frame that waited longer than this is dropped, not answered.",
        json_schema_extra=_extra(live=True, unit="s"),
    )
    frame_policy: FramePolicy = Field(
        "newest",
        description="newest answers the newest frame and skips others, every answers all frames in order "
        "(for bags), on_demand answers only ~/detect_once.",
        json_schema_extra=_extra(live=True),
    )
    queue_length: int = Field(
        100,
        ge=1,
        le=100_000,
        description="Most frames a camera may have waiting under the policy every; then the oldest is dropped.",
        json_schema_extra=_extra(live=True, unit="frames"),
    )
    image_topics: Annotated[tuple[_Topic, ...], _FROM_LIST] = Field(
        (),
        description="Camera topics when there are several; empty takes the one topic image.",
        json_schema_extra=_extra(live=True),
    )
    camera_weights: Annotated[tuple[_Weight, ...], _FROM_LIST] = Field(
        (),
        description="Share of answers of each camera, in the order of image_topics, each from 0.01 to 100; empty "
        "treats all alike.",
        json_schema_extra=_extra(live=True),
    )
    depth_topics: Annotated[tuple[str, ...], _FROM_LIST] = Field(
        (),
        description="Depth image aligned to each camera, in the order of image_topics, an empty name for a camera "
        "without; a name that ends in /compressedDepth is a CompressedImage. Empty places nothing in space.",
        json_schema_extra=_extra(live=True),
    )
    depth_tolerance_s: float = Field(
        0.05,
        ge=0.0,
        le=10.0,
        description="How far the stamp of a depth image may be from the stamp of the image that it belongs to.",
        json_schema_extra=_extra(live=True, unit="s"),
    )
    target_frame: str = Field(
        "",
        description="Frame of the places in space, such as map, by /tf at the stamp of the image; empty takes the "
        "camera's own, and no /tf.",
        json_schema_extra=_extra(live=True),
    )
    memory_file: str = Field(
        "",
        description="SQLite file in which places of things are remembered, for ~/where_is; it is made where there is "
        "none. It needs depth_topics and target_frame. Empty remembers nothing.",
        json_schema_extra=_extra(live=False),
    )
    memory_merge_distance_m: float = Field(
        0.3,
        ge=0.01,
        le=10.0,
        description="Finds of one name nearer to each other than this, one after another, are one thing.",
        json_schema_extra=_extra(live=False, unit="m"),
    )
    memory_max_objects: int = Field(
        1000,
        ge=1,
        le=100_000,
        description="Most things that are remembered; then the least sure are forgotten.",
        json_schema_extra=_extra(live=False),
    )
    max_batch: int = Field(
        1,
        ge=1,
        le=64,
        description="Most prompts, of all cameras, answered in one pass of the model; more takes more memory.",
        json_schema_extra=_extra(live=True),
    )
    kept_images_mb: int = Field(
        100,
        ge=0,
        le=100_000,
        description="The newest images of all cameras, as they came, are kept in so much memory, and their depth in as "
        "much again, for questions about the image of a stamp; 0 keeps none. 36 raw images of 1280 x 720 take 100 MB.",
        json_schema_extra=_extra(live=True, unit="MB"),
    )
    watch_window_s: float = Field(
        8.0,
        ge=0.5,
        le=120.0,
        description="How far back a `watch` prompt looks; frames are kept only while there is one.",
        json_schema_extra=_extra(live=True, unit="s"),
    )
    watch_rate_hz: float = Field(
        2.0,
        ge=0.01,
        le=30.0,
        description="Frames a second that a `watch` prompt looks at; times its window 256 at most.",
        json_schema_extra=_extra(live=True, unit="Hz"),
    )
    watch_max_pixels: int = Field(
        PixelBudget().max_pixels,
        ge=SMALLEST_AREA_PX,
        le=LARGEST_AREA_PX,
        description="Largest area that the model sees of all frames of a `watch` prompt together, of which two that "
        "follow one another count as one, as they take the tokens of one.",
        json_schema_extra=_extra(live=True, unit="px"),
    )
    score_threshold: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="Objects with a lower score are left out and counted as rejects; see docs/answers.md.",
        json_schema_extra=_extra(live=True),
    )
    zoom: Zoom = Field(
        "off",
        description="auto asks again about at most two parts of a frame, where small or unsure things are, while it is "
        "not older than max_age_s; an answer with such things then takes two to three times as long.",
        json_schema_extra=_extra(live=True),
    )
    publish_partial: bool = Field(
        False,
        description="Publish objects as soon as they are written, before the answer is whole; such messages say "
        "`partial` in ~/answer.",
        json_schema_extra=_extra(live=True),
    )
    tracking: Literal["off", "ids", "camera_rate"] = Field(
        "camera_rate",
        description="off; ids gives the objects of answers ids that stay; camera_rate carries them to every camera "
        "frame, too, while somebody subscribes to ~/tracks, ~/tracks_info or ~/tracks_3d.",
        json_schema_extra=_extra(live=True),
    )
    lost_after_s: float = Field(
        3.0,
        ge=0.1,
        le=3600.0,
        description="How long an object that is seen no more keeps its id.",
        json_schema_extra=_extra(live=True, unit="s"),
    )
    prompts_file: str = Field(
        "",
        description="YAML file whose templates and rules replace the built-in ones; empty uses those alone.",
        json_schema_extra=_extra(live=False),
    )
    image_transport: Literal["raw", "compressed"] = Field(
        "raw",
        description="raw subscribes to sensor_msgs/Image, compressed to CompressedImage.",
        json_schema_extra=_extra(live=False),
    )
    no_image_warning_s: float = Field(
        5.0,
        ge=0.1,
        le=3600.0,
        description="Warn when no image came for this long.",
        json_schema_extra=_extra(live=True, unit="s"),
    )
    diagnostics_period_s: float = Field(
        1.0,
        ge=0.1,
        le=60.0,
        description="Time between two messages on /diagnostics.",
        json_schema_extra=_extra(live=True, unit="s"),
    )
    annotate: Literal["answers", "tracks"] = Field(
        "answers",
        description="What the annotated image and ~/markers_3d show: answers on the images that they are about, or, "
        "with tracking camera_rate, tracks with ids (and traces) on every camera frame.",
        json_schema_extra=_extra(live=True),
    )
    jpeg_quality: int = Field(
        90,
        ge=1,
        le=100,
        description="Quality of the compressed annotated image.",
        json_schema_extra=_extra(live=True, unit="%"),
    )

    @property
    def draws_tracks(self) -> bool:
        """Whether picture and markers in space follow the tracks, which there are at camera rate only."""
        return self.annotate == "tracks" and self.tracking == "camera_rate"

    @model_validator(mode="after")
    def _check_pixel_order(self) -> Settings:
        if self.min_pixels > self.max_pixels:
            raise ValueError(
                f"min_pixels {self.min_pixels} is above max_pixels {self.max_pixels}; "
                f"lower min_pixels or raise max_pixels"
            )
        return self

    @model_validator(mode="after")
    def _check_watch(self) -> Settings:
        if self.watch_frames > MOST_WATCH_FRAMES:
            raise ValueError(
                f"watch_window_s {self.watch_window_s:g} times watch_rate_hz {self.watch_rate_hz:g} is "
                f"{self.watch_frames} frames, the limit is {MOST_WATCH_FRAMES}; lower one of them"
            )
        return self

    @model_validator(mode="after")
    def _check_cameras(self) -> Settings:
        twice = [topic for topic, count in Counter(self.image_topics).items() if count > 1]
        if twice:
            raise ValueError(f"image_topics names {twice[0]!r} more than once; name each camera once")
        cameras, weights = len(self.image_topics) or 1, len(self.camera_weights)
        if weights not in (0, cameras):
            raise ValueError(
                f"camera_weights has {weights} values for {cameras} cameras; give one for each of image_topics, "
                f"or set camera_weights to [] first"
            )
        if len(self.depth_topics) not in (0, cameras):
            raise ValueError(
                f"depth_topics has {len(self.depth_topics)} names for {cameras} cameras; give one for each of "
                f"image_topics, '' for one without depth, or set depth_topics to [] first"
            )
        return self

    @model_validator(mode="after")
    def _check_memory(self) -> Settings:
        needed = {"depth_topics": any(self.depth_topics), "target_frame": bool(self.target_frame)}
        if self.memory_file and (missing := [name for name, given in needed.items() if not given]):
            raise ValueError(
                f"memory_file is {self.memory_file!r} without {' and '.join(missing)}: nothing has a place without "
                f"depth, and one in a moving camera's own frame moves with it; set depth_topics, and target_frame to "
                f"one that stands still, such as map (of a camera that does, its own), or memory_file to ''"
            )
        return self

    @property
    def budget(self) -> PixelBudget:
        """Area bounds of the processed image, pixels."""
        return PixelBudget(self.min_pixels, self.max_pixels)

    @property
    def kept_images_bytes(self) -> int:
        """Memory for the newest images, and for their depth."""
        return self.kept_images_mb * 1_000_000

    @property
    def watch_frames(self) -> int:
        """How many frames a `watch` prompt looks at, once there are so many; at least one."""
        return max(1, math.ceil(self.watch_window_s * self.watch_rate_hz - 1e-6))

    def watch_budget(self, fitting: PixelBudget, n_frames: int) -> PixelBudget:
        """Area bounds of each frame of a clip, pixels, as long as two of them take the tokens of one.

        Args:
            fitting: What of `budget` fits into memory now; a clip gets the same share of its own.
            n_frames: Of the clip.
        """
        share = fitting.max_pixels / self.max_pixels
        most_px = max(SMALLEST_AREA_PX, int(self.watch_max_pixels * share / math.ceil(n_frames / 2)))
        return PixelBudget(min(fitting.min_pixels, most_px), min(fitting.max_pixels, most_px))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Settings:
        """Check plain values, as they come from ROS or a file.

        Args:
            values: Parameter name to value; what is left out keeps its default.

        Returns:
            The validated settings.

        Raises:
            SettingsError: Names every wrong value, the limit it broke and the remedy.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            problems = [_explain(detail) for detail in error.errors(include_url=False)]
            raise SettingsError("; ".join(problems)) from error

    def to_mapping(self) -> dict[str, ParameterValue]:
        """Plain values by name, in declaration order, as ROS parameters hold them."""
        return self.model_dump(mode="json")

    def changed(self, **values: Any) -> Settings:
        """Return a copy with some values replaced and everything checked again.

        Raises:
            SettingsError: As `from_mapping`.
        """
        return self.from_mapping({**self.to_mapping(), **values})


def parameters() -> tuple[Parameter, ...]:
    """List every parameter in declaration order."""
    return tuple(describe_field(name, info) for name, info in Settings.model_fields.items())


def describe_field(name: str, info: FieldInfo) -> Parameter:
    """Read a pydantic field of `Settings`; its unit and live flag stand in its schema extra."""
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    default = info.get_default()
    bounds = {key: getattr(m, key) for m in info.metadata for key in ("ge", "le") if hasattr(m, key)}
    if isinstance(default, Enum):
        choices = tuple(str(member.value) for member in type(default))
        default = default.value
    elif isinstance(default, tuple):
        default, choices = list(default), ()
    else:
        choices = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
    return Parameter(
        name=name,
        kind=_kind_of(info.annotation, default),
        default=default,
        minimum=bounds.get("ge"),
        maximum=bounds.get("le"),
        choices=choices,
        unit=str(extra["unit"]),
        description=info.description or "",
        live=bool(extra["live"]),
        fixed=bool(extra["fixed"]),
    )


def _kind_of(annotation: Any, default: Any) -> ParameterKind:
    if isinstance(default, list):
        # tuple[str, ...] or tuple[Annotated[str, ...], ...]
        item = get_args(annotation)[0]
        item = (get_args(item) or (item,))[0]
        arrays: dict[type, ParameterKind] = {str: "string_array", float: "double_array"}
        return arrays[item]
    kinds: dict[type, ParameterKind] = {str: "string", bool: "bool", int: "integer", float: "double"}
    return kinds[type(default)]


def _explain(detail: ErrorDetails) -> str:
    """Turn one pydantic complaint into value, limit and remedy."""
    if not detail["loc"]:
        return detail["msg"].removeprefix("Value error, ")
    name, value = str(detail["loc"][0]), detail["input"]
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, Settings.model_fields, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(Settings.model_fields)}"
        return f"unknown parameter {name} (value {value!r}); {hint}"
    known = describe_field(name, Settings.model_fields[name])
    reason = detail["msg"][0].lower() + detail["msg"][1:]
    name += "".join(f"[{place}]" for place in detail["loc"][1:])
    return f"{name} is {value!r}: {reason}; {known.remedy} (default {known.default!r})"
