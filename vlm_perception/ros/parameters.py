"""ROS parameters made from `Settings`: declared once, checked by it, changed while running."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from vlm_perception.errors import SettingsError, VlmPerceptionError
from vlm_perception.settings import Parameter, Settings, parameters

# Declared when a topic, a clock or a service that they are about is made.
_OF_ROS = ("qos_overrides.", "use_sim_time", "start_type_description_service")
# What is written of these may look like another type to ROS.
_TYPED = ("double", "double_array", "string_array")

Commit = Callable[[], None]
PrepareSettings = Callable[[Settings, Settings], Commit]


class LiveSettings:
    """The node's settings, kept equal to its ROS parameters.

    Args:
        node: Gets the parameters declared.

    Raises:
        SettingsError: A start value (file, command line or launch) cannot be used.
    """

    def __init__(self, node: Node) -> None:
        self._known = {parameter.name: parameter for parameter in parameters()}
        self.current = Settings.from_mapping(declare(node, parameters()))
        self._prepare: PrepareSettings = lambda old, new: lambda: None
        self._locked: Callable[[], str] = lambda: ""
        self._pending: tuple[Settings, Commit] | None = None
        node.add_on_set_parameters_callback(self._on_set)
        # Humble has no callback for after the change: there it is made while others may still refuse it.
        self._has_post_set = hasattr(node, "add_post_set_parameters_callback")
        if self._has_post_set:
            node.add_post_set_parameters_callback(lambda _: self._commit())

    def on_change(self, prepare: PrepareSettings, locked: Callable[[], str]) -> None:
        """Follow every change.

        Args:
            prepare: `prepare(old, new)` checks a change without making it, and returns what makes it; a
                VlmPerceptionError it raises refuses the change, all of it.
            locked: Why parameters that a loaded model depends on cannot change now; empty when they can.
        """
        self._prepare, self._locked = prepare, locked

    def _on_set(self, changes: list[RosParameter]) -> SetParametersResult:
        # What somebody else has refused meanwhile is not made up for later.
        self._pending = None
        values = {item.name: _plain(self._known[item.name], item.value) for item in changes if item.name in self._known}
        if not values:
            return SetParametersResult(successful=True)
        try:
            changed = self.current.changed(**values)
            self._check_locked(changed)
            self._pending = changed, self._prepare(self.current, changed)
        except VlmPerceptionError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if not self._has_post_set:
            self._commit()
        return SetParametersResult(successful=True)

    def _check_locked(self, changed: Settings) -> None:
        old, new = self.current.to_mapping(), changed.to_mapping()
        names = [name for name, known in self._known.items() if not known.live and old[name] != new[name]]
        reason = self._locked() if names else ""
        if reason:
            now = ", ".join(f"{name} is {old[name]!r}" for name in names)
            raise SettingsError(f"{now} and can change only while the node is unconfigured; {reason}")

    def _commit(self) -> None:
        if self._pending is not None:
            (self.current, commit), self._pending = self._pending, None
            commit()


def unknown_overrides(node: Node) -> dict[str, str]:
    """Return what was set at the start under names that no parameter has, with the nearest names in words."""
    # rclpy has no public way to them; a test notices if this one goes.
    overrides: dict[str, RosParameter] = getattr(node, "_parameter_overrides", {})
    known = [parameter.name for parameter in parameters()]
    found = {}
    for name, given in overrides.items():
        if not node.has_parameter(name) and not name.startswith(_OF_ROS):
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            found[name] = f"{given.value!r}; " + (f"did you mean {near[0]}?" if near else "it is ignored")
    return found


def declare(node: Node, declared: Sequence[Parameter]) -> dict[str, Any]:
    """Declare parameters with their limits; each keeps its type, so that a double that is set to `1` becomes 1.0.

    Returns:
        Name to start value: the override if there is one, else the default.

    Raises:
        SettingsError: An override has the wrong type or is out of bounds.
    """
    known = {parameter.name: parameter for parameter in declared}
    values = {name: _declare(node, parameter) for name, parameter in known.items()}
    if hasattr(node, "add_pre_set_parameters_callback"):
        node.add_pre_set_parameters_callback(lambda changes: _typed(changes, known))
    else:
        node.add_on_set_parameters_callback(lambda changes: _typed_in_place(changes, known))
    return values


def _declare(node: Node, parameter: Parameter) -> Any:
    allowed = f"{parameter.kind} {parameter.limits} {parameter.unit}".strip()
    try:
        declared = node.declare_parameter(parameter.name, parameter.default, _descriptor(parameter))
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        raise SettingsError(f"{error}; set {parameter.name} to: {allowed} (default {parameter.default!r})") from error
    value = _plain(parameter, declared.value)
    # rclpy checks the bounds only when the type is the declared one, so an integer for a double passes.
    low, high = parameter.minimum, parameter.maximum
    if low is not None and high is not None and not low <= value <= high:
        raise SettingsError(f"{parameter.name} is {value!r}, allowed: {allowed}; default {parameter.default!r}")
    kind = _kind(parameter)
    # To rclpy an empty list is one of bytes, and in a file it is no value at all.
    if declared.type_ is not kind and kind.check(value):
        node.set_parameters([RosParameter(parameter.name, kind, value)])
    return value


def _descriptor(parameter: Parameter) -> ParameterDescriptor:
    unit = parameter.unit
    descriptor = ParameterDescriptor(
        name=parameter.name,
        description=f"{parameter.description} [{unit}]" if unit else parameter.description,
        additional_constraints="; ".join(_constraints(parameter)),
        read_only=parameter.fixed,
        # Without this `max_rate_hz: 5` would be refused, because 5 is not 5.0 to ROS, and so would every list
        # where an empty one was.
        dynamic_typing=parameter.kind in _TYPED,
    )
    if parameter.minimum is not None and parameter.maximum is not None:
        if parameter.kind == "integer":
            bounds = IntegerRange(from_value=int(parameter.minimum), to_value=int(parameter.maximum))
            descriptor.integer_range = [bounds]
        else:
            floats = FloatingPointRange(from_value=float(parameter.minimum), to_value=float(parameter.maximum))
            descriptor.floating_point_range = [floats]
    return descriptor


def _constraints(parameter: Parameter) -> list[str]:
    choices = [f"one of: {parameter.limits}"] if parameter.choices else []
    return choices if parameter.live or parameter.fixed else [*choices, "only while the node is unconfigured"]


def _typed(changes: Sequence[RosParameter], known: Mapping[str, Parameter]) -> list[RosParameter]:
    """Give numbers and lists the type of their parameter; what does not fit stays, and is refused with a reason."""
    typed = []
    for item in changes:
        parameter = known.get(item.name)
        if parameter is not None and parameter.kind in _TYPED and item.type_ is not RosParameter.Type.NOT_SET:
            kind, value = _kind(parameter), _plain(parameter, item.value)
            item = RosParameter(item.name, kind, value) if kind.check(value) else item
        typed.append(item)
    return typed


def _typed_in_place(changes: list[RosParameter], known: Mapping[str, Parameter]) -> SetParametersResult:
    """Do so in the list that rclpy of Humble keeps afterwards, which can be changed in no other place."""
    changes[:] = _typed(changes, known)
    return SetParametersResult(successful=True)


def _kind(parameter: Parameter) -> RosParameter.Type:
    return RosParameter.Type[parameter.kind.upper()]


def _plain(parameter: Parameter, value: Any) -> Any:
    if parameter.kind in ("double_array", "string_array"):
        # Strings and bytes are no lists, whatever Python says; the settings refuse them with a reason.
        return value if isinstance(value, str | bytes) else [_real(parameter, item) for item in value or ()]
    return _real(parameter, value)


def _real(parameter: Parameter, value: Any) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if parameter.kind in ("double", "double_array") and whole else value
