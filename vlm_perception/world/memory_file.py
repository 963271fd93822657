"""The file of the memory: SQLite, which keeps each transaction whole through a kill, a power cut and a full disk.

WAL, so that reading never waits for a writer (https://www.sqlite.org/wal.html), and `synchronous` FULL: NORMAL, which
many take with WAL, does not tear the file either, but a power cut may take all since the last checkpoint.
FULL costs one flush of the disk each glance, which come a few times a second at most and are written after publishing.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from vlm_perception.errors import MemoryFileError
from vlm_perception.world.names import called
from vlm_perception.world.remembered import RememberedObject

# In the file's header (https://www.sqlite.org/pragma.html#pragma_application_id): whose it is, and of which form.
_APPLICATION_ID = int.from_bytes(b"vlmp", "big")
_FORM = 1
# Of a thing that is not in the file yet; SQLite counts from 1.
NEW_ID = 0
_WAIT_S = 2.0
# Pictures lie apart, so that a thing that is seen again is a small write. An id is never given again. The checks find
# values that only damage makes, when a file is opened, so that nothing has to look again.
_TABLES = """
CREATE TABLE objects (
    id INTEGER PRIMARY KEY AUTOINCREMENT, label TEXT, prompt TEXT, phrase TEXT, frame_id TEXT,
    x_m REAL, y_m REAL, z_m REAL, size_x_m REAL, size_y_m REAL, size_z_m REAL, belief REAL, best_score REAL,
    times_seen INTEGER, times_missed INTEGER, first_seen_ns INTEGER, last_seen_ns INTEGER, camera TEXT,
    last_missed_ns INTEGER,
    CHECK (typeof(label) = 'text' AND typeof(prompt) = 'text' AND typeof(phrase) = 'text' AND typeof(frame_id) = 'text'
        AND typeof(camera) = 'text'),
    CHECK (typeof(x_m) = 'real' AND typeof(y_m) = 'real' AND typeof(z_m) = 'real' AND typeof(size_x_m) = 'real'
        AND typeof(size_y_m) = 'real' AND typeof(size_z_m) = 'real' AND typeof(belief) = 'real'
        AND typeof(best_score) IN ('real', 'null')),
    CHECK (max(abs(x_m), abs(y_m), abs(z_m), size_x_m, size_y_m, size_z_m) <= 1.7976931348623157e308
        AND min(size_x_m, size_y_m, size_z_m) >= 0 AND belief BETWEEN 0 AND 1 AND best_score BETWEEN 0 AND 1),
    CHECK (typeof(times_seen) = 'integer' AND typeof(times_missed) = 'integer' AND typeof(first_seen_ns) = 'integer'
        AND typeof(last_seen_ns) = 'integer' AND typeof(last_missed_ns) = 'integer'),
    CHECK (id > 0 AND min(times_seen, times_missed) >= 0 AND max(id, times_seen, times_missed) <= 2147483647
        AND min(first_seen_ns, last_seen_ns) > 0 AND last_missed_ns >= 0
        AND max(first_seen_ns, last_seen_ns, last_missed_ns) < 2147483648000000000)
);
CREATE TABLE cutouts (
    object_id INTEGER PRIMARY KEY REFERENCES objects(id) ON DELETE CASCADE,
    jpeg BLOB CHECK (typeof(jpeg) = 'blob')
);
"""
_SELECT = """
SELECT id, label, prompt, phrase, frame_id, x_m, y_m, z_m, size_x_m, size_y_m, size_z_m, belief, best_score, times_seen,
    times_missed, first_seen_ns, last_seen_ns, camera, EXISTS (SELECT 1 FROM cutouts WHERE object_id = id),
    last_missed_ns
FROM objects ORDER BY belief DESC, last_seen_ns DESC, id
"""
_WRITE = """
INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    label = excluded.label, prompt = excluded.prompt, phrase = excluded.phrase, frame_id = excluded.frame_id,
    x_m = excluded.x_m, y_m = excluded.y_m, z_m = excluded.z_m, size_x_m = excluded.size_x_m,
    size_y_m = excluded.size_y_m, size_z_m = excluded.size_z_m, belief = excluded.belief,
    best_score = excluded.best_score, times_seen = excluded.times_seen, times_missed = excluded.times_missed,
    first_seen_ns = excluded.first_seen_ns, last_seen_ns = excluded.last_seen_ns, camera = excluded.camera,
    last_missed_ns = excluded.last_missed_ns
"""
# What SQLite says (https://www.sqlite.org/rescode.html); Python tells codes of errors from 3.11 on alone.
_SAID = {
    "disk is full": "full",
    "locked": "busy",
    "readonly": "unwritable",
    "unable to open": "unwritable",
    "disk I/O error": "unwritable",
}
_REMEDIES = {
    "full": "free space on its disk; what was remembered before is whole",
    "busy": "another program writes to it; try again",
    "unwritable": "name a file in a folder that may be written to",
}


class MemoryReader:
    """Reads a file of remembered things, also while a node writes to it; safe from any thread.

    Args:
        path: The file.

    Raises:
        MemoryFileError: It is not there, or cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reading = threading.Lock()
        if not path.is_file():
            raise MemoryFileError(f"{path} is not there, or no file: name that of a node's memory_file", cause="broken")
        # Of what is opened for reading alone SQLite tests no checks.
        self._reader = _connect(path, "rw")
        with _closed_on_error(self._reader), _file_errors(path):
            _check_form(path, self._reader)

    def objects(self) -> tuple[RememberedObject, ...]:
        """Return all that is remembered, best believed first, then newest.

        Raises:
            MemoryFileError: The file cannot be read.
        """
        with self._reading, _file_errors(self.path):
            return _read_objects(self._reader)

    def count(self) -> int:
        """Return how many things are remembered.

        Raises:
            MemoryFileError: The file cannot be read.
        """
        return self._number("SELECT count(*) FROM objects")

    def version(self) -> int:
        """Return a number that is another one once anybody has written to the file, as long as this one reads it.

        Raises:
            MemoryFileError: The file cannot be read.
        """
        return self._number("PRAGMA data_version")

    def find(self, words: str) -> tuple[RememberedObject, ...]:
        """Return what is called so, in the order of `objects`; see `names.called`.

        Raises:
            MemoryFileError: The file cannot be read.
        """
        return called(self.objects(), words)

    def cutout(self, id: int) -> bytes | None:
        """Return the picture of a thing, JPEG; None where there is no picture, or no such thing.

        Raises:
            MemoryFileError: The file cannot be read.
        """
        with self._reading, _file_errors(self.path):
            row = self._reader.execute("SELECT jpeg FROM cutouts WHERE object_id = ?", (id,)).fetchone()
        return None if row is None else bytes(row[0])

    def close(self) -> None:
        """Close the file; nothing can be read afterwards."""
        with self._reading:
            self._reader.close()

    def _number(self, question: str) -> int:
        with self._reading, _file_errors(self.path):
            return int(self._reader.execute(question).fetchone()[0])


class MemoryWriter:
    """Writes a file of remembered things, one transaction of one thread at a time.

    Args:
        path: The file; it is made with its folder where it is not there, and anything else is left as it is.

    Raises:
        MemoryFileError: It cannot be made or used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MemoryFileError(f"{path}: {error.strerror}: {_REMEDIES['unwritable']}", cause="unwritable") from error
        with _file_errors(path):
            self._connection = _connect(path, "rwc")
        with _closed_on_error(self._connection), _file_errors(path):
            _make_tables(self._connection)
            _check_form(path, self._connection)
            # Where the file system has no memory to share, it stays a rollback journal, which is as safe.
            for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
                self._connection.execute(f"PRAGMA {setting}").close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all of what follows or nothing; nobody else writes meanwhile.

        Raises:
            MemoryFileError: The file cannot be written.
        """
        with self._writing, _file_errors(self._path), _transaction(self._connection):
            yield

    def objects(self) -> tuple[RememberedObject, ...]:
        """Return all that is remembered, best believed first, then newest; within a transaction."""
        return _read_objects(self._connection)

    def write(self, thing: RememberedObject, cutout_jpeg: bytes | None = None) -> RememberedObject:
        """Write a thing, and its picture where there is a better one; within a transaction.

        Returns:
            The thing as it now stands in the file: instead of `NEW_ID` it has one of its own.
        """
        thing = replace(thing, label=_utf8(thing.label), prompt=_utf8(thing.prompt), phrase=_utf8(thing.phrase))
        texts = (thing.label, thing.prompt, thing.phrase, thing.frame_id)
        numbers = (thing.belief, thing.best_score, thing.times_seen, thing.times_missed)
        times = (thing.first_seen_ns, thing.last_seen_ns)
        values = (*texts, *thing.position_m, *thing.size_m, *numbers, *times, thing.camera, thing.last_missed_ns)
        written = self._connection.execute(_WRITE, (None if thing.id == NEW_ID else thing.id, *values))
        if thing.id == NEW_ID:
            thing = replace(thing, id=written.lastrowid or NEW_ID)
        if cutout_jpeg is not None:
            self._connection.execute("INSERT OR REPLACE INTO cutouts VALUES (?, ?)", (thing.id, cutout_jpeg))
            thing = replace(thing, has_cutout=True)
        return thing

    def delete(self, id: int) -> bool:
        """Delete a thing and its picture, and tell whether it was there; within a transaction."""
        return self._connection.execute("DELETE FROM objects WHERE id = ?", (id,)).rowcount > 0

    def forget(self, ids: Iterable[int]) -> int:
        """Delete things in a transaction of their own, and leave nothing of them in the file and beside it.

        Returns:
            How many of them were there.

        Raises:
            MemoryFileError: The file cannot be written.
        """
        with self.transaction():
            count = sum(self.delete(id) for id in ids)
        with self._writing, _file_errors(self._path):
            # They are still in the log; where a reader uses it just then, the next one to be through empties it.
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return count

    def close(self) -> None:
        """Close the file; nothing can be written afterwards."""
        with self._writing:
            self._connection.close()


def _connect(path: Path, mode: Literal["rw", "rwc"]) -> sqlite3.Connection:
    """Open a file; nothing of it is read yet, and each statement is a transaction until one is begun."""
    address = f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}"
    connection = sqlite3.connect(address, uri=True, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
    # A damaged letter does not make a thing unreadable.
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    return connection


def _check_form(path: Path, connection: sqlite3.Connection) -> None:
    """Find out whether a file is a memory that this version reads.

    Raises:
        MemoryFileError: It is not, or is damaged.
        sqlite3.Error: It is no SQLite file, or cannot be read.
    """
    owner, form = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    if owner != _APPLICATION_ID:
        raise MemoryFileError(
            f"{path} is empty or belongs to another program: name another file; it was left as it is", cause="foreign"
        )
    if form > _FORM:
        raise MemoryFileError(
            f"{path} was written by a later version, in form {form}, and this one reads {_FORM}: update this one, or "
            f"name another file",
            cause="newer",
        )
    (damage,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if damage != "ok":
        raise _broken(path, damage)


def _make_tables(connection: sqlite3.Connection) -> None:
    """Make a memory of an empty file, all at once; any other is left as it is.

    Raises:
        sqlite3.Error: It is no SQLite file, or cannot be written.
    """
    with _transaction(connection):
        if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            for statement in _TABLES.strip().rstrip(";").split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {_FORM}")


def _read_objects(connection: sqlite3.Connection) -> tuple[RememberedObject, ...]:
    """Read all things, best believed first, then newest.

    Raises:
        sqlite3.Error: The file cannot be read.
    """
    return tuple(map(_object, connection.execute(_SELECT)))


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write all or nothing; nobody else writes meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After some errors, such as a full disk, SQLite has rolled back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a file into `MemoryFileError`."""
    try:
        yield
    except sqlite3.ProgrammingError:
        # A bug of ours, such as reading after `close`.
        raise
    # Python cannot read what SQLite says where it quotes damaged text.
    except (sqlite3.Error, UnicodeDecodeError) as error:
        cause = next((cause for said, cause in _SAID.items() if said in str(error)), None)
        if cause is None:
            raise _broken(path, error) from error
        raise MemoryFileError(f"{path}: {error}: {_REMEDIES[cause]}", cause=cause) from error


def _broken(path: Path, reason: object) -> MemoryFileError:
    return MemoryFileError(
        f"{path} is no memory, or damaged ({reason}): move it away, or name another file; it was left as it is",
        cause="broken",
    )


def _utf8(text: str) -> str:
    """Half a surrogate pair, which a model's bytes can decode to, has no UTF-8 form."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _object(row: tuple[Any, ...]) -> RememberedObject:
    (
        id,
        label,
        prompt,
        phrase,
        frame_id,
        x,
        y,
        z,
        across,
        along,
        up,
        belief,
        best,
        seen,
        missed,
        first,
        last,
        camera,
        has,
        last_missed,
    ) = row
    return RememberedObject(
        id=id,
        label=label,
        prompt=prompt,
        phrase=phrase,
        frame_id=frame_id,
        position_m=(x, y, z),
        size_m=(across, along, up),
        belief=belief,
        best_score=best,
        times_seen=seen,
        times_missed=missed,
        first_seen_ns=first,
        last_seen_ns=last,
        camera=camera,
        has_cutout=bool(has),
        last_missed_ns=last_missed,
    )
