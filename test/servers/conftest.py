"""Real servers with the shipped checkpoint, one of each kind for the whole session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import TINY

from benchmarks.real_servers import Server, serve_router, serve_transformers, serve_vllm
from benchmarks.thinking_checkpoint import write_thinking_checkpoint
from vlm_perception.engines.base import Engine
from vlm_perception.engines.factory import open_engine

# `make test-servers` names those that need an environment of their own.
NAMES = os.environ.get("TEST_SERVERS", "transformers").split()


@pytest.fixture(scope="session")
def thinking_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_thinking_checkpoint(TINY, tmp_path_factory.mktemp("checkpoint") / "thinking")


@pytest.fixture(scope="session")
def transformers(thinking_checkpoint: Path) -> Iterator[Server]:
    with serve_transformers(thinking_checkpoint) as started:
        yield started


@pytest.fixture(scope="session")
def vllm_pair(thinking_checkpoint: Path) -> Iterator[tuple[Server, ...]]:
    with serve_vllm(thinking_checkpoint, 2) as started:
        yield started


@pytest.fixture(scope="session")
def vllm(vllm_pair: tuple[Server, ...]) -> Server:
    return vllm_pair[0]


@pytest.fixture(scope="session")
def vllm_router(vllm_pair: tuple[Server, ...]) -> Iterator[Server]:
    with serve_router(vllm_pair) as started:
        yield started


@pytest.fixture(scope="session", params=NAMES)
def server(request: pytest.FixtureRequest) -> Server:
    started: Server = request.getfixturevalue(request.param)
    return started


@pytest.fixture(scope="session")
def tiny() -> Iterator[Engine]:
    """The same checkpoint in this process."""
    engine = open_engine(TINY)
    yield engine
    engine.close()
