"""What launch and launch_ros of ROS 2 Jazzy offer, and stand-ins that record what a launch file makes of it."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

# Public names of Jazzy and the keywords their constructors take (those of base classes included).
ACTION = {"condition"}
PROCESS = ACTION | {
    "output", "output_format", "log_cmd", "on_exit", "respawn", "respawn_delay", "respawn_max_retries", "emulate_tty",
    "sigterm_timeout", "sigkill_timeout", "shell", "prefix", "cwd", "env", "additional_env", "cached_output",
}  # fmt: skip
JAZZY = {
    "launch": {
        "LaunchContext": set(),
        "LaunchDescription": {"initial_entities", "deprecated_reason"},
        "LaunchDescriptionEntity": set(),
    },
    "launch.actions": {
        "DeclareLaunchArgument": ACTION | {"default_value", "description", "choices"},
        "GroupAction": ACTION | {"actions", "scoped", "forwarding", "launch_configurations"},
        "IncludeLaunchDescription": ACTION | {"launch_description_source", "launch_arguments"},
        "OpaqueFunction": ACTION | {"function", "args", "kwargs"},
        "Shutdown": ACTION | {"reason"},
    },
    "launch.launch_description_sources": {"PythonLaunchDescriptionSource": {"launch_file_path"}},
    "launch.substitutions": {"LaunchConfiguration": {"default"}, "PathJoinSubstitution": {"substitutions"}},
    "launch_ros.actions": {
        "Node": PROCESS
        | {"executable", "package", "name", "namespace", "exec_name", "parameters", "remappings", "ros_arguments"}
        | {"arguments"}
    },
    "launch_ros.parameter_descriptions": {"ParameterValue": {"value_type"}},
    "launch_ros.substitutions": {"FindPackageShare": {"package"}},
}


class Recorded:
    """Stands in for any class of launch: keeps what it was made from."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs


class RecordedConfiguration(Recorded):
    """A launch configuration that is read from a plain mapping."""

    def perform(self, context: dict[str, str]) -> str:
        return context.get(self.args[0], self.kwargs.get("default", ""))


def load(path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a launch file with launch replaced by classes that only record."""
    for module, names in JAZZY.items():
        stand_in = importlib.util.module_from_spec(importlib.machinery.ModuleSpec(module, None))
        for name in names:
            base = RecordedConfiguration if name == "LaunchConfiguration" else Recorded
            setattr(stand_in, name, type(name, (base,), {}))
        monkeypatch.setitem(sys.modules, module, stand_in)
    monkeypatch.setitem(
        sys.modules,
        "launch_ros",
        importlib.util.module_from_spec(importlib.machinery.ModuleSpec("launch_ros", None)),
    )
    spec = importlib.util.spec_from_file_location(path.name.replace(".", "_"), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def of_type(entities: list[Any], name: str) -> list[Any]:
    return [entity for entity in entities if type(entity).__name__ == name]
