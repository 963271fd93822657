"""Parameters of the node as options of a command: types, defaults, limits and texts stand in settings.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from vlm_perception.settings import Parameter, Settings, parameters
from vlm_perception.startup.arguments import resolve_model

_TYPES: dict[str, type[str] | type[int] | type[float]] = {"string": str, "integer": int, "double": float}


def add_parameters(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """Add an option for each of these parameters, in this order."""
    known = {parameter.name: parameter for parameter in parameters()}
    for name in names:
        _add(parser, known[name])


def settings_of(options: argparse.Namespace, names: Sequence[str]) -> Settings:
    """Check what was given of these parameters; the rest keeps the defaults of `Settings`.

    Raises:
        SettingsError: A value cannot be used.
        StartupError: The model is `tiny`, and is not here.
    """
    given = {name: value for name in names if (value := getattr(options, name, None)) is not None}
    if "model" in given:
        given["model"] = resolve_model(given["model"])
    return Settings.from_mapping(given)


def whole(text: str) -> int:
    """Read an option that is a whole number from 1 on."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1: give a whole number from 1 on")
    return value


def _add(parser: argparse.ArgumentParser, parameter: Parameter) -> None:
    text = "Hub id or local folder of a checkpoint, or tiny" if parameter.name == "model" else parameter.description
    limits = f"; {parameter.limits} {parameter.unit}".rstrip() if parameter.limits and not parameter.choices else ""
    default = f"default: {parameter.default}" if parameter.default != "" else "default: none"
    parser.add_argument(
        f"--{parameter.name.replace('_', '-')}",
        type=_TYPES[parameter.kind],
        choices=parameter.choices or None,
        default=argparse.SUPPRESS,
        metavar=None if parameter.choices else parameter.kind.upper(),
        help=f"{text.rstrip('.')} ({default}{limits})".replace("%", "%%"),
    )
