"""The file holds what was seen through restarts, kills, full disks and damage, and says what is wrong with it."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from fuzz_profile import fuzz
from glances import ALL, cup, glance, nothing, placed
from hypothesis import given
from hypothesis import strategies as st
from small_disk import small_disk, small_files

from benchmarks.memory import WRITES, kill_while_writing
from vlm_perception.errors import MemoryFileError
from vlm_perception.world.memory import Memory
from vlm_perception.world.memory_file import MemoryReader
from vlm_perception.world.remembered import LATEST_NS, Glance, RememberedObject

ROOM_BYTES = 300_000
JPEG = bytes(range(256)) * 80


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memory.db"


@pytest.fixture
def memory(path: Path) -> Iterator[Memory]:
    made = Memory(path)
    yield made
    made.close()


def cause_of(work: Callable[[], object], path: Path) -> str:
    with pytest.raises(MemoryFileError) as caught:
        work()
    assert str(path) in str(caught.value)
    return str(caught.value.cause)


@pytest.mark.parametrize("name", ["memory.db", "a b?mode=ro&x#1 %20.db", "Gedächtnis/杯子.db", "\udcff.db"])
def test_what_was_closed_is_there_again(tmp_path: Path, name: str) -> None:
    with closing(Memory(tmp_path / name)) as memory:
        memory.look(glance(1, cup(1.0, jpeg=JPEG), placed("plate", 2.0, score=None)))
        closed = memory.objects()
    assert [each.name for each in (tmp_path / name).parent.iterdir()] == [Path(name).name]
    with closing(Memory(tmp_path / name)) as again:
        assert again.objects() == closed
        assert again.cutout(1) == JPEG
        assert [thing.id for thing in again.look(glance(2, cup(1.0))).seen] == [1]


def test_a_relative_path_is_that_of_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Memory(Path("memory.db")).close()
    assert (tmp_path / "memory.db").is_file()


def test_nothing_but_the_last_glance_is_lost_when_a_process_is_killed(path: Path) -> None:
    """The same file again and again, each time within 100 writes."""
    rng = random.Random(17)
    for _ in range(3):
        killed = kill_while_writing(path, rng.randint(1, WRITES))
        assert killed.told <= killed.remembered <= killed.told + 1
    with closing(Memory(path)) as memory:
        assert len({thing.position_m for thing in memory.objects()}) == len(memory.objects())


def test_each_glance_is_flushed_to_the_disk(memory: Memory) -> None:
    """What a power cut takes cannot be tried here, but this setting is what SQLite says holds through one."""
    (mode,) = memory._writer._connection.execute("PRAGMA synchronous").fetchone()
    (log,) = memory._writer._connection.execute("PRAGMA journal_mode").fetchone()
    assert (mode, log) == (2, "wal")


@pytest.fixture(params=["full disk", "file size limit"])
def full(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, ExitStack]]:
    """A file that soon cannot grow any more, and what makes room when it is closed."""
    path = tmp_path / "disk" / "memory.db"
    path.parent.mkdir()
    with ExitStack() as disk, ExitStack() as room:
        if request.param == "full disk":
            disk.enter_context(small_disk(path.parent, 2 * ROOM_BYTES))
            (path.parent / "ballast").write_bytes(bytes(ROOM_BYTES))
            room.callback((path.parent / "ballast").unlink)
        else:
            room.enter_context(small_files(ROOM_BYTES))
        yield path, room


def fill(memory: Memory, seen: list[Glance]) -> tuple[MemoryFileError, tuple[RememberedObject, ...]]:
    """Return why one glance could not be written, and what was there before it."""
    for each in seen:
        before = memory.objects()
        try:
            memory.look(each)
        except MemoryFileError as error:
            return error, before
    raise AssertionError("the disk was never full")


def test_on_a_full_disk_a_glance_is_lost_whole_and_with_room_the_next_one_fits(full: tuple[Path, ExitStack]) -> None:
    path, room = full
    seen = [glance(number, cup(number, jpeg=JPEG), cup(number, 5.0), sees=nothing) for number in range(100)]
    with closing(Memory(path)) as memory:
        failure, before = fill(memory, seen)
        assert failure.cause in ("full", "unwritable")
        assert str(path) in str(failure)
        assert 2 < len(before) < 200
        assert memory.objects() == before
        assert memory.cutout(1) == JPEG
    # Closed and opened while the disk is still full.
    with closing(Memory(path)) as memory:
        assert memory.objects() == before
        room.close()
        memory.look(seen[-1])
        assert len(memory.objects()) == len(before) + 2
        kept = memory.objects()
    with closing(Memory(path)) as memory:
        assert memory.objects() == kept


def test_a_glance_that_fails_half_way_leaves_nothing_of_itself(memory: Memory) -> None:
    no_number: Any = Fraction(1, 2)
    with pytest.raises(sqlite3.ProgrammingError, match="Fraction"):
        memory.look(glance(1, cup(1.0), cup(2.0, score=no_number)))
    assert memory.objects() == ()
    assert len(memory.look(glance(2, cup(1.0), cup(2.0))).new) == 2


def test_a_reader_sees_what_a_writer_has_written_and_never_waits_for_it(memory: Memory, path: Path) -> None:
    memory.look(glance(1, cup(1.0)))
    reader = MemoryReader(path)
    with memory._writer.transaction():
        memory._writer.delete(1)
        assert len(reader.objects()) == len(memory.objects()) == 1
    assert reader.objects() == ()
    memory.look(glance(2, cup(1.0), cup(2.0)))
    assert len(reader.find("cups")) == 2
    reader.close()


def test_threads_share_a_memory(memory: Memory) -> None:
    def work(number: int) -> None:
        for step in range(5):
            memory.look(glance(step, placed(f"cup{number}", 10.0 * number + step), prompt=ALL, sees=nothing))
            memory.find("cup")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(memory.objects()) == 20


def test_two_processes_may_write_and_one_that_waits_too_long_is_told(memory: Memory, path: Path) -> None:
    with closing(Memory(path)) as other:
        memory.look(glance(1, cup(1.0)))
        assert [thing.id for thing in other.look(glance(2, cup(1.1))).seen] == [1]
        with memory._writer.transaction():
            assert cause_of(lambda: other.look(glance(3, cup(1.0))), path) == "busy"
        assert other.look(glance(3, cup(1.0))).seen


def somebody_s(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE topics (name TEXT)")
        connection.commit()


def later_form(path: Path) -> None:
    Memory(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")


def damaged_text(path: Path) -> None:
    """SQLite quotes it in its error, and then Python cannot read that."""
    Memory(path).close()
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE objects", b"CREATE TABL\xff objects"))


@pytest.mark.parametrize(
    ("make", "cause", "said"),
    [
        (lambda path: path.write_text("not a database, but a text " * 100), "broken", "move it away, or name another"),
        (lambda path: path.mkdir(), "unwritable", "may be written to"),
        (damaged_text, "broken", "it was left as it is"),
        (somebody_s, "foreign", "belongs to another program: name another file"),
        (later_form, "newer", "in form 2, and this one reads 1: update"),
    ],
)
def test_what_is_no_memory_is_told_and_left_as_it_is(
    path: Path, make: Callable[[Path], None], cause: str, said: str
) -> None:
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(MemoryFileError, match=said) as caught, closing(Memory(path)) as memory:
        memory.look(glance(2, cup(1.0)))
    assert caught.value.cause == cause
    assert str(path) in str(caught.value)
    assert before == (path.read_bytes() if path.is_file() else None)


@pytest.mark.parametrize(
    "change",
    [
        "x_m = 9e999",
        "size_y_m = -1",
        "belief = 1.5",
        "best_score = 'good'",
        "label = NULL",
        "camera = x'00'",
        "times_seen = -1",
        "times_missed = 1e300",
        "first_seen_ns = 0",
        f"last_seen_ns = {2**62}",
        f"first_seen_ns = {LATEST_NS + 1}",
        "last_missed_ns = -1",
        "last_missed_ns = NULL",
        "id = 5000000000",
    ],
)
def test_a_value_that_is_never_written_is_damage(path: Path, change: str) -> None:
    with closing(Memory(path)) as memory:
        memory.look(glance(1, cup(1.0)))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(f"UPDATE objects SET {change}")
        connection.commit()
    assert cause_of(lambda: Memory(path), path) == "broken"
    assert cause_of(lambda: MemoryReader(path), path) == "broken"


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.touch()])
def test_a_reader_makes_nothing(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    assert cause_of(lambda: MemoryReader(path), path) in ("broken", "foreign")
    assert path.is_dir() or not path.exists() or path.stat().st_size == 0


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "memory.db"
    assert cause_of(lambda: Memory(path), path) == "unwritable"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good file, with nothing left in a log beside it."""
    path = tmp_path_factory.mktemp("whole") / "memory.db"
    with closing(Memory(path)) as memory:
        for number in range(5):
            memory.look(
                glance(number, cup(10.0 * number, jpeg=JPEG[:3000]), placed("plate", 10.0 * number), sees=nothing)
            )
    return path


flips = st.lists(st.tuples(st.integers(0, 10**6) | st.integers(0, 200), st.integers(0, 255)), max_size=6)


@fuzz
@given(flips, st.none() | st.integers(0, 10**6))
def test_a_damaged_file_is_read_or_refused(whole: Path, tmp_path_factory: pytest.TempPathFactory, flips, cut) -> None:
    good = whole.read_bytes()
    data = bytearray(good if cut is None else good[: cut % len(good)])
    for place, value in flips if data else ():
        data[place % len(data)] = value
    path = tmp_path_factory.mktemp("damaged") / "memory.db"
    path.write_bytes(data)
    with suppress(MemoryFileError), closing(Memory(path)) as memory:
        for thing in memory.objects():
            memory.cutout(thing.id)
        memory.look(glance(10, cup(1.0), cup(20.0)))
        memory.find("cup")
        memory.forget([1, 2])
