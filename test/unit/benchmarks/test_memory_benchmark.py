"""The benchmark of the memory measures what it says; its kills are in world/test_memory_file.py."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from benchmarks.memory import IN_A_GLANCE, PICTURE_BYTES, costs, fill
from vlm_perception.world.memory import Memory


def test_a_memory_is_filled_once_and_seen_again(tmp_path: Path) -> None:
    with closing(Memory(tmp_path / "memory.db")) as memory:
        for start in (0, 50):
            assert len(fill(memory, 50, 10, start)) == 50 // IN_A_GLANCE + 1
        assert len(memory.objects()) == 50
        assert {thing.times_seen for thing in memory.objects()} == {2}


def test_pictures_are_most_of_a_file(tmp_path: Path) -> None:
    found = costs(100, tmp_path)
    assert found.file_mb > 100 * PICTURE_BYTES / 1e6 > found.file_mb_without_pictures > 0
    assert found.glance_ms >= found.glance_cpu_ms > 0
    assert found.find_ms > 0
