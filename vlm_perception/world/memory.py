"""Where things were: what answers say of space, one glance after the other, becomes a bounded list of things in a file.

    glance -> recognition (which is which) -> belief (how sure now) -> one transaction

Two finds of one glance are two things and never become one. A thing is where it was last seen. What is not found where
it was, although it was asked for and in view, is believed less and in the end forgotten (`belief.py`); what is out of
view stays as it is, however long. An image counts once, and none that is older than the last that counted: what is
answered late moves, misses and doubles nothing. Over the bound the least believed go first, then the oldest, but
nothing that the glance has just shown as long as there is anything else.

Nothing of this is kept by the process: the file is all there is, and other programs may read and clear it meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from vlm_perception.errors import MemoryFileError
from vlm_perception.world.belief import FORGOTTEN_BELOW, belief_after_miss, belief_after_sighting, first_belief
from vlm_perception.world.memory_file import NEW_ID, MemoryReader, MemoryWriter
from vlm_perception.world.names import phrase_of
from vlm_perception.world.recognition import has_counted, is_late, recognise
from vlm_perception.world.remembered import Changes, Glance, PlacedObject, RememberedObject


class Memory(MemoryReader):
    """Remembers things in a file, which is made where there is none; safe from any thread.

    Looking and forgetting wait for each other and for the disk; reading waits for neither.

    Args:
        path: The file.
        max_objects: More are never kept. A thing takes about 300 bytes, and its picture.
        merge_distance_m: How near two sightings of one name must be to be one thing; large things may be farther apart.

    Raises:
        MemoryFileError: The file cannot be made or used.
    """

    def __init__(self, path: Path, *, max_objects: int = 1000, merge_distance_m: float = 0.3) -> None:
        self._max_objects, self._merge_distance_m = max_objects, merge_distance_m
        self._writer = MemoryWriter(path)
        try:
            super().__init__(path)
        except BaseException:
            self._writer.close()
            raise

    def look(self, glance: Glance) -> Changes:
        """Take in what one answer says of space: all of it, or nothing.

        Raises:
            MemoryFileError: It cannot be written, or is in another frame than what is remembered; see `cause`.
        """
        with self._writer.transaction():
            known = self._writer.objects()
            _check_frame(self.path, known, glance.frame_id)
            return self._take_in(known, glance)

    def forget(self, ids: Iterable[int]) -> int:
        """Forget things, and leave nothing of them and their pictures in the file.

        Returns:
            How many of them were there.

        Raises:
            MemoryFileError: The file cannot be written.
        """
        return self._writer.forget(ids)

    def check_frame(self, frame_id: str) -> None:
        """Find out early that glances in a frame cannot be taken in; a memory of nothing takes any.

        Raises:
            MemoryFileError: What is remembered is in another frame, or cannot be read.
        """
        _check_frame(self.path, self.objects(), frame_id)

    def close(self) -> None:
        """Close the file; nothing can be read or written afterwards."""
        super().close()
        self._writer.close()

    def _take_in(self, known: Sequence[RememberedObject], glance: Glance) -> Changes:
        found = recognise(known, glance, self._merge_distance_m)
        new = [self._write(None, glance, find) for find in found.new]
        seen = [self._write(known[thing], glance, find) for thing, find in found.seen]
        moved = [self._write(known[thing], glance, find) for thing, find in found.moved]
        missed = [self._write_miss(known[thing], glance.stamp_ns) for thing in found.missed]
        touched = {thing.id for thing in (*new, *seen, *moved, *missed)}
        unseen = [*missed, *(thing for thing in known if thing.id not in touched)]
        ranked = [*sorted((*new, *seen, *moved), key=_rank), *sorted(unseen, key=_rank)]
        gone = {
            thing.id: thing
            for place, thing in enumerate(ranked)
            if place >= self._max_objects or thing.belief < FORGOTTEN_BELOW
        }
        for id in gone:
            self._writer.delete(id)

        def kept(things: Iterable[RememberedObject]) -> tuple[RememberedObject, ...]:
            return tuple(thing for thing in things if thing.id not in gone)

        return Changes(kept(new), kept(seen), kept(moved), kept(missed), tuple(gone.values()))

    def _write(self, known: RememberedObject | None, glance: Glance, find: int) -> RememberedObject:
        """Write that a known thing, or a new one, is this find."""
        found = glance.objects[find]
        thing = _first_seen(glance, found) if known is None else _seen_again(known, glance, found)
        best = known is None or not known.has_cutout or (found.score or 0.0) >= (known.best_score or 0.0)
        return self._writer.write(thing, found.cutout_jpeg if best else None)

    def _write_miss(self, known: RememberedObject, stamp_ns: int) -> RememberedObject:
        belief, times_missed = belief_after_miss(known.belief), known.times_missed + 1
        return self._writer.write(replace(known, belief=belief, times_missed=times_missed, last_missed_ns=stamp_ns))


def _check_frame(path: Path, known: Sequence[RememberedObject], frame_id: str) -> None:
    if known and known[0].frame_id != frame_id:
        raise MemoryFileError(
            f"{path} remembers places in frame {known[0].frame_id!r}, and {frame_id!r} was given: set target_frame to "
            f"{known[0].frame_id!r}, name another file, or clear it with vlm-perception-memory",
            cause="other_frame",
        )


def _first_seen(glance: Glance, found: PlacedObject) -> RememberedObject:
    return RememberedObject(
        id=NEW_ID,
        label=found.label,
        prompt=glance.prompt.text,
        phrase=phrase_of(found.label, glance.prompt),
        frame_id=glance.frame_id,
        position_m=found.position_m,
        size_m=found.size_m,
        belief=first_belief(found.score),
        best_score=found.score,
        times_seen=1,
        times_missed=0,
        first_seen_ns=glance.stamp_ns,
        last_seen_ns=glance.stamp_ns,
        camera=glance.camera,
        has_cutout=False,
    )


def _seen_again(known: RememberedObject, glance: Glance, found: PlacedObject) -> RememberedObject:
    scores = [score for score in (known.best_score, found.score) if score is not None]
    thing = replace(known, best_score=max(scores, default=None))
    if is_late(glance, known):
        # Where the thing is has been seen since.
        return thing
    if not has_counted(glance, known.last_seen_ns):
        belief = belief_after_sighting(known.belief, found.score)
        thing = replace(thing, belief=belief, times_seen=known.times_seen + 1)
    return replace(
        thing,
        label=found.label,
        prompt=glance.prompt.text,
        phrase=phrase_of(found.label, glance.prompt) or known.phrase,
        position_m=found.position_m,
        size_m=found.size_m,
        last_seen_ns=glance.stamp_ns,
        camera=glance.camera,
    )


def _rank(thing: RememberedObject) -> tuple[float, int]:
    return -thing.belief, -thing.last_seen_ns
