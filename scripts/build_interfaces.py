#!/usr/bin/env python3
"""Build the packages in `interfaces/` into the virtual environment that runs this script.

Run with the environment's own Python: ``.venv/bin/python scripts/build_interfaces.py``. Standard library only.
Of packages of ROS these are our own definitions, which are not built where the real one can be imported (a sourced
ROS 2). `vlm_perception_msgs` is ours alone: it is built unless a workspace has it already.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "interfaces"
# The packages in the order in which they need each other, and what shows that one is whole: the last thing added to it.
PACKAGES = {
    "vision_msgs": "msg.Detection3DArray",
    "tf2_msgs": "msg.TFMessage",
    "vlm_perception_msgs": "srv.WhereIs",
}
OURS_ALONE = ("vlm_perception_msgs",)
STAMP_NAME = "built_from.sha256"
FOREIGN_PYTHON_INCLUDE = "/opt/python/"
IMPORT_CHECK = "from {module} import {name} as M; M.__class__.__import_type_support__()"


class BuildError(Exception):
    """Something this build needs is missing or failed; the text says what and what to do."""


def definitions_hash(source: Path) -> str:
    """Return a hash of the message definitions, the build files and this Python version."""
    digest = hashlib.sha256(f"{sys.version_info[:2]}".encode())
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        digest.update(path.relative_to(source).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def stamp_path(prefix: Path, package: str) -> Path:
    """Return where an installed build of ours says what it was built from."""
    return prefix / "share" / package / STAMP_NAME


def installed_location(package: str) -> str | None:
    """Return the directory of the package that this Python imports, or None.

    Asked in a fresh process without the current directory on its path, so that neither a half-built package nor a
    source folder of the same name can answer. The type support is loaded too: a package built for another Python
    version imports, but cannot publish.
    """
    kind, name = PACKAGES[package].split(".")
    check = IMPORT_CHECK.format(module=f"{package}.{kind}", name=name)
    code = f"{check}; import {package}; print({package}.__path__[0])"
    asked = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tempfile.gettempdir(), check=False
    )
    return asked.stdout.strip().splitlines()[-1] if asked.returncode == 0 else None


def rewrite_foreign_includes(prefix: Path) -> int:
    """Point the wheels' exported CMake targets at this machine's Python and numpy headers.

    The wheels carry the include paths of the machine that built them, and CMake refuses paths that do not exist.
    Returns the number of files changed.
    """
    import numpy

    ours = f'"{sysconfig.get_path("include")};{numpy.get_include()}"'
    changed = 0
    for export in prefix.glob("share/*/cmake/*generator_pyExport.cmake"):
        lines = export.read_text().splitlines(keepends=True)
        fixed = [
            f"  INTERFACE_INCLUDE_DIRECTORIES {ours}\n"
            if "INTERFACE_INCLUDE_DIRECTORIES" in line and FOREIGN_PYTHON_INCLUDE in line
            else line
            for line in lines
        ]
        if fixed != lines:
            export.write_text("".join(fixed))
            changed += 1
    return changed


def check_tools(environment: dict[str, str]) -> None:
    """Raise BuildError when a tool or header that the build needs is missing."""
    needs = {"cmake": "cmake", "ninja": "ninja-build", "cc": "build-essential", "c++": "build-essential"}
    missing = sorted({package for tool, package in needs.items() if not shutil.which(tool, path=environment["PATH"])})
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        missing.append(f"python{sys.version_info.major}.{sys.version_info.minor}-dev")
    if missing:
        raise BuildError(
            f"building message packages needs {', '.join(missing)}. Remedy: apt-get install -y {' '.join(missing)}"
        )


def build(package: str, prefix: Path, jobs: int) -> None:
    """Configure, build and install one of our packages into `prefix`; the tools' output is shown only on failure."""
    environment = {
        **os.environ,
        # Of a sourced ROS 2 come the generators, and the messages that ours are made of.
        "AMENT_PREFIX_PATH": os.pathsep.join(filter(None, (str(prefix), os.environ.get("AMENT_PREFIX_PATH")))),
        "PATH": f"{prefix / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    check_tools(environment)
    rewrite_foreign_includes(prefix)
    with tempfile.TemporaryDirectory(prefix=f"{package}_build_") as scratch:
        configure = ["cmake", "-GNinja", "-S", str(SOURCE / package), "-B", scratch, "-DBUILD_TESTING=OFF"]
        prefixes = environment["AMENT_PREFIX_PATH"].replace(os.pathsep, ";")
        configure += [f"-DCMAKE_PREFIX_PATH={prefixes}", f"-DCMAKE_INSTALL_PREFIX={prefix}"]
        configure += ["-DCMAKE_BUILD_TYPE=Release", f"-DPython3_EXECUTABLE={sys.executable}"]
        for command in (configure, ["cmake", "--build", scratch, f"-j{jobs}"], ["cmake", "--install", scratch]):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise BuildError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-6000:]}")


def ensure_built(package: str, prefix: Path, jobs: int) -> str:
    """Make a package importable and return what was found or done.

    Raises:
        BuildError: a tool is missing, the build failed, or its result cannot be imported.
    """
    stamp, wanted = stamp_path(prefix, package), definitions_hash(SOURCE / package)
    found = installed_location(package)
    if found is not None and not Path(found).resolve().is_relative_to(prefix):
        return f"the real one is used, {found}"
    if found is not None and not stamp.exists():
        return f"one that is not ours is installed and used, {found}"
    if found is not None and stamp.read_text().strip() == wanted:
        return f"ours, up to date, {found}"
    distro = os.environ.get("ROS_DISTRO")
    if distro and package not in OURS_ALONE:
        # Ours beside a real ROS 2 would hide the apt package once that is installed.
        raise BuildError(
            f"ROS 2 {distro} is sourced, but {package} cannot be imported from it. Remedy: apt-get install -y "
            f"ros-{distro}-{package.replace('_', '-')}, and source the setup file again"
        )
    print(f"{package}: building it (about a minute, once) ...", flush=True)
    build(package, prefix, jobs)
    found = installed_location(package)
    if found is None:
        raise BuildError(f"{package} was built, but importing it fails. Remedy: remove the environment, set up anew")
    stamp.write_text(wanted + "\n")
    return f"ours, built and installed, {found}"


def main() -> int:
    """Build when needed; return 0, or 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="parallel compile jobs")
    arguments = parser.parse_args()
    if sys.prefix == sys.base_prefix:
        print("run this with the Python of a virtual environment, not the system's", file=sys.stderr)
        return 1
    for package in PACKAGES:
        try:
            print(f"{package}: {ensure_built(package, Path(sys.prefix).resolve(), arguments.jobs)}")
        except BuildError as error:
            print(f"{package}: {error}", file=sys.stderr)
            if package not in OURS_ALONE or not os.environ.get("ROS_DISTRO"):
                return 1
            # On a robot colcon builds it, where the generators are; the node runs without it and says what it lacks.
            print(f"{package}: not built; going on, colcon can build it in the workspace", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
