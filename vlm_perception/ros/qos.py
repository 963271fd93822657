"""Qualities of service: what the user has fixed, and what does not fit between two endpoints.

What is fixed stands in the parameters that every ROS node has for its subscriptions,
`qos_overrides.<topic>.subscription.<policy>`. rclpy would declare them with the value that the node itself asks for,
so that what the user fixed to just that value could not be told from what nobody fixed. Here the default is
`system_default` (depth: 0), and means that the node decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)

from vlm_perception.errors import SettingsError

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # before Iron
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

_KINDS = {"reliability": ReliabilityPolicy, "durability": DurabilityPolicy, "history": HistoryPolicy}
_DEFAULTS: Mapping[str, str | int] = MappingProxyType({**dict.fromkeys(_KINDS, "system_default"), "depth": 0})
# Those that can keep two endpoints apart.
_MATCHED = ("reliability", "durability", "liveliness", "deadline", "liveliness_lease_duration")
_NO_CHOICE = ("SYSTEM_DEFAULT", "UNKNOWN")


def parameter_name(topic: str, policy: str) -> str:
    """Name the parameter that fixes one policy of the subscription to a resolved topic."""
    return f"qos_overrides.{topic}.subscription.{policy}"


def fixed_policies(node: Node, topic: str) -> dict[str, Any]:
    """Return what the user has fixed for the subscription to a topic, by attribute of a `QoSProfile`.

    The parameters are declared when they are not yet; they are read-only.

    Args:
        node: Whose parameters are read.
        topic: Resolved topic.

    Raises:
        SettingsError: A value is of the wrong type or names no policy.
    """
    found = {policy: _value(node, topic, policy) for policy in _DEFAULTS}
    return {policy: value for policy, value in found.items() if value is not None}


def _value(node: Node, topic: str, policy: str) -> Any:
    name, default = parameter_name(topic, policy), _DEFAULTS[policy]
    known = _KINDS.get(policy)
    choices = [choice.name.lower() for choice in known or () if choice.name not in _NO_CHOICE]
    allowed = f"one of {', '.join(choices)}" if known else "a whole number, 0 or more"
    remedy = f"set it to {allowed}, or leave it out ({default!r}), and the node follows the publishers"
    if not node.has_parameter(name):
        descriptor = ParameterDescriptor(description=f"Fixes {policy}; {default}: not fixed.", read_only=True)
        try:
            node.declare_parameter(name, default, descriptor)
        except InvalidParameterTypeException as error:
            raise SettingsError(f"{error}; {remedy}") from error
    value = node.get_parameter(name).value
    if value == default:
        return None
    if known is None and value > 0:
        return value
    if known is not None and value.lower() in choices:
        return known[value.upper()]
    raise SettingsError(f"{name} is {value!r}: {remedy}")


def quiet_subscription() -> SubscriptionEventCallbacks:
    """Keep rclpy from logging what `diagnostics/qos_watch.py` says better, and what the node is about to follow."""
    return SubscriptionEventCallbacks(use_default_callbacks=False)


def quiet_publisher() -> PublisherEventCallbacks:
    """See `quiet_subscription`."""
    return PublisherEventCallbacks(use_default_callbacks=False)


@dataclass(frozen=True, slots=True)
class Unmet:
    """One policy for which less is offered than is asked for, in the words of the `qos_overrides` parameters."""

    policy: str
    offered: str
    asked: str


def unmet(offered: QoSProfile, asked: QoSProfile) -> tuple[Unmet, ...]:
    """Name what keeps a publisher and a subscription apart, by the rules of the middleware in use."""
    if not _clash(offered, asked):
        return ()
    clashing = [policy for policy in _MATCHED if _clash(_alone(offered, policy), _alone(asked, policy))]
    return tuple(Unmet(policy, _said(offered, policy), _said(asked, policy)) for policy in clashing)


def _clash(offered: QoSProfile, asked: QoSProfile) -> bool:
    return bool(qos_check_compatible(offered, asked)[0] == QoSCompatibility.ERROR)


def _alone(profile: QoSProfile, policy: str) -> QoSProfile:
    return QoSProfile(**{"depth": 1, "liveliness": LivelinessPolicy.AUTOMATIC, policy: getattr(profile, policy)})


def _said(profile: QoSProfile, policy: str) -> str:
    value = getattr(profile, policy)
    return str(getattr(value, "name", value)).lower()
