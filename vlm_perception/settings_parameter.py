"""One parameter as ROS descriptors, error messages and tables need it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

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
        # tuple[Annotated[str, ...], ...]
        item = get_args(get_args(annotation)[0])[0]
        arrays: dict[type, ParameterKind] = {str: "string_array", float: "double_array"}
        return arrays[item]
    kinds: dict[type, ParameterKind] = {str: "string", bool: "bool", int: "integer", float: "double"}
    return kinds[type(default)]
