"""What becomes of things that are seen, seen elsewhere, and not seen any more."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from glances import ALL, CUPS, START_NS, cup, everything, glance, nothing, placed
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_perception.errors import MemoryFileError
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.world.belief import FORGOTTEN_BELOW
from vlm_perception.world.memory import Memory
from vlm_perception.world.remembered import LATEST_NS, MAX_CUTOUT_BYTES, Glance, PlacedObject, RememberedObject
from vlm_perception.world.transforms import XYZ


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    made = Memory(tmp_path / "memory.db")
    yield made
    made.close()


def spots(memory: Memory) -> dict[int, tuple[str, float]]:
    """Id -> label, x of everything that is remembered."""
    return {thing.id: (thing.label, thing.position_m[0]) for thing in memory.objects()}


def only(things: tuple[RememberedObject, ...]) -> RememberedObject:
    (thing,) = things
    return thing


def test_a_new_thing_is_remembered_with_all_that_is_known_of_it(memory: Memory) -> None:
    found = PlacedObject("The Cup", (1.0, 2.0, 0.5), (0.1, 0.2, 0.3), 0.8, b"jpeg")
    new = only(memory.look(glance(1, found, prompt=build_prompt("cup; person"))).new)
    at_ns = START_NS + 10**9
    expected = RememberedObject(
        1,
        "The Cup",
        "cup; person",
        "",
        "map",
        (1.0, 2.0, 0.5),
        (0.1, 0.2, 0.3),
        0.8,
        0.8,
        1,
        0,
        at_ns,
        at_ns,
        "/image",
        True,
    )
    assert new == expected == only(memory.objects()) == only(memory.find("cups"))
    assert memory.cutout(new.id) == b"jpeg"


SEEN_TWICE = [
    # First glance, second glance, what is remembered afterwards.
    ([cup(0.0)], [cup(0.2)], {1: ("cup", 0.2)}),
    ([cup(0.0)], [cup(0.4)], {1: ("cup", 0.0), 2: ("cup", 0.4)}),
    ([cup(0.0)], [placed("Cups", 0.2)], {1: ("Cups", 0.2)}),
    ([cup(0.0)], [placed("red cup", 0.2)], {1: ("red cup", 0.2)}),
    ([placed("mug", 0.0)], [cup(0.2)], {1: ("cup", 0.2)}),  # both answered "cup"
    ([cup(0.0)], [placed("plate", 0.0)], {1: ("plate", 0.0)}),  # so did this
    # Two that stand side by side stay two, whichever is nearer to which.
    ([cup(0.0), cup(0.1)], [cup(0.1), cup(0.0)], {1: ("cup", 0.0), 2: ("cup", 0.1)}),
    ([cup(0.0)], [cup(0.0), cup(0.05)], {1: ("cup", 0.0), 2: ("cup", 0.05)}),
    # The name counts before the place.
    ([cup(0.0), placed("red cup", 0.1)], [placed("red cup", 0.02)], {1: ("cup", 0.0), 2: ("red cup", 0.02)}),
    # Of a large thing another part was seen.
    ([placed("cup", 0.0, side=2.0)], [placed("cup", 0.9, side=1.0)], {1: ("cup", 0.9)}),
]


@pytest.mark.parametrize(("first", "second", "after"), SEEN_TWICE)
def test_sightings_of_one_thing_are_merged_by_name_and_place(memory: Memory, first, second, after) -> None:
    memory.look(glance(1, *first, sees=nothing))
    memory.look(glance(2, *second, sees=nothing))
    assert spots(memory) == after


def test_things_that_all_objects_finds_are_not_one_thing(memory: Memory) -> None:
    memory.look(glance(1, cup(0.0), prompt=ALL))
    memory.look(glance(2, placed("plate", 0.0), prompt=ALL, sees=nothing))
    assert len(memory.objects()) == 2


def test_sightings_are_counted_and_the_best_picture_kept(memory: Memory) -> None:
    for at_s, score, jpeg in ((1, 0.6, b"1"), (2, 0.9, b"2"), (3, 0.8, b"3"), (4, None, b"4"), (5, 0.9, b"5")):
        memory.look(glance(at_s, cup(0.1 * at_s, score=score, jpeg=jpeg)))
    thing = only(memory.objects())
    assert (thing.times_seen, thing.times_missed, thing.best_score) == (5, 0, 0.9)
    assert (thing.first_seen_ns, thing.last_seen_ns) == (START_NS + 10**9, START_NS + 5 * 10**9)
    assert memory.cutout(thing.id) == b"5"
    assert 0.9 < thing.belief < 1.0


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({}, "moved"),
        # Its old place was not in view, so it may still be there.
        ({"sees": nothing}, "new"),
        # Nobody asked for what was remembered there, or the answer has an end missing.
        ({"prompt": build_prompt("blue cup")}, "new"),
        ({"complete": False}, "new"),
    ],
)
def test_a_thing_that_stands_elsewhere_has_moved_where_its_place_is_empty(memory: Memory, change, outcome: str) -> None:
    memory.look(glance(1, cup(0.0)))
    changes = memory.look(glance(2, cup(3.0), **change))
    assert only(getattr(changes, outcome)).position_m == (3.0, 0.0, 0.0)
    assert len(memory.objects()) == (1 if outcome == "moved" else 2)


def test_of_two_cups_the_one_whose_place_is_empty_has_moved(memory: Memory) -> None:
    memory.look(glance(1, cup(0.0), cup(1.0)))
    memory.look(glance(2, cup(0.0), cup(3.0)))
    assert spots(memory) == {1: ("cup", 0.0), 2: ("cup", 3.0)}


@pytest.mark.parametrize(
    ("change", "misses"),
    [
        ({}, True),
        ({"sees": nothing}, False),
        ({"sees": lambda thing: thing.position_m[0] > 1.0}, False),
        ({"complete": False}, False),
        ({"prompt": build_prompt("person")}, False),
        ({"prompt": build_prompt("cup; person")}, True),
        ({"prompt": build_prompt("what is here?")}, False),
    ],
)
def test_what_is_asked_for_and_not_where_it_was_loses_belief(memory: Memory, change, misses: bool) -> None:
    first = only(memory.look(glance(1, cup())).new)
    changes = memory.look(glance(2, **change))
    after = only(memory.objects())
    assert (after.times_missed, after.belief < first.belief) == (int(misses), misses)
    assert changes.missed == ((after,) if misses else ())
    assert (after.last_seen_ns, after.position_m) == (first.last_seen_ns, first.position_m)


@pytest.mark.parametrize(("sightings", "misses"), [(1, 4), (20, 5)])
def test_what_is_missed_again_and_again_is_forgotten(memory: Memory, sightings: int, misses: int) -> None:
    for at_s in range(sightings):
        memory.look(glance(at_s, cup()))
    for at_s in range(misses - 1):
        assert memory.look(glance(30 + at_s)).missed
    assert only(memory.look(glance(60)).gone).belief < FORGOTTEN_BELOW
    assert memory.objects() == ()
    assert memory.find("cup") == ()


def test_belief_comes_back_with_a_sighting(memory: Memory) -> None:
    memory.look(glance(1, cup()))
    low = only(memory.look(glance(2)).missed)
    back = only(memory.look(glance(3, cup())).seen)
    assert (back.id, back.times_seen, back.times_missed) == (low.id, 2, 1)
    assert low.belief < 0.5 < back.belief


def test_over_the_bound_the_least_believed_and_oldest_go_first(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory.db", max_objects=3)
    memory.look(glance(1, cup(1.0, score=0.5)))
    memory.look(glance(2, cup(2.0, score=0.5), sees=nothing))
    memory.look(glance(3, cup(3.0, score=0.9), sees=nothing))
    # Less sure than any, but just seen.
    gone = memory.look(glance(4, cup(4.0, score=0.3), sees=nothing)).gone
    assert only(gone).position_m[0] == 1.0
    # More than fit in one glance: the surest stay.
    many = memory.look(glance(5, *(cup(5.0 + x, score=x / 10) for x in range(3, 8)), sees=nothing))
    assert [thing.best_score for thing in memory.objects()] == [0.7, 0.6, 0.5]
    assert {thing.best_score for thing in many.new} == {0.7, 0.6, 0.5}
    memory.close()


def test_a_late_answer_changes_nothing_but_the_picture(memory: Memory) -> None:
    first = only(memory.look(glance(100, cup(0.0))).new)
    late = only(memory.look(glance(95, cup(0.2, score=0.9, jpeg=b"sharper"))).seen)
    assert late == replace(first, best_score=0.9, has_cutout=True)
    assert not memory.look(glance(95))
    # Hours back is no answer that comes late: the clock was set.
    assert only(memory.look(glance(-7200, cup(0.2))).seen).position_m[0] == 0.2
    assert memory.look(glance(-9000)).missed


def test_an_image_counts_once_however_often_it_is_asked_about(memory: Memory) -> None:
    first = only(memory.look(glance(100, cup())).new)
    for _ in range(6):
        # Another prompt about the image that showed it, which has it not.
        assert not memory.look(glance(100))
    again = only(memory.look(glance(100, placed("red cup"))).seen)
    assert again == replace(first, label="red cup", phrase="cup")
    missed = only(memory.look(glance(101)).missed)
    assert (missed.times_missed, missed.last_missed_ns) == (1, START_NS + 101 * 10**9)
    for at_s in (101, 101, 100.5):
        assert not memory.look(glance(at_s))
    assert only(memory.look(glance(102)).missed).times_missed == 2


@pytest.mark.parametrize(
    ("late", "after"),
    [
        ({}, [("cup", 0.0)]),
        # The answer may be about another one, but who knows: the next one tells.
        ({"sees": nothing}, [("cup", 0.0)]),
        # Of another camera that did not see its place it is.
        ({"sees": nothing, "camera": "/back"}, [("cup", 0.0), ("cup", 2.0)]),
        ({"camera": "/back"}, [("cup", 0.0)]),
    ],
)
def test_a_late_answer_does_not_double_what_has_moved_since(memory: Memory, late, after) -> None:
    memory.look(glance(1000, cup(0.0)))
    changes = memory.look(
        replace(glance(970, cup(2.0), placed("plate", 5.0), prompt=build_prompt("cup; plate")), **late)
    )
    assert [found.label for found in changes.new if found.label == "plate"] == ["plate"]
    assert [spot for spot in spots(memory).values() if spot[0] == "cup"] == after


def test_a_late_answer_moves_no_other_thing_to_where_one_was_before(memory: Memory) -> None:
    memory.look(glance(900, cup(5.0)))
    memory.look(glance(1000, cup(0.0), sees=nothing))
    assert not memory.look(glance(970, cup(2.0))).moved
    assert spots(memory) == {1: ("cup", 5.0), 2: ("cup", 0.0)}


def test_another_frame_is_refused_until_the_memory_is_empty(memory: Memory) -> None:
    memory.look(glance(1, cup(), frame_id="map"))
    for refused in (lambda: memory.look(glance(2, cup(), frame_id="odom")), lambda: memory.check_frame("odom")):
        with pytest.raises(MemoryFileError, match=r"memory\.db remembers .* 'map', and 'odom' .* set target_frame"):
            refused()
    memory.check_frame("map")
    assert memory.forget(thing.id for thing in memory.objects()) == 1
    memory.check_frame("odom")
    memory.look(glance(3, cup(), frame_id="odom"))
    assert only(memory.objects()).frame_id == "odom"


def test_what_is_forgotten_is_gone_with_its_picture_and_its_id(memory: Memory) -> None:
    memory.look(glance(1, cup(0.0, jpeg=b"first picture"), cup(1.0)))
    assert memory.forget([1, 1, 7]) == 1
    assert spots(memory) == {2: ("cup", 1.0)}
    assert memory.cutout(1) is None
    assert memory.forget([2]) == 1
    assert only(memory.look(glance(2, cup())).new).id == 3
    left = b"".join(path.read_bytes() for path in memory.path.parent.iterdir())
    assert b"first picture" not in left


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: placed("cup", math.nan), "is at .*nan"),
        (lambda: placed("cup", side=-1.0), "has the size"),
        (lambda: placed("cup", side=math.inf), "has the size"),
        (lambda: placed("cup", score=1.5), "score 1.5: give 0 to 1"),
        (lambda: placed("cup", jpeg=b"x" * (MAX_CUTOUT_BYTES + 1)), f"limit is {MAX_CUTOUT_BYTES}: make it smaller"),
        (lambda: glance(1, frame_id=""), "name the frame"),
        (lambda: Glance("map", 0, "", CUPS, (), everything), "stamp_ns is 0"),
        (lambda: Glance("map", LATEST_NS + 1, "", CUPS, (), everything), f"give 1 to {LATEST_NS}"),
    ],
)
def test_what_is_no_sighting_is_refused(make, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


names = st.sampled_from(["cup", "red cup", "plate", "", "\ud800\0", "杯子"])
metres = st.floats(-1e308, 1e308) | st.floats(-2.0, 2.0)
finds = st.builds(
    PlacedObject,
    names,
    st.tuples(metres, metres, metres),
    st.tuples(*[st.floats(0.0, 1e308) | st.just(0.1)] * 3),
    st.none() | st.floats(0.0, 1.0),
    st.none() | st.binary(max_size=5),
)
glances = st.lists(
    st.builds(
        glance,
        st.floats(0.0, 1e6),
        prompt=st.sampled_from([CUPS, ALL, build_prompt("plate; cup"), build_prompt("what is it?")]),
        sees=st.sampled_from([everything, nothing, lambda thing: thing.position_m[0] < 0.0]),
        complete=st.booleans(),
    ).flatmap(
        lambda made: st.lists(finds, max_size=6).map(
            lambda objects: Glance(
                made.frame_id, made.stamp_ns, made.camera, made.prompt, tuple(objects), made.sees, made.complete
            )
        )
    ),
    max_size=8,
)


@settings(max_examples=30)
@given(glances, st.integers(1, 5))
def test_whatever_is_seen_the_rules_hold(seen: list[Glance], bound: int) -> None:
    with TemporaryDirectory() as folder:
        memory = Memory(Path(folder) / "memory.db", max_objects=bound)
        for each in seen:
            before = {thing.id: thing for thing in memory.objects()}
            changes = memory.look(each)
            after = {thing.id: thing for thing in memory.objects()}
            assert len(after) <= bound
            assert all(FORGOTTEN_BELOW <= thing.belief <= 1.0 for thing in after.values())
            # What was told is what is there.
            told = {t.id: t for t in (*changes.new, *changes.seen, *changes.moved, *changes.missed)}
            assert told.items() <= after.items()
            gone = {thing.id for thing in changes.gone}
            assert after.keys() == (before.keys() | {thing.id for thing in changes.new}) - gone
            assert all(before[id] == after[id] for id in after.keys() - told.keys())
            # Each find is one thing, and no two are the same.
            finds = [thing.id for thing in (*changes.new, *changes.seen, *changes.moved)]
            assert len(finds) == len(set(finds)) <= len(each.objects)
        closed = memory.objects()
        pictures = [memory.cutout(thing.id) for thing in closed]
        memory.close()
        again = Memory(Path(folder) / "memory.db", max_objects=bound)
        assert again.objects() == closed
        assert [again.cutout(thing.id) for thing in closed] == pictures
        again.close()


def steps(longest_m: float) -> st.SearchStrategy[XYZ]:
    """Anywhere within this distance."""
    return st.tuples(*[st.floats(-1.0, 1.0)] * 3).map(
        lambda way: tuple(longest_m * part / max(1.0, math.hypot(*way)) for part in way)  # type: ignore[return-value]
    )


@settings(max_examples=20)
@given(
    st.lists(st.tuples(steps(0.29), st.sampled_from(["cup", "the cups", "red cup", "mug"]), st.booleans()), max_size=8),
    st.integers(1, 3),
)
def test_things_that_stand_apart_are_never_doubled(walk: list[tuple[XYZ, str, bool]], count: int) -> None:
    """Each of some things, 10 m apart, is seen again and again, a little beside itself and under many names."""
    with TemporaryDirectory() as folder:
        memory = Memory(Path(folder) / "memory.db")
        at = [0.0, 0.0, 0.0]
        memory.look(glance(0, *(cup(10.0 * number) for number in range(count))))
        for step, (way, label, sees) in enumerate(walk):
            at = [here + by for here, by in zip(at, way, strict=True)]
            found = (
                PlacedObject(label, (10.0 * number + at[0], at[1], at[2]), (0.1, 0.1, 0.1), 0.7)
                for number in range(count)
            )
            memory.look(glance(step + 1, *found, sees=everything if sees else nothing))
        assert [thing.times_seen for thing in memory.objects()] == [len(walk) + 1] * count
        memory.close()
