"""What needs no torch is told before torch is imported, which takes many seconds; a silent hub within a few."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import ROOT
from PIL import Image

from vlm_perception.engines.transformers import devices
from vlm_perception.errors import ModelLoadError

# Prints what the command said, its exit code, and which heavy library it had imported by then.
RUN = """
import sys
from vlm_perception.apps.detect import command
code = command.main(sys.argv[1:])
print("HEAVY", [name for name in ("torch", "transformers") if name in sys.modules], "CODE", code, file=sys.stderr)
"""


def detect(folder: Path, *arguments: str, **environment: str) -> str:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "CUDA_")) and "proxy" not in k.lower()}
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments, "--prompt", "cup"],
        cwd=folder,
        env={**env, "PYTHONPATH": str(ROOT), "HF_HOME": str(folder / "hub"), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (32, 24)).save(tmp_path / "a.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    (tmp_path / "empty.mp4").touch()
    for name, config in (("bare", None), ("llama", {"model_type": "llama"}), ("half", {"model_type": "qwen2_5_vl"})):
        (tmp_path / name).mkdir()
        if config:
            (tmp_path / name / "config.json").write_text(json.dumps(config))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (("a.png", "--model", "./nowhere"), "nowhere does not exist", 2),
        (("a.png", "--model", "./bare"), "config.json cannot be read", 2),
        (("a.png", "--model", "./llama"), "holds a llama model", 2),
        (("a.png", "--model", "./half"), "has no tokenizer.json", 2),
        (("a.png", "--model", "tiny", "--device", "toaster"), "device is 'toaster'", 2),
        (("a.png", "--model", "tiny", "--device", "cuda:99"), "device cuda:99 was asked for", 2),
        (("a.png", "--model", "tiny", "--device", "mps"), "device mps was asked for", 2),
        (("nowhere.png", "--model", "tiny"), "nowhere.png does not exist", 1),
        (("broken.jpg", "--model", "tiny"), "broken.jpg cannot be decoded", 1),
        (("empty.mp4", "--model", "tiny"), "empty.mp4 is empty", 1),
        (("broken.jpg", "a.png", "--model", "tiny", "--fail-fast"), "broken.jpg cannot be decoded", 1),
    ],
)
def test_it_is_told_before_torch_is_imported(folder: Path, arguments: tuple[str, ...], said: str, code: int) -> None:
    if "mps" in arguments and sys.platform == "darwin":
        pytest.skip("a Mac may have the device mps")
    told = detect(folder, *arguments)
    assert said in told
    assert told.count(said) == 1, "it is said once"
    assert f"HEAVY [] CODE {code}" in told


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_hub_that_does_not_answer_is_not_waited_for(folder: Path, silent_server: str) -> None:
    started_s = time.monotonic()
    told = detect(folder, "a.png", "--model", "Qwen/Qwen2.5-VL-3B-Instruct", HF_ENDPOINT=silent_server)
    assert "the hub cannot be reached (TimeoutError: no answer within 5 s)" in told
    assert "HEAVY [] CODE 2" in told
    # Two seconds more on an idle machine; this one may be busy.
    assert time.monotonic() - started_s < 20.0


@pytest.mark.parametrize(
    ("driver", "visible", "device", "refused"),
    [
        (False, None, "cuda", "shows 0 CUDA devices"),
        (True, "", "cuda", "shows 0 CUDA devices"),
        (True, "-1", "cuda:0", "shows 0 CUDA devices"),
        (True, "0,1", "cuda:2", "shows 2 CUDA devices"),
        (True, "0,1", "cuda:1", None),
        (True, "GPU-1234", "cuda", None),
        (False, None, "cpu", None),
        (False, None, "auto", None),
    ],
)
def test_a_gpu_that_cannot_be_there_is_refused_and_any_other_left_to_torch(
    driver: bool, visible: str | None, device: str, refused: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_torch_version", lambda: "2.14.1")
    monkeypatch.setattr(devices, "_DRIVERS", ("libc.so.6" if driver else "libnowhere.so",))
    monkeypatch.setattr(devices, "_AMD_DEVICE", Path("/nowhere"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    if refused is None:
        devices.refuse_absent_device(device)
        return
    with pytest.raises(ModelLoadError, match=f"{refused}; set device to auto or cpu"):
        devices.refuse_absent_device(device)


def test_a_torch_for_cpus_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_torch_version", lambda: "2.14.1+cpu")
    with pytest.raises(ModelLoadError, match=r"torch 2\.14\.1\+cpu is built for CPUs"):
        devices.refuse_absent_device("cuda")
