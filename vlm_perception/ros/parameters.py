"""ROS parameters made from `Settings`: declared once, checked by it, changed while running."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from vlm_perception.errors import SettingsError, VlmPerceptionError
from vlm_perception.settings import Parameter, Settings, parameters

ApplySettings = Callable[[Settings, Settings], None]


class LiveSettings:
    """The node's settings, kept equal to its ROS parameters.

    Args:
        node: Gets the parameters declared.

    Raises:
        SettingsError: A start value (file, command line or launch) cannot be used.
    """

    def __init__(self, node: Node) -> None:
        self._known = {parameter.name: parameter for parameter in parameters()}
        values = {name: declare(node, parameter) for name, parameter in self._known.items()}
        self.current = Settings.from_mapping(values)
        self._apply: ApplySettings | None = None
        node.add_on_set_parameters_callback(self._on_set)

    def on_change(self, apply: ApplySettings) -> None:
        """Call `apply(old, new)` on every change; a VlmPerceptionError it raises refuses the change."""
        self._apply = apply

    def _on_set(self, changes: list[RosParameter]) -> SetParametersResult:
        values = {item.name: _plain(self._known[item.name], item.value) for item in changes if item.name in self._known}
        if not values:
            return SetParametersResult(successful=True)
        try:
            changed = self.current.changed(**values)
            if self._apply is not None:
                self._apply(self.current, changed)
        except VlmPerceptionError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self.current = changed
        return SetParametersResult(successful=True)


def declare(node: Node, parameter: Parameter) -> Any:
    """Declare one parameter with its limits.

    Returns:
        Its start value: the override if there is one, else the default.

    Raises:
        SettingsError: The override has the wrong type or is out of bounds.
    """
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
    if value == []:
        # To rclpy an empty list is one of bytes, and in a file it is no value at all.
        kind = RosParameter.Type[parameter.kind.upper()]
        node.set_parameters([RosParameter(parameter.name, kind, [])])
    return value


def _descriptor(parameter: Parameter) -> ParameterDescriptor:
    limits, unit = parameter.limits, parameter.unit
    descriptor = ParameterDescriptor(
        name=parameter.name,
        description=f"{parameter.description} [{unit}]" if unit else parameter.description,
        additional_constraints=f"one of: {limits}" if parameter.choices else "",
        read_only=not parameter.live,
        # Without this `max_rate_hz: 5` would be refused, because 5 is not 5.0 to ROS, and so would every list
        # where an empty one was.
        dynamic_typing=parameter.kind in ("double", "double_array", "string_array"),
    )
    if parameter.minimum is not None and parameter.maximum is not None:
        if parameter.kind == "integer":
            bounds = IntegerRange(from_value=int(parameter.minimum), to_value=int(parameter.maximum))
            descriptor.integer_range = [bounds]
        else:
            floats = FloatingPointRange(from_value=float(parameter.minimum), to_value=float(parameter.maximum))
            descriptor.floating_point_range = [floats]
    return descriptor


def _plain(parameter: Parameter, value: Any) -> Any:
    if parameter.kind in ("double_array", "string_array"):
        # Strings and bytes are no lists, whatever Python says; the settings refuse them with a reason.
        return value if isinstance(value, str | bytes) else [_real(parameter, item) for item in value or ()]
    return _real(parameter, value)


def _real(parameter: Parameter, value: Any) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if parameter.kind in ("double", "double_array") and whole else value
