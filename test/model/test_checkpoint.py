"""Every way a model can fail to load gives one error that says where it looked and what to do."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from checkout import ROOT, TINY
from safetensors.torch import load_file, save_file

from vlm_perception.engines.factory import make_engine, open_engine
from vlm_perception.engines.families import FAMILIES
from vlm_perception.engines.transformers import loading
from vlm_perception.engines.transformers.checkpoint import Checkpoint, find_checkpoint
from vlm_perception.engines.transformers.loading import check_device, load_checkpoint
from vlm_perception.engines.transformers.memory import find_place, free_bytes
from vlm_perception.errors import ModelLoadError
from vlm_perception.settings import Settings
from vlm_perception.startup import arguments

HUB_ID = "Qwen/Qwen2.5-VL-3B-Instruct"


@pytest.fixture
def folder(random_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(random_checkpoint, tmp_path / "checkpoint"))


def test_a_folder_is_found_and_said_to_be_offline(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="vlm_perception"):
        found = find_checkpoint(str(folder))
    assert "offline" in caplog.text
    assert (found.folder, found.family.coordinates, found.stored_dtype) == (folder, "absolute", "float32")
    assert found.weight_bytes == (folder / "model.safetensors").stat().st_size


@pytest.mark.parametrize("path", ["/no/such/folder", "models/no_such", "./Qwen/Qwen2.5", "~/no_such", "tinny"])
def test_a_missing_folder_is_not_looked_for_on_the_hub(path: str) -> None:
    with pytest.raises(ModelLoadError, match="does not exist") as caught:
        find_checkpoint(path)
    assert Path(path).name in str(caught.value)
    assert "set model to" in str(caught.value)


def test_tiny_is_the_shipped_one_wherever_the_parameter_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_checkpoint("tiny").folder == TINY
    monkeypatch.setattr(arguments, "__file__", "/nowhere/else/arguments.py")
    with pytest.raises(ModelLoadError, match="the files of vlm_perception were not found"):
        find_checkpoint("tiny")


def test_the_remedy_names_the_tiny_model_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelLoadError, match=f"shipped tiny model {TINY}"):
        find_checkpoint("/no/such/folder")
    monkeypatch.setattr(arguments, "__file__", "/nowhere/else/arguments.py")
    with pytest.raises(ModelLoadError, match="checkpoint, or to a hub id"):
        find_checkpoint("/no/such/folder")


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def drop_weight(path: Path, ending: str) -> None:
    tensors = load_file(path)
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith(ending)}
    assert len(kept) == len(tensors) - 1
    save_file(kept, path, metadata={"format": "pt"})


def halve_mlp(config: dict[str, Any]) -> None:
    config["text_config"]["intermediate_size"] //= 2


# what is done to a good folder, words in the message
DAMAGE: list[tuple[str, Callable[[Path], object], list[str]]] = [
    ("empty", lambda f: [p.unlink() for p in f.iterdir()], ["config.json", "cannot be read"]),
    (
        "other family",
        lambda f: rewrite(f / "config.json", lambda c: c.update(model_type="llama")),
        ["llama", "known"],
    ),
    ("no json", lambda f: (f / "config.json").write_text("{"), ["config.json", "cannot be read"]),
    ("no tokenizer", lambda f: (f / "tokenizer.json").unlink(), ["tokenizer.json", "copy the whole checkpoint"]),
    ("no processor", lambda f: (f / "processor_config.json").unlink(), ["processor_config.json"]),
    ("no weights", lambda f: (f / "model.safetensors").unlink(), ["model.safetensors"]),
    ("pickle", lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), ["safetensors", "never pickles"]),
    (
        "lost shard",
        lambda f: (f / "model.safetensors.index.json").write_text('{"weight_map": {"a": "one.safetensors"}}'),
        ["one.safetensors"],
    ),
    ("broken weights", lambda f: os.truncate(f / "model.safetensors", 5000), ["loading", "copy the whole checkpoint"]),
    ("pointer file", lambda f: (f / "model.safetensors").write_text("version https://git-lfs"), ["loading"]),
    ("lost weight", lambda f: drop_weight(f / "model.safetensors", "model.norm.weight"), ["missing", "norm.weight"]),
    (
        "other patches",
        lambda f: rewrite(f / "processor_config.json", lambda c: c["image_processor"].update(patch_size=16)),
        ["2 x 2 patches of 16 px", "not 28 px", "processor of a Qwen2.5-VL checkpoint"],
    ),
    ("other width", lambda f: rewrite(f / "config.json", halve_mlp), ["mismatched"]),
    ("broken tokenizer", lambda f: (f / "tokenizer.json").write_text("{}"), ["loading"]),
]


@pytest.mark.parametrize(("damage", "words"), [row[1:] for row in DAMAGE], ids=[row[0] for row in DAMAGE])
def test_a_damaged_folder_is_refused(folder: Path, damage: Callable[[Path], object], words: list[str]) -> None:
    damage(folder)
    settings = Settings.from_mapping({"model": str(folder)})
    engine = make_engine(lambda: settings)
    with pytest.raises(ModelLoadError) as caught:
        engine.load()
    for word in (*words, str(folder)):
        assert word in str(caught.value)
    assert engine.describe()["parameters"] == "not loaded"


def test_code_in_a_checkpoint_is_not_run(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "was_run"
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Model: ...\n")
    auto_map = {"AutoModelForImageTextToText": "evil.Model", "AutoProcessor": "evil.Model"}
    for name in ("config.json", "processor_config.json", "tokenizer_config.json"):
        rewrite(folder / name, lambda content: content.update(auto_map=auto_map))
    try:
        open_engine(folder)
    except ModelLoadError as error:
        assert "trust_remote_code" in str(error)  # noqa: PT017 - refusing and ignoring are both right
    assert not marker.exists()


def test_too_little_memory_says_how_much_and_what_to_do(folder: Path) -> None:
    huge = Checkpoint(folder, "local folder", FAMILIES["qwen2_5_vl"], 10**15, "bfloat16")
    with pytest.raises(ModelLoadError, match=r"1071021\.0 GiB as bfloat16.* GiB free; .*smaller model"):
        find_place(huge, device="cpu", dtype="auto")


def test_a_wider_number_format_needs_more(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=3 * 10**9))
    stored = Checkpoint(folder, "local folder", FAMILIES["qwen2_5_vl"], 2 * 10**9, "bfloat16")
    find_place(stored, device="cpu", dtype="auto")
    with pytest.raises(ModelLoadError, match="as float32"):
        find_place(stored, device="cpu", dtype="float32")


def test_layers_that_accelerate_leaves_on_a_disk_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the GPUs hold all weights together, and none has room for one layer more."""
    narrow = {"device_map": "auto", "max_memory": {"cpu": 10**7}}
    placement = SimpleNamespace(devices=("cuda:0", "cuda:1"), options=lambda: narrow)
    monkeypatch.setattr(loading, "find_place", lambda *_, **__: placement)
    with pytest.raises(ModelLoadError, match=r"parts of the model outside of the GPUs.*set device to cpu"):
        load_checkpoint(find_checkpoint(str(folder)), "auto", "auto")


def test_memory_that_a_gpu_shares_with_the_host_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=6 * 2**30))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2**30, 8 * 2**30))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(is_integrated=1))
    for reading in ("memory_reserved", "memory_allocated"):
        monkeypatch.setattr(torch.cuda, reading, lambda _: 0)
    small, large = (Checkpoint(TINY, "", FAMILIES["qwen2_5_vl"], size * 2**30, "bfloat16") for size in (5, 6))
    assert find_place(small, device="auto", dtype="auto").devices == ("cuda:0",)
    with pytest.raises(ModelLoadError, match=r"shares the host's memory, has 6\.0 GiB free"):
        find_place(large, device="auto", dtype="auto")
    assert free_bytes("cuda:0") == free_bytes("cpu") == 6 * 2**30


def test_a_device_that_is_not_there_is_refused() -> None:
    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ModelLoadError, match=f"device {absent}.*auto or cpu"):
        check_device(absent)
    check_device("cpu")
    check_device("auto")


ASK_HUB = """
import sys
from vlm_perception.engines.transformers.checkpoint import find_checkpoint
from vlm_perception.errors import ModelLoadError
try:
    print("FOUND", find_checkpoint(sys.argv[1]).origin)
except ModelLoadError as error:
    print("REFUSED", error)
"""


def ask_hub(model: str, home: Path, **environment: str) -> str:
    """Look for a model in a process of its own: the hub client reads its environment on import."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and "proxy" not in k.lower()}
    env.update(HF_HOME=str(home), HF_HUB_DISABLE_TELEMETRY="1", **environment)
    done = subprocess.run(
        [sys.executable, "-c", ASK_HUB, model],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "environment",
    [
        {"HF_HUB_OFFLINE": "1"},
        {"HF_ENDPOINT": "http://127.0.0.1:9"},
        # It takes connections and never answers, like a network that swallows packets; `ask_hub` gives up on it.
        {"HF_ENDPOINT": "http://127.0.0.1:{silent}"},
    ],
)
def test_a_hub_that_cannot_be_reached_names_the_remedy(tmp_path: Path, environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = server.getsockname()[1]
        said = ask_hub(HUB_ID, tmp_path, **{name: value.format(silent=silent) for name, value in environment.items()})
    assert said.startswith("REFUSED")
    for part in (HUB_ID, "hub cannot be reached", "set model to a folder"):
        assert part in said


def test_the_hub_cache_is_used_offline(random_checkpoint: Path, tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--some--model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    shutil.copytree(random_checkpoint, repository / "snapshots" / ("a" * 40))
    assert ask_hub("some/model", tmp_path, HF_HUB_OFFLINE="1").strip() == "FOUND hub cache, offline"


def test_a_half_downloaded_cache_is_not_taken_for_a_model(random_checkpoint: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--some--model" / "snapshots" / ("a" * 40)
    shutil.copytree(random_checkpoint, snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("a" * 40)
    (snapshot / "model.safetensors").unlink()
    assert "hub cannot be reached" in ask_hub("some/model", tmp_path, HF_HUB_OFFLINE="1")
