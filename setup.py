"""Build of the ament_python package; requirements are read from requirements.txt, the one place that has them."""

import ast
import json
import os
import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

PACKAGE = "vlm_perception"
HERE = Path(__file__).resolve().parent


def read_requirements(name):
    lines = (line.partition("#")[0].strip() for line in (HERE / name).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def read_version():
    lines = (HERE / PACKAGE / "__init__.py").read_text(encoding="utf-8").splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith("__version__"))


def command_names():
    """Name the commands without importing the package, whose requirements may not be there yet."""
    module = ast.parse((HERE / PACKAGE / "startup" / "commands.py").read_text(encoding="utf-8"))
    (table,) = (n.value for n in module.body if isinstance(n, ast.Assign) and n.targets[0].id == "COMMANDS")
    return list(ast.literal_eval(table))


def data_files():
    """Name what goes to share/: (folder, files) pairs, with paths relative to this file as setuptools wants them."""
    share = f"share/{PACKAGE}"
    pairs = [
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (share, ["package.xml", "README.md", "LICENSE"]),
    ]
    models = sorted(f"models/{folder.name}" for folder in (HERE / "models").iterdir())
    for folder in ("launch", "launch/examples", "config", "foxglove", "rviz", "security", *models):
        files = sorted(str(p.relative_to(HERE)) for p in (HERE / folder).glob("*") if p.is_file())
        pairs.append((f"{share}/{folder}", files))
    return [(target, [f for f in files if (HERE / f).is_file()]) for target, files in pairs]


def environment_at_build():
    """Return the virtual environment to remember, or None: named, running, activated, or the checkout's own."""
    named = os.environ.get("VLM_PERCEPTION_VENV")
    # Not sys.prefix: colcon sets that to the install folder while it builds.
    beside_python = Path(sys.executable).absolute().parent.parent
    running = str(beside_python) if (beside_python / "pyvenv.cfg").is_file() else None
    own = HERE / ".venv"
    return named or running or os.environ.get("VIRTUAL_ENV") or (str(own) if own.is_dir() else None)


class BuildAndRemember(build_py):
    """Also writes down which environment holds torch; vlm_perception/startup/environment.py reads it at start."""

    def run(self):
        super().run()
        venv = environment_at_build()
        if venv and not getattr(self, "editable_mode", False):
            self.record().write_text(json.dumps({"venv": venv}) + "\n", encoding="utf-8")

    def record(self):
        return Path(self.build_lib) / PACKAGE / "built_with.json"

    def get_outputs(self, *args, **kwargs):
        return super().get_outputs(*args, **kwargs) + ([str(self.record())] if self.record().exists() else [])


setup(
    name=PACKAGE,
    version=read_version(),
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={PACKAGE: ["py.typed", "prompts/templates.yaml", "apps/web/*.css", "apps/web/*.js"]},
    data_files=data_files(),
    install_requires=read_requirements("requirements.txt"),
    extras_require={name: read_requirements(f"requirements-{name}.txt") for name in ("ui", "quantized", "int8")},
    python_requires=">=3.10",
    zip_safe=False,
    cmdclass={"build_py": BuildAndRemember},
    maintainer="vlm_perception maintainers",
    maintainer_email="vlm-perception@users.noreply.github.com",
    description="Finds what you say in camera frames with Qwen2.5-VL, as a ROS 2 node",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [f"{name} = {PACKAGE}.startup.commands:main" for name in command_names()],
        "ros2doctor.checks": [f"VlmPerceptionCheck = {PACKAGE}.apps.doctor.ros2_check:VlmPerceptionCheck"],
    },
)
