"""The `ros2 ...` command lines that this product prints, and what would be wrong with one under the real ros2cli.

ros2cli cannot be installed on every machine, so the arguments of the verbs in use are recorded here from its sources
(0.32, Jazzy; the same in Humble), and so is what they do that surprises.
"""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import yaml
from checkout import ROOT

from scripts.docs.topic_notes import described
from vlm_perception.errors import SettingsError
from vlm_perception.ros.lifecycle.states import REQUESTS
from vlm_perception.settings import Settings, parameters
from vlm_perception.startup.arguments import ENDING_ARGUMENTS, LAUNCH_ARGUMENTS
from vlm_perception.startup.commands import COMMANDS

NODE = "/vlm_perception"
PRINTING = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/*.md",
    "models/*/README.md",
    "config/*",
    "launch/**/*.*",
)
PRINTING_IN_CODE = ("vlm_perception/**/*.py", "scripts/**/*.py")
# What a f-string fills in later.
FILLED = re.compile(r"\{[^{}'\"]*\}")
_QOS = ("profile", "depth", "history", "reliability", "durability", "liveliness", "liveliness-lease-duration-seconds")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def _verb(positional: str, flags: str = "", options: str = "", rest: str = "") -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=True)
    for name in positional.split():
        parser.add_argument(name.rstrip("?"), nargs="?" if name.endswith("?") else None)
    for names in flags.split():
        parser.add_argument(*names.split(","), action="store_true")
    for names in options.split():
        parser.add_argument(*names.split(","))
    if rest:
        parser.add_argument(rest, nargs=argparse.REMAINDER)
    return parser


_ASKING = "--no-daemon -s,--use-sim-time"
_QOS_OPTIONS = " ".join(f"--qos-{name}" for name in _QOS)
VERBS = {
    "launch": _verb("package file", "-n,--noninteractive -d,--debug -p,--print -s,--show-args", rest="arguments"),
    "run": _verb("package executable", options="--prefix", rest="arguments"),
    "topic echo": _verb(
        "topic kind?",
        f"{_ASKING} --csv -f,--full-length --no-arr --no-str --flow-style --no-lost-messages --raw --once",
        f"--spin-time --field -l,--truncate-length --filter --timeout {_QOS_OPTIONS}",
    ),
    "topic pub": _verb(
        "topic kind values?",
        "-1,--once -s,--use-sim-time",
        f"-r,--rate -p,--print -t,--times -w,--wait-matching-subscriptions --keep-alive -n,--node-name {_QOS_OPTIONS}",
    ),
    "topic list": _verb("", f"{_ASKING} -t,--show-types -c,--count-topics -v,--verbose", "--spin-time"),
    "node list": _verb("", f"{_ASKING} -a,--all -c,--count-nodes", "--spin-time"),
    "action send_goal": _verb("name kind goal", "-f,--feedback"),
    "service call": _verb("name kind values?", options="-r,--rate"),
    "interface show": _verb("kind", "--all-comments --no-comments"),
    "param set": _verb("node name value", f"{_ASKING} --include-hidden-nodes", "--spin-time"),
    "lifecycle set": _verb("node transition", f"{_ASKING} --include-hidden-nodes", "--spin-time"),
    "doctor": _verb("", "-r,--report -rf,--report-failed -ep,--exclude-packages -iw,--include-warnings"),
    "security create_keystore": _verb("keystore"),
    "security create_enclave": _verb("keystore enclave"),
    "security create_permission": _verb("keystore enclave policy"),
}


def printed_commands() -> dict[str, set[str]]:
    """Find every command line that pages, launch files, settings and messages print.

    Returns:
        Command to the files that print it; `{...}` stands for what a message fills in. What only names a verb, such
        as `ros2 launch`, is left out.
    """
    found: dict[str, set[str]] = {}
    for pattern in PRINTING:
        for path in ROOT.glob(pattern):
            if path.is_file() and "__pycache__" not in path.parts:
                _add(found, path, commands_in(path.read_text(encoding="utf-8")))
    for pattern in PRINTING_IN_CODE:
        for path in ROOT.glob(pattern):
            for text in _strings(path.read_text(encoding="utf-8")):
                _add(found, path, commands_in(text))
    return found


def _add(found: dict[str, set[str]], path: Path, commands: Iterator[str]) -> None:
    for command in commands:
        if command.split(maxsplit=1)[1] not in {*VERBS, *(verb.split()[0] for verb in VERBS)}:
            found.setdefault(command, set()).add(path.relative_to(ROOT).as_posix())


def commands_in(text: str) -> Iterator[str]:
    """Yield the command lines of a page or message: up to the end of the code, the line, or the shell's command."""
    # A span of code goes on in the next line of prose; in a block only a backslash does that.
    text = re.sub(r"\s*\\\n\s*", " ", text)
    text = re.sub(r"(?<!`)`(?!`)[^`]+`", lambda span: re.sub(r"\s*\n\s*(?:# )?", " ", span[0]), text)
    for start in re.finditer(r"(?<![\w/:])ros2 (?=[a-z])", text):
        command = re.match(r"""(?:"[^"\n]*"|'[^'\n]*'|[^`\n;|,)"'])*""", text[start.start() :])
        assert command is not None
        yield re.split(r" #|\s+-->", command[0])[0].strip()


def _strings(source: str) -> Iterator[str]:
    """Yield the texts of Python source, docstrings too; f-strings with `{expression}` in its place."""
    tree = ast.parse(source)
    parts = {id(value) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for value in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                value.value if isinstance(value, ast.Constant) else "{" + ast.unparse(value.value) + "}"
                for value in node.values
                if isinstance(value, ast.Constant | ast.FormattedValue)
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


def problem_with(command: str) -> str:
    """Say why a command line would not do under the real ros2cli what it is printed for; empty when it would."""
    words = shlex.split(command)[1:]
    verb = next((" ".join(words[:length]) for length in (2, 1) if " ".join(words[:length]) in VERBS), "")
    if not verb:
        return "a verb whose arguments are not recorded"
    try:
        given = VERBS[verb].parse_args(words[len(verb.split()) :])
    except ValueError as error:
        return str(error)
    return _CHECKS.get(verb, lambda _: "")(given)


def _launch(given: argparse.Namespace) -> str:
    if given.package != "vlm_perception":
        return ""
    if not any(path.name == given.file for path in (ROOT / "launch").rglob("*.launch.*")):
        return f"no launch file {given.file}"
    known = {argument.name: argument.choices for argument in (*LAUNCH_ARGUMENTS, *ENDING_ARGUMENTS)}
    for pair in given.arguments:
        name, is_pair, value = pair.partition(":=")
        if not is_pair or name not in known:
            return f"no launch argument {pair}"
        if known[name] and value not in known[name]:
            return f"{name} may not be {value}"
    return ""


def _run(given: argparse.Namespace) -> str:
    if given.package != "vlm_perception" or FILLED.fullmatch(given.executable):
        return ""
    if given.executable not in COMMANDS:
        return f"no command {given.executable}"
    own, is_ros, ros = " ".join(given.arguments).partition("--ros-args")
    if not is_ros:
        return "" if ":=" not in own else "what is set with := comes after --ros-args"
    odd = re.sub(r"-p [a-z_.]+:=\S+|-r \S+:=\S+|--(?:enclave|params-file|log-level) \S+|-p \{[^}]*\}", "", ros).strip()
    return f"rcl does not know {odd}" if odd else ""


def _echo(given: argparse.Namespace) -> str:
    about = _topic(given)
    if given.kind and about and given.kind != about[0]:
        return f"{given.topic} is of type {about[0]}"
    asked = {name: getattr(given, f"qos_{name}") for name in ("reliability", "durability")}
    if not any(getattr(given, f"qos_{name.replace('-', '_')}") for name in _QOS):
        return ""
    # With any of these, echo does not look at what is offered: the rest is that of sensor data. A best effort
    # subscription gets nothing of what was published before it.
    if None in asked.values():
        return "one QoS option makes echo ask for best effort and volatile in all others: give both"
    offered = about[1] if about else ""
    wanted = ", ".join(asked.values()).replace("_", " ")
    return f"{given.topic} offers {offered}" if offered and offered != wanted else ""


def _pub(given: argparse.Namespace) -> str:
    about = _topic(given)
    if about and about[0] != given.kind:
        return f"{given.topic} is of type {about[0]}"
    if given.kind == "std_msgs/msg/String":
        try:
            fields = yaml.safe_load(given.values or "{}")
        except yaml.YAMLError as error:
            return str(error)
        if not isinstance(fields, dict) or [*fields] != ["data"] or not isinstance(fields["data"], str):
            return "a String has one field: data, a text"
    return "" if given.once or given.times or given.rate else "publishes again and again, and the prompt begins anew"


def _asking(given: argparse.Namespace) -> str:
    """A goal or request: of an action or service that the node has, with fields that its type has."""
    kinds = {use.name.replace("~", NODE): use.kind for use, _ in described()}
    if kinds.get(given.name) != given.kind:
        return f"{given.name} is of type {kinds.get(given.name)}"
    kind = getattr(import_module(given.kind.rpartition("/")[0].replace("/", ".")), given.kind.rpartition("/")[2])
    try:
        fields = yaml.safe_load(vars(given).get("goal", vars(given).get("values")) or "{}")
    except yaml.YAMLError as error:
        return str(error)
    return _unknown_field((kind.Goal if hasattr(kind, "Goal") else kind.Request)(), fields)


def _unknown_field(message: Any, fields: Any) -> str:
    """Name the first field that a message does not have; empty when it has all."""
    if not isinstance(fields, dict):
        return ""
    for name, value in fields.items():
        if name not in message.get_fields_and_field_types():
            return f"{type(message).__name__} has no field {name}"
        if problem := _unknown_field(getattr(message, name), value):
            return problem
    return ""


def _interface(given: argparse.Namespace) -> str:
    package, kind, name = given.kind.split("/")
    return "" if hasattr(import_module(f"{package}.{kind}"), name) else f"no {given.kind}"


def _topic(given: argparse.Namespace) -> tuple[str, str] | None:
    """The type of one of the node's topics, and its QoS in words."""
    for use, note in described():
        name = use.name.replace("~", NODE)
        if FILLED.sub(NODE, given.topic) == name:
            return use.kind, note.qos
    return None


def _param_set(given: argparse.Namespace) -> str:
    known = {parameter.name: parameter for parameter in parameters()}
    if (given.name, given.value) == ("NAME", "VALUE"):
        return ""
    if given.name not in known:
        return f"no parameter {given.name}"
    value = yaml.safe_load(given.value)
    if known[given.name].kind == "double" and isinstance(value, int):
        return f"{value} is an integer: a double is written {value}.0"
    try:
        Settings().changed(**{given.name: value})
    except SettingsError as error:
        return str(error)
    return ""


def _lifecycle(given: argparse.Namespace) -> str:
    labels = {way.label for way in REQUESTS}
    return "" if FILLED.fullmatch(given.transition) or given.transition in labels else f"no way {given.transition}"


_CHECKS = {
    "launch": _launch,
    "run": _run,
    "topic echo": _echo,
    "topic pub": _pub,
    "action send_goal": _asking,
    "service call": _asking,
    "interface show": _interface,
    "param set": _param_set,
    "lifecycle set": _lifecycle,
}
