"""The command `vlm-perception-doctor`."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from vlm_perception.apps.doctor.card import probe_model
from vlm_perception.apps.doctor.findings import Finding, Section, Severity, text_lines, to_json, unseen, worst
from vlm_perception.apps.doctor.installation import check_installation, check_ros_setup
from vlm_perception.apps.doctor.model import check_model
from vlm_perception.apps.doctor.probe import Probe, run_python

DEFAULT_NODE = "/vlm_perception"
_GRAPH_TIMEOUT_S = 60.0
_EXIT_CODES = (
    "exit code: 0 all is well, 1 warnings, 2 something to mend, or a wrong option, 3 nothing to mend was found and "
    "something could not be looked at, 130 Ctrl-C"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Check, tell each finding as it comes, and return the level of the worst one as the exit code."""
    options = _parser().parse_args(argv)
    try:
        if options.json:
            sections = [Section(section.title, tuple(section.findings)) for section in examine(options)]
            print(to_json(sections))
        else:
            sections = _printed(text_lines(examine(options), width=shutil.get_terminal_size((100, 24)).columns))
    except KeyboardInterrupt:
        return 130
    return int(worst(sections))


def examine(options: argparse.Namespace) -> Iterator[Section]:
    """Run all checks that were asked for, each when its finding is asked for."""
    _tell("looking at Python and its packages ...")
    yield Section("Installation", _whole(check_installation()))
    _tell("looking at ROS ...")
    ros: list[Finding] = []
    yield Section("ROS", _kept(_whole(check_ros_setup()), ros))
    running = False
    if not options.no_graph and worst([Section("ROS", ros)]) <= Severity.WARN:
        _tell(f"looking for {options.node} ...")
        findings, running = check_graph(options.node)
        yield Section("Running graph", findings)
    # A running node has its model already, and holds the memory that the check would miss.
    if options.model or options.probe or not running:
        yield Section("Model", _whole(_check_model(options)))


def _check_model(options: argparse.Namespace) -> Iterator[Finding]:
    is_served = options.model.startswith(("http://", "https://"))
    if not is_served:
        _tell("looking for the model ...")
        yield (found := check_model(options.model, download=options.download))
        if found.level > Severity.WARN or not options.probe:
            return
    _tell("asking the model about a drawn card ...")
    yield probe_model(options.model)


def _whole(findings: Iterator[Finding]) -> Iterator[Finding]:
    """Make a finding of a check that breaks: what comes after it may say why."""
    try:
        yield from findings
    except Exception as problem:  # noqa: BLE001 - whatever is wrong on a machine that is broken
        detail = f"{type(problem).__name__}: {problem}"
        yield unseen("A check broke", detail, "please report it with this line; the other checks hold")


def _kept(findings: Iterator[Finding], kept: list[Finding]) -> Iterator[Finding]:
    for finding in findings:
        kept.append(finding)
        yield finding


def _printed(lines: Generator[str, None, list[Section]]) -> list[Section]:
    while True:
        try:
            print(next(lines), flush=True)
        except StopIteration as end:
            told: list[Section] = end.value
            return told


def check_graph(node: str) -> tuple[list[Finding], bool]:
    """Look at a running graph; returns the findings and whether the node runs."""
    arguments = ["-m", "vlm_perception.apps.doctor.ros_probe", "/" + node.strip("/")]
    return read_graph(run_python(arguments, timeout_s=_GRAPH_TIMEOUT_S))


def read_graph(probe: Probe) -> tuple[list[Finding], bool]:
    """Read what `vlm_perception.apps.doctor.ros_probe` printed."""
    if probe.problem:
        remedy = "repair what is said about ROS above, then run this again"
        return [unseen("The graph cannot be looked at", probe.problem, remedy)], False
    return [_finding(fields) for fields in probe.facts["findings"]], bool(probe.facts["running"])


def _finding(fields: dict[str, Any]) -> Finding:
    return Finding(Severity(fields["level"]), fields["title"], fields["detail"], fields["remedy"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vlm-perception-doctor",
        description="Check an installation of vlm_perception and a running graph, and say what to do.",
        epilog=_EXIT_CODES,
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--node", default=DEFAULT_NODE, help="full name of the running node (default: %(default)s)")
    parser.add_argument(
        "--model",
        default="",
        help="tiny, a folder, a hub id or the URL of a server (default: the parameter's, unless the node runs)",
    )
    parser.add_argument(
        "--probe", action="store_true", help="load the model and have it find the things on a drawn card"
    )
    parser.add_argument("--no-graph", action="store_true", help="do not look for running nodes")
    parser.add_argument("--download", action="store_true", help="fetch the model from the hub if it is not here")
    return parser


def _tell(doing: str) -> None:
    if sys.stderr.isatty():
        print(doing, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
