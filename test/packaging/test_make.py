"""What make passes on arrives as it was typed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT

SHOW_ARGUMENTS = "#!/bin/sh\nexec {python} -c 'import json, sys; print(json.dumps(sys.argv[1:]))' \"$@\"\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile with a set-up that does nothing and a run command that shows its arguments."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    shutil.copy(ROOT / "scripts" / "run.sh", scripts)
    (scripts / "bootstrap.py").write_text("")
    for name in ("vlm-perception-run", "vlm-perception-ui", "vlm-perception-demo", "python"):
        command = tmp_path / ".venv" / "bin" / name
        command.parent.mkdir(parents=True, exist_ok=True)
        command.write_text(SHOW_ARGUMENTS.format(python=sys.executable))
        command.chmod(0o755)
    return tmp_path


def make_run(checkout: Path, *variables: str, target: str = "run", **environment: str) -> list[str]:
    # `make test ARGS=...` hands its own on.
    own = {key: value for key, value in os.environ.items() if not key.startswith("MAKE") and key != "ARGS"}
    done = subprocess.run(
        ["make", "--no-print-directory", target, *variables],
        cwd=checkout, env=own | environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("prompt", ["red cup", 'it\'s "big" #1', "$HOME $(x) `y`", "a; b & c", "红色", "9 %"])
def test_prompt_arrives_as_it_was_typed(checkout: Path, prompt: str) -> None:
    assert make_run(checkout, f"PROMPT={prompt}") == ["--prompt", prompt]


def test_only_what_is_given_is_passed_on(checkout: Path) -> None:
    given = make_run(checkout, "MODEL=tiny", "IMAGE_TOPIC=/camera/image_raw", "MAX_RATE_HZ=2", "ARGS=--rviz true")
    pairs = dict(zip(given[::2], given[1::2], strict=True))
    assert pairs == {"--model": "tiny", "--image-topic": "/camera/image_raw", "--max-rate-hz": "2", "--rviz": "true"}


def test_page_shows_the_tiny_model_unless_another_is_named(checkout: Path) -> None:
    assert make_run(checkout, target="ui") == ["--model", "tiny"]
    assert make_run(checkout, "MODEL=/a b", "ARGS=--port 0", target="ui") == ["--model", "/a b", "--port", "0"]


def test_demo_measurement_and_training_take_a_model_or_a_family(checkout: Path) -> None:
    measure, train = ["-m", "training.evaluate"], ["-m", "training.train"]
    assert make_run(checkout, target="demo") == []
    assert make_run(checkout, "MODEL=/a $b", "ARGS=--seed 3", target="demo") == ["--model", "/a $b", "--seed", "3"]
    assert make_run(checkout, target="evaluate") == measure
    assert make_run(checkout, "MODEL=tiny-x", target="evaluate") == [*measure, "--model", "tiny-x"]
    assert make_run(checkout, target="train") == train
    assert make_run(checkout, "FAMILY=qwen3_vl", target="train") == [*train, "--family", "qwen3_vl"]


def test_variables_of_the_shell_do_not_open_the_page_to_the_network(checkout: Path) -> None:
    assert make_run(checkout, target="ui", HOST="robot.local", PORT="80") == ["--model", "tiny"]


def test_every_argument_of_the_command_can_be_given_to_make() -> None:
    from vlm_perception.startup.arguments import LAUNCH_ARGUMENTS

    line = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("RUN_ARGUMENTS"))
    assert set(line.partition(":=")[2].split()) == {argument.name.upper() for argument in LAUNCH_ARGUMENTS}


def test_lowest_pins_are_the_lower_bounds() -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    from test_lowest import lowest_pins

    assert lowest_pins("# note\ntorch>=2.6.0,<=2.14.1  # why\n\nnumpy>=1.26.4,<2.5\n") == [
        "torch==2.6.0",
        "numpy==1.26.4",
    ]
