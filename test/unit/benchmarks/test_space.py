"""The benchmark of places: the aims hold, and taking depth and transform at the answer is seen to be wrong."""

from __future__ import annotations

from benchmarks import space


def test_places_are_as_good_from_a_moving_base() -> None:
    found = {(row.base, row.method, row.delay_s): row for row in space.rows(rooms=1, asks=3)}
    assert {key[0] for key in found} == {"still", "moving"}
    for (_, method, _), row in found.items():
        if method == "ours":
            assert row.position_error_m_median < 0.02
            assert row.size_error_m_median < 0.02
            assert row.no_place == 0
    # The base swings once a second: half of one is where it is farthest off.
    assert found["moving", "at_answer", 0.5].position_error_m_median > 0.1
