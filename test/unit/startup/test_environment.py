"""Which environment a command restarts in, and what it says when there is none."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from vlm_perception.startup import environment
from vlm_perception.startup.environment import EnvironmentSetupError, choose_environment, running_version

OTHER_VERSION = "3.9"


def make_venv(folder: Path, *, version: str | None = None, system: bool = False, modules: tuple[str, ...] = ()) -> Path:
    """Lay out the files by which an environment is known; it is never run."""
    version = version or running_version()
    site_packages = folder / "lib" / f"python{version}" / "site-packages"
    for name in modules:
        (site_packages / name).mkdir(parents=True)
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    (folder / "bin" / "python3").touch()
    seen = "true" if system else "false"
    (folder / "pyvenv.cfg").write_text(f"include-system-site-packages = {seen}\nversion = {version}.7\n")
    return folder


@pytest.fixture
def without_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """This Python sees none of the needed modules, and the package lies alone in a folder."""
    monkeypatch.setattr(environment, "missing_modules", lambda: environment.NEEDED_MODULES)
    package = tmp_path / "elsewhere" / "vlm_perception"
    package.mkdir(parents=True)
    monkeypatch.setattr(environment, "__file__", str(package / "startup" / "environment.py"))
    return package


def path_of_choice(environ: dict[str, str]) -> Path:
    chosen = choose_environment(environ)
    assert chosen is not None
    return chosen.path


def test_right_environment_stays() -> None:
    assert choose_environment({}) is None
    assert choose_environment({"VLM_PERCEPTION_VENV": sys.prefix}) is None


def test_named_environment_is_taken_even_when_nothing_is_missing(tmp_path: Path) -> None:
    venv = make_venv(tmp_path / "venv", modules=environment.NEEDED_MODULES)
    assert path_of_choice({"VLM_PERCEPTION_VENV": str(venv)}) == venv


def test_environment_beside_the_checkout_is_found(without_packages: Path) -> None:
    (without_packages.parent / "package.xml").touch()
    venv = make_venv(without_packages.parent / ".venv", modules=environment.NEEDED_MODULES)
    assert path_of_choice({}) == venv


def test_unrelated_activated_environment_is_passed_over(without_packages: Path, tmp_path: Path) -> None:
    unrelated = make_venv(tmp_path / "unrelated", modules=("torch",))
    built_with = make_venv(tmp_path / "built_with", modules=environment.NEEDED_MODULES)
    (without_packages / environment.RECORD_NAME).write_text(json.dumps({"venv": str(built_with)}))
    chosen = choose_environment({"VIRTUAL_ENV": str(unrelated)})
    assert chosen is not None
    assert (chosen.path, chosen.named_by) == (built_with, "the build of this package")


def test_environment_that_sees_the_system_needs_only_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, without_packages: Path, tmp_path: Path
) -> None:
    # A Jetson: torch comes with the system, the rest lies in the environment.
    monkeypatch.setattr(environment, "missing_modules", lambda: ("transformers", "pydantic"))
    venv = make_venv(tmp_path / "venv", system=True, modules=("transformers", "pydantic"))
    assert path_of_choice({"VIRTUAL_ENV": str(venv)}) == venv


@pytest.mark.parametrize(
    ("version", "modules", "said"),
    [
        (OTHER_VERSION, environment.NEEDED_MODULES, f"made for Python {OTHER_VERSION}"),
        (None, ("torch",), "transformers"),  # half installed
    ],
)
def test_unusable_environment_is_one_clear_error(
    without_packages: Path, tmp_path: Path, version: str | None, modules: tuple[str, ...], said: str
) -> None:
    venv = make_venv(tmp_path / "venv", version=version, modules=modules)
    with pytest.raises(EnvironmentSetupError) as error:
        choose_environment({"VLM_PERCEPTION_VENV": str(venv)})
    assert said in str(error.value)
    assert str(venv) in str(error.value)
    assert "Remedy: run `make setup`" in str(error.value)


def test_no_environment_at_all_is_one_clear_error(without_packages: Path) -> None:
    with pytest.raises(EnvironmentSetupError, match="no environment is named"):
        choose_environment({})


def test_restart_happens_at_most_once(without_packages: Path, tmp_path: Path) -> None:
    venv = make_venv(tmp_path / "venv", modules=environment.NEEDED_MODULES)
    environ = {"VLM_PERCEPTION_VENV": str(venv), environment.RESTARTED_VARIABLE: str(venv)}
    with pytest.raises(EnvironmentSetupError, match="lacks torch"):
        choose_environment(environ)


def test_description_names_setting_python_and_versions() -> None:
    text = environment.describe_environment()
    assert text.startswith("setting: ")
    assert ("Python wheels" in text) != ("sourced ROS 2" in text)
    assert "sourced ROS 2" in text or re.search("ROS 2 (Jazzy|Kilted) from Python wheels", text)
    for part in (sys.executable, "torch ", "transformers ", "vision_msgs: "):
        assert part in text
