"""Checks of the installed ROS 2, without looking at who else is there."""

from __future__ import annotations

import os
from collections.abc import Mapping

from vlm_perception.apps.doctor.finding import Finding, error, ok, warning
from vlm_perception.apps.doctor.probe import Probe, run_python

SUPPORTED_DISTROS = ("humble", "jazzy", "kilted")
_WITHOUT_ROS = "vlm-detect and vlm-perception-ui work without ROS"

# A node, because only then the middleware opens its sockets; messages are loaded with their compiled half.
_RCLPY = """
import json, rclpy
rclpy.init(args=[])
node = rclpy.create_node("_vlm_perception_doctor", enable_rosout=False, start_parameter_services=False)
print(json.dumps({"rmw": rclpy.get_rmw_implementation_identifier()}))
node.destroy_node()
rclpy.shutdown()
"""
_MESSAGE = """
import importlib, json
from rclpy.type_support import check_for_type_support
check_for_type_support(getattr(importlib.import_module("{package}.msg"), "{name}"))
print(json.dumps({{}}))
"""
MESSAGES = (
    ("sensor_msgs", "Image"),
    ("std_msgs", "String"),
    ("diagnostic_msgs", "DiagnosticArray"),
    ("visualization_msgs", "ImageMarker"),
    ("vision_msgs", "Detection2DArray"),
)


def check_ros_setup() -> list[Finding]:
    """Check ROS 2; one error is all there is when rclpy does not work."""
    rclpy = check_rclpy(run_python(["-c", _RCLPY]), os.environ)
    if rclpy.remedy:
        return [rclpy]
    return [check_distro(os.environ), rclpy, *(check_messages(package, name) for package, name in MESSAGES)]


def check_distro(environ: Mapping[str, str]) -> Finding:
    """Check which ROS 2 was sourced, if any was."""
    distro = environ.get("ROS_DISTRO", "")
    if not distro:
        return ok("ROS distribution", "none is sourced: ROS 2 comes from the environment's own packages")
    if distro not in SUPPORTED_DISTROS:
        return warning(
            "The ROS distribution was not tried", distro, f"if something fails, use {', '.join(SUPPORTED_DISTROS)}"
        )
    return ok("ROS distribution", distro)


def check_rclpy(probe: Probe, environ: Mapping[str, str]) -> Finding:
    """Check that a ROS node can be made."""
    rmw, domain = environ.get("RMW_IMPLEMENTATION", ""), environ.get("ROS_DOMAIN_ID", "0")
    if "No module named 'rclpy'" in probe.problem:
        remedy = f"source /opt/ros/<distribution>/setup.bash, then `make setup`; {_WITHOUT_ROS}"
        return error("rclpy is not found", probe.problem, remedy)
    if probe.problem:
        asked = f"; RMW_IMPLEMENTATION is {rmw}: install it or unset the variable" if rmw else ""
        remedy = f"Python must be the one that this ROS 2 was built for{asked}; {_WITHOUT_ROS}"
        return error("rclpy does not work", probe.problem, remedy)
    return ok("rclpy", f"{probe.facts['rmw']}, ROS_DOMAIN_ID {domain}")


def check_messages(package: str, name: str) -> Finding:
    """Check that the messages of a package can be sent."""
    probe = run_python(["-c", _MESSAGE.format(package=package, name=name)])
    if probe.problem:
        apt = f"ros-{os.environ.get('ROS_DISTRO', '<distribution>')}-{package.replace('_', '-')}"
        remedy = f"sudo apt install {apt}; without a sourced ROS 2: `make setup`"
        return error("Messages cannot be loaded", f"{package}: {probe.problem}", remedy)
    return ok("Messages", package)
