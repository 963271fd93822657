#!/usr/bin/env python3
"""Build our own vision_msgs definitions into the virtual environment that runs this script.

Run with the environment's own Python: ``.venv/bin/python scripts/build_vision_msgs.py``. Standard library only.
Nothing is built where a real vision_msgs can be imported (a sourced ROS 2), nor when ours is already up to date.
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

SOURCE = Path(__file__).resolve().parents[1] / "interfaces" / "vision_msgs"
STAMP_NAME = "built_from.sha256"
FOREIGN_PYTHON_INCLUDE = "/opt/python/"
IMPORT_CHECK = "from vision_msgs.msg import Detection2DArray as D; D.__class__.__import_type_support__()"


class BuildError(Exception):
    """Something this build needs is missing or failed; the text says what and what to do."""


def definitions_hash(source: Path = SOURCE) -> str:
    """Return a hash of the message definitions, the build files and this Python version."""
    digest = hashlib.sha256(f"{sys.version_info[:2]}".encode())
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        digest.update(path.relative_to(source).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def stamp_path(prefix: Path) -> Path:
    """Return where an installed build of ours says what it was built from."""
    return prefix / "share" / "vision_msgs" / STAMP_NAME


def installed_location() -> str | None:
    """Return the directory of the vision_msgs that this Python imports, or None.

    Asked in a fresh process without the current directory on its path, so that neither a half-built package nor a
    source folder of the same name can answer. The type support is loaded too: a package built for another Python
    version imports, but cannot publish.
    """
    code = f"{IMPORT_CHECK}; import vision_msgs; print(vision_msgs.__path__[0])"
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
            f"building vision_msgs needs {', '.join(missing)}. Remedy: apt-get install -y {' '.join(missing)}"
        )


def build(prefix: Path, jobs: int) -> None:
    """Configure, build and install our definitions into `prefix`; the tools' output is shown only on failure."""
    environment = {
        **os.environ,
        "AMENT_PREFIX_PATH": str(prefix),
        "PATH": f"{prefix / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    check_tools(environment)
    rewrite_foreign_includes(prefix)
    with tempfile.TemporaryDirectory(prefix="vision_msgs_build_") as scratch:
        configure = ["cmake", "-GNinja", "-S", str(SOURCE), "-B", scratch, "-DBUILD_TESTING=OFF"]
        configure += [f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_INSTALL_PREFIX={prefix}"]
        configure += ["-DCMAKE_BUILD_TYPE=Release", f"-DPython3_EXECUTABLE={sys.executable}"]
        for command in (configure, ["cmake", "--build", scratch, f"-j{jobs}"], ["cmake", "--install", scratch]):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise BuildError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-6000:]}")


def ensure_built(prefix: Path, jobs: int) -> str:
    """Make vision_msgs importable and return one line that says what was found or done.

    Raises:
        BuildError: a tool is missing, the build failed, or its result cannot be imported.
    """
    stamp, wanted = stamp_path(prefix), definitions_hash()
    found = installed_location()
    if found is not None and not Path(found).is_relative_to(prefix):
        return f"vision_msgs: the real one is used, {found}"
    if found is not None and not stamp.exists():
        return f"vision_msgs: one that is not ours is installed and used, {found}"
    if found is not None and stamp.read_text().strip() == wanted:
        return f"vision_msgs: ours, up to date, {found}"
    if distro := os.environ.get("ROS_DISTRO"):
        # Ours beside a real ROS 2 would hide the apt package once that is installed.
        raise BuildError(
            f"ROS 2 {distro} is sourced, but vision_msgs cannot be imported from it. "
            f"Remedy: apt-get install -y ros-{distro}-vision-msgs, and source the setup file again"
        )
    print("vision_msgs: building our definitions (about a minute, once) ...", flush=True)
    build(prefix, jobs)
    found = installed_location()
    if found is None:
        raise BuildError("vision_msgs was built, but importing it fails. Remedy: remove the environment, set up anew")
    stamp.write_text(wanted + "\n")
    return f"vision_msgs: ours, built and installed, {found}"


def main() -> int:
    """Build when needed; return 0, or 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="parallel compile jobs")
    arguments = parser.parse_args()
    if sys.prefix == sys.base_prefix:
        print("vision_msgs: run this with the Python of a virtual environment, not the system's", file=sys.stderr)
        return 1
    try:
        print(ensure_built(Path(sys.prefix).resolve(), arguments.jobs))
    except BuildError as error:
        print(f"vision_msgs: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
