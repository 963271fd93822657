"""How `benchmarks.tracks` asks, scores and reports."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.tracks import __main__ as program
from benchmarks.tracks.aims import beside_aims
from benchmarks.tracks.clips import WAYS
from benchmarks.tracks.detector import Arrival, Late, NoisyTruth, result_of
from benchmarks.tracks.films import Film, Shot, TrueBox, frame_at
from benchmarks.tracks.methods import Best, Hold, Ours, Velocity, iou_of
from benchmarks.tracks.score import FilmScore, figures, find_measures
from vlm_perception.types import XYXY, DetectedObject, Frame, Result

BLANK = np.zeros((180, 320, 3), np.uint8)
PERIOD_S = 1 / 30
needs_measures = pytest.mark.skipif(find_measures() is None, reason="the package trackers is not installed")


def at(index: int) -> Frame:
    return frame_at(BLANK, index * PERIOD_S)


def shot(index: int, *truth: XYXY) -> Shot:
    return Shot(at(index), tuple(TrueBox(number, "red cart", box) for number, box in enumerate(truth)))


def answer(index: int, *boxes: XYXY) -> Result:
    return result_of(at(index), tuple(DetectedObject("red cart", box, None) for box in boxes))


@pytest.mark.parametrize(("delay_s", "asked"), [(0.02, [0, 0, 1, 1, 2]), (0.1, [0, 3, 6, 9]), (0.25, [0, 7, 15])])
def test_the_next_question_is_about_the_newest_frame_when_the_answer_came(delay_s: float, asked: list[int]) -> None:
    detector, about, came_s = Late(delay_s, lambda shot: result_of(shot.frame, ())), [], []
    for index in range(40):
        for arrival in detector.until(index * PERIOD_S):
            about.append(round(arrival.result.request.frame.received_s / PERIOD_S))
            came_s.append(arrival.at_s)
            assert (index - 1) * PERIOD_S <= arrival.at_s < index * PERIOD_S
        detector.see(shot(index))
    assert about[: len(asked)] == asked
    assert np.diff(came_s) == pytest.approx(delay_s)


def test_the_noisy_truth_is_two_pixels_off_and_now_and_then_wrong() -> None:
    look = NoisyTruth(0)
    true: XYXY = (100.0, 50.0, 180.0, 120.0)
    answers = [look(shot(index, true)).objects for index in range(2000)]
    boxes = np.array([thing.xyxy for things in answers for thing in things])
    off = boxes - true
    right = np.abs(off).max(1) < 12.0
    assert off[right].std() == pytest.approx(2.0, abs=0.2)
    assert right.sum() / 2000 == pytest.approx(0.95, abs=0.02)
    assert (~right).sum() / 2000 == pytest.approx(0.01, abs=0.01)


A, B = (0.0, 0.0, 10.0, 10.0), (50.0, 0.0, 60.0, 10.0)
HALF_OF_A = (0.0, 0.0, 10.0, 5.0)


@pytest.mark.parametrize(
    ("published", "mean_iou"),
    [
        ([("1", A), ("2", B)], 1.0),
        ([("1", B), ("2", A)], 1.0),
        ([("1", A)], 0.5),
        ([("1", HALF_OF_A), ("2", B)], 0.75),
        ([("1", A), ("2", B), ("3", (80.0, 0.0, 90.0, 10.0))], 1.0),
        ([], 0.0),
    ],
)
def test_a_miss_counts_nothing(published: Sequence[tuple[str, XYXY]], mean_iou: float) -> None:
    score = FilmScore()
    score.add([(0, A), (1, B)], list(published))
    assert figures([score])["mean_iou"] == pytest.approx(mean_iou)


@needs_measures
@pytest.mark.parametrize(
    ("later", "switches_per_1000", "perfect"),
    [([("1", A), ("2", B)], 0.0, True), ([("2", A), ("1", B)], 100.0, False), ([("1", A), ("3", B)], 50.0, False)],
)
def test_ids_that_change_are_switches(later: list[tuple[str, XYXY]], switches_per_1000: float, perfect: bool) -> None:
    score = FilmScore()
    for index in range(10):
        score.add([(0, A), (1, B)], [("1", A), ("2", B)] if index < 5 else later)
    found = figures([score])
    assert found["id_switches_per_1000"] == switches_per_1000
    assert (found["hota"] == 1.0, found["idf1"] == 1.0) == (perfect, perfect)


def test_holding_stays_and_velocity_goes_on() -> None:
    hold, velocity = Hold(), Velocity()
    for index, left in ((0, 100.0), (6, 112.0)):
        for method in (hold, velocity):
            method.answer(Arrival((index + 3) * PERIOD_S, answer(index, (left, 50.0, left + 40.0, 90.0)), ()))
    ((held, stays),) = hold.frame(shot(12))
    ((named, goes),) = velocity.frame(shot(12))
    assert stays == (112.0, 50.0, 152.0, 90.0)
    assert goes == pytest.approx((124.0, 50.0, 164.0, 90.0))
    assert held == named


def test_the_best_that_following_can_do_moves_and_scales_what_an_answer_told_of() -> None:
    then = (TrueBox(0, "cart", A, (5.0, 5.0), 1.0), TrueBox(1, "cart", B, (55.0, 5.0), 1.0))
    now = (TrueBox(0, "cart", HALF_OF_A, (25.0, 35.0), 2.0), TrueBox(1, "cart", B, (55.0, 5.0), 1.0))
    best = Best()
    best.answer(Arrival(0.1, answer(0, A), then))
    assert best.frame(Shot(at(5), now)) == [("0", (15.0, 25.0, 35.0, 45.0))]


@pytest.mark.parametrize("answers", [1, 2])
def test_a_catch_up_takes_its_time_beside_the_frames(answers: int) -> None:
    step_s, came_s = 0.01, 9 * PERIOD_S + 0.005
    ours, steps, done = Ours(step_s), [], []
    taken = list(Film("textured", 1, 0, 2.0, (320, 180)).shots())
    for index, now in enumerate(taken):
        if index == 10:
            for _ in range(answers):
                ours.answer(Arrival(came_s, NoisyTruth(0)(taken[0]), taken[0].truth))
        ours.frame(now)
        steps.append(len(ours.step_ms))
        done.append(len(ours.catch_up_ms))
    assert done[-1] == answers
    assert steps[9] == 0
    last = done.index(answers)
    # One after the other, and no more steps than there was time for.
    assert steps[10:last] == [int((index * PERIOD_S - came_s) / step_s) for index in range(10, last)]
    assert steps[last] == steps[-1]


@pytest.mark.parametrize(("way", "frames"), [("on", [10, 30, 40]), ("late", [30]), ("back", [60])])
def test_read_boxes_are_carried_to_where_they_were_read_again(way: str, frames: list[int]) -> None:
    taken = list(Film("textured", 1, 0, 2.0, (320, 180)).shots())
    boxes = {at: taken[at].truth[0].xyxy for at in (0, 10, 30, 40)}
    judged = list(WAYS[way]([each.frame.rgb for each in taken], {"thing": boxes, "short": {0: boxes[0]}}, 0))
    assert [later for later, _, _ in judged] == frames
    held = [float(iou_of([boxes[0]], [boxes[later % 60]])[0, 0]) for later in frames]
    assert [iou for _, iou, _ in judged] == pytest.approx(held)
    assert all(ours > 0.5 for _, _, ours in judged)


def test_rows_stand_beside_the_aims_for_few_and_for_many_objects() -> None:
    row = {"method": "ours", "delay_s": 1.0, "hota": 0.5, "idf1": 0.5, "id_switches_per_1000": None}
    few, many = beside_aims(
        [
            row | {"objects": 1, "boxes": 100, "mean_iou": 0.9},
            row | {"objects": 4, "boxes": 300, "mean_iou": 0.8},
            row | {"objects": 12, "boxes": 900, "mean_iou": 0.7},
        ]
    )
    assert (few["mean_iou"], few["aim"], few["at_most"], few["id_switches_per_1000"]) == (0.825, 0.82, 1.0, None)
    assert (many["mean_iou"], many["aim"], many["at_most"]) == (0.7, 0.74, 2.0)


def test_the_report_has_a_row_for_each_film_delay_and_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "tracks.json"
    chosen = ["--films", "flat", "--objects", "1", "--delays", "0.2", "--seeds", "0", "--seconds", "0.5"]
    monkeypatch.setattr(sys, "argv", ["tracks", "--quick", *chosen, "--output", str(output)])
    program.main()
    found = json.loads(output.read_text(encoding="utf-8"))
    assert [row["method"] for row in found["rows"]] == ["hold", "velocity", "ours", "best"]
    wanted = {
        "film",
        "objects",
        "delay_s",
        "method",
        "mean_iou",
        "hota",
        "idf1",
        "id_switches_per_1000",
        "ms_per_frame",
    }
    assert all(wanted <= set(row) for row in found["rows"])
    assert all(0.0 < row["mean_iou"] <= 1.0 for row in found["rows"])
    assert "| flat | truth | 1 | 0.2 | ours |" in capsys.readouterr().out
