"""Boxes of late answers lie on the things of the newest frame, in drawn films whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from results import answer_about

from vlm_perception.types import XYXY, DetectedObject, Frame, FrameHeader, Prompt, Result, Task
from vlm_perception.world import kept_frames
from vlm_perception.world.boxes import iou
from vlm_perception.world.kept_frames import KeptFrames, shrink
from vlm_perception.world.scene_cut import is_cut
from vlm_perception.world.tracker import Tracker
from vlm_perception.world.tracks import Tracks

RATE_HZ = 30.0
WH = (640, 480)
CUPS = Prompt("cups", Task.DETECT, "find cups", ("cup",))
Place = Callable[[float], tuple[float, float]]


def texture(seed: int, coarse: int, wh: tuple[int, int]) -> NDArray[np.uint8]:
    small = np.random.default_rng(seed).integers(0, 255, (wh[1] // coarse, wh[0] // coarse, 3), np.uint8)
    return np.asarray(cv2.resize(small, wh, interpolation=cv2.INTER_CUBIC), np.uint8)


ROOM, OTHER_ROOM = texture(1, 16, (1400, 900)), texture(5, 16, (1400, 900))
LOOKS = {
    "flat": np.full((100, 100, 3), (220, 40, 30), np.uint8),
    "textured": texture(2, 10, (100, 100)),
}


PASSER = texture(3, 8, (90, 160))


class Film:
    """A square thing before a room; where it is, how it turns and what hides it are functions of the time."""

    def __init__(
        self,
        thing: Place,
        *,
        look: str = "textured",
        camera: Place = lambda at_s: (0.0, 0.0),
        turned_deg: Callable[[float], float] = lambda at_s: 0.0,
        hidden: Callable[[float], bool] = lambda at_s: False,
        light: Callable[[float], float] = lambda at_s: 1.0,
        passer: Callable[[float], float] | None = None,
        cut_s: float = 1e9,
    ) -> None:
        self._thing, self._look, self._camera = thing, LOOKS[look], camera
        self._turned_deg, self._hidden, self._cut_s = turned_deg, hidden, cut_s
        self._light, self._passer = light, passer

    def frame(self, index: int) -> Frame:
        at_s = index / RATE_HZ
        room = ROOM if at_s < self._cut_s else OTHER_ROOM
        x, y = (round(value) for value in self._camera(at_s))
        rgb = room[200 + y : 200 + y + WH[1], 300 + x : 300 + x + WH[0]].copy()
        if not self._hidden(at_s) and at_s < self._cut_s:
            centre = self._centre(at_s)
            matrix = cv2.getRotationMatrix2D((49.5, 49.5), -self._turned_deg(at_s), 1.0)
            matrix[:, 2] += centre - 49.5
            cv2.warpAffine(self._look, matrix, WH, rgb, borderMode=cv2.BORDER_TRANSPARENT)
        if self._passer is not None:
            x = round(self._passer(at_s))
            left, right = max(x, 0), max(min(x + PASSER.shape[1], WH[0]), 0)
            rgb[160:320, left:right] = PASSER[:, left - x : right - x]
        rgb = cv2.convertScaleAbs(rgb, alpha=self._light(at_s))
        return Frame(rgb, FrameHeader(int(at_s), round(at_s % 1 * 1e9), "camera"), "/image", 10.0 + at_s)

    def truth(self, index: int) -> XYXY:
        at_s = index / RATE_HZ
        x, y = self._centre(at_s)
        angle = np.radians(self._turned_deg(at_s))
        half = 50.0 * (abs(np.cos(angle)) + abs(np.sin(angle)))
        return max(x - half, 0.0), max(y - half, 0.0), min(x + half, WH[0]), min(y + half, WH[1])

    def _centre(self, at_s: float) -> NDArray[np.float64]:
        return np.array(self._thing(at_s)) - np.round(self._camera(at_s))


def result(asked: Frame, *boxes: XYXY) -> Result:
    return answer_about(asked, *(DetectedObject("cup", box, None) for box in boxes), prompt=CUPS)


def new_tracker() -> Tracker:
    tracker = Tracker(count(1), lost_after_s=2.0)
    tracker.set_prompts([CUPS])
    return tracker


def catch_up(tracker: Tracker, answer: Result) -> None:
    late = tracker.start_catch_up(tracker.identify(answer))
    assert late is not None
    while late.step():
        pass
    tracker.finish_catch_up(late)


def play(film: Film, frames: int, answered_at: int = 30) -> list[Tracks]:
    """Show frames; the answer about the first one comes when another has come. Tells the tracks from then on."""
    tracker, told = new_tracker(), []
    for index in range(frames):
        tracks = tracker.advance(film.frame(index))
        if index == answered_at:
            catch_up(tracker, result(film.frame(0), film.truth(0)))
            tracks = tracker.advance(film.frame(index))
        if index >= answered_at:
            told.append(tracks)
    return told


def still(x: float = 320.0, y: float = 240.0) -> Place:
    return lambda at_s: (x, y)


def moving(at_s: float) -> tuple[float, float]:
    return 150.0 + 150.0 * at_s, 150.0 + 60.0 * at_s


def shaking(at_s: float) -> tuple[float, float]:
    return 60.0 * at_s + 8.0 * np.sin(20.0 * at_s), 8.0 * np.cos(17.0 * at_s)


FILMS = {
    "moves": Film(moving),
    "flat one moves": Film(moving, look="flat"),
    "camera pans and shakes": Film(still(), camera=shaking),
    "flat one before a shaking camera": Film(moving, look="flat", camera=shaking),
    "it grows dark": Film(moving, light=lambda at_s: 1.0 - 0.3 * at_s),
    "flat one turns": Film(moving, look="flat", turned_deg=lambda at_s: 25.0 * at_s),
}


@pytest.mark.parametrize("film", FILMS.values(), ids=FILMS)
def test_a_late_answer_lies_on_the_newest_frame(film: Film) -> None:
    told = play(film, 60)
    assert {track.object.id for tracks in told for track in tracks.tracks} == {"1"}
    overlaps = [
        iou(tracks.tracks[0].object.xyxy or film.truth(0), film.truth(30 + at)) for at, tracks in enumerate(told)
    ]
    assert min(overlaps) > 0.75, overlaps
    assert iou(film.truth(0), film.truth(59)) < 0.75, "who holds the box would pass"
    last = told[-1].tracks[0]
    assert last.carried
    assert last.seen.stamp_sec == 0
    assert last.seen_age_s == pytest.approx(59 / RATE_HZ)
    assert 0.4 < last.certainty <= 1.0
    assert len(last.trail_xy) > 20


def test_points_and_names_go_along() -> None:
    film = Film(moving)
    tracker = new_tracker()
    for index in range(21):
        tracker.advance(film.frame(index))
    asked = result(film.frame(0), film.truth(0))
    corner = (film.truth(0)[0] + 10.0, film.truth(0)[1] + 10.0)
    thing = replace(asked.objects[0], point_xy=corner, keypoints={"ear": corner}, polygon=(corner,))
    catch_up(tracker, replace(asked, objects=(thing,)))
    (track,) = tracker.advance(film.frame(20)).tracks
    expected = np.array(corner) + np.array(moving(20 / RATE_HZ)) - np.array(moving(0.0))
    for point in (track.object.point_xy, track.object.keypoints["ear"], track.object.polygon[0]):
        assert point is not None
        assert np.hypot(*(np.array(point) - expected)) < 6.0


@pytest.mark.parametrize(
    "film",
    [
        Film(lambda at_s: (320.0 + 420.0 * max(0.0, at_s - 1.0), 240.0)),
        Film(still(), hidden=lambda at_s: at_s > 1.2),
        Film(still(), cut_s=1.3),
    ],
    ids=["it leaves", "it is hidden", "the scene is cut"],
)
def test_what_is_not_seen_any_more_is_not_told(film: Film) -> None:
    told = play(film, 100)
    assert told[0].tracks
    assert not told[-1].tracks


def test_what_was_hidden_for_a_moment_keeps_its_id() -> None:
    film = Film(still(), hidden=lambda at_s: 1.2 < at_s < 1.6)
    told = play(film, 70)
    assert [track.object.id for track in told[-1].tracks] == ["1"]
    assert told[-1].tracks[0].certainty > 0.8


@pytest.mark.parametrize("look", LOOKS)
def test_what_passes_before_a_thing_does_not_take_its_box_along(look: str) -> None:
    film = Film(still(), look=look, passer=lambda at_s: 400.0 * (at_s - 1.0) - 90.0)
    told = play(film, 85)
    (track,) = told[-1].tracks
    assert track.object.id == "1"
    assert iou(track.object.xyxy or (0.0, 0.0, 1.0, 1.0), film.truth(84)) > 0.8


DARK = np.full((180, 320, 3), 3, np.uint8)
VIEW = ROOM[:720, :1280]


@pytest.mark.parametrize(
    ("before", "after", "cut"),
    [
        (VIEW, OTHER_ROOM[:720, :1280], True),
        (VIEW, cv2.convertScaleAbs(VIEW, alpha=0.5), False),
        (VIEW, ROOM[:720, 60:1340], False),
        (DARK, DARK + np.random.default_rng(0).integers(0, 4, DARK.shape, np.uint8), False),
    ],
    ids=["another room", "less light", "a fast turn", "darkness"],
)
def test_only_another_scene_is_a_cut(before: NDArray[np.uint8], after: NDArray[np.uint8], cut: bool) -> None:
    frames = [shrink(Frame(np.ascontiguousarray(rgb), received_s=at_s)) for at_s, rgb in enumerate((before, after))]
    assert is_cut(*frames) is cut


def test_an_answer_about_the_scene_before_a_cut_is_not_followed() -> None:
    film = Film(still(), cut_s=0.5)
    tracker = new_tracker()
    for index in range(30):
        tracker.advance(film.frame(index))
    named = tracker.identify(result(film.frame(0), film.truth(0)))
    assert named.objects[0].id
    assert tracker.start_catch_up(named) is None
    assert not tracker.advance(film.frame(31)).tracks


def test_a_camera_that_looks_away_and_back_shows_the_same_thing() -> None:
    film = Film(still(), camera=lambda at_s: (380.0 * np.sin(np.pi * min(max(at_s - 1.0, 0.0), 1.5) / 1.5), 0.0))
    tracker = new_tracker()
    ids = []
    for index in range(84):
        tracker.advance(film.frame(index))
        if index in (1, 78):
            named = tracker.identify(result(film.frame(index), film.truth(index)))
            ids.append(named.objects[0].id)
            late = tracker.start_catch_up(named)
            assert late is not None
            tracker.finish_catch_up(late)
    assert ids == ["1", "1"]


def test_frames_that_are_not_newer_move_nothing() -> None:
    film = Film(moving)
    tracker = new_tracker()
    for index in (0, 1, 2):
        tracker.advance(film.frame(index))
    catch_up(tracker, result(film.frame(0), film.truth(0)))
    (before,) = tracker.advance(film.frame(2)).tracks
    (after,) = tracker.advance(film.frame(1)).tracks
    assert after.object == before.object


def test_frames_are_kept_within_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    film = Film(still())
    one = shrink(film.frame(0))
    assert one.rgb.shape == (240, 320, 3)
    assert one.scale == 2.0
    monkeypatch.setattr(kept_frames, "MOST_BYTES", 60 * one.n_bytes)
    kept = KeptFrames()
    kept.ask(one.received_s + 0.1)
    for index in range(240):
        kept.add(replace(one, received_s=one.received_s + index / RATE_HZ))
    assert sum(each.n_bytes for each in kept.frames) <= 60 * one.n_bytes
    gaps_s = np.diff([each.received_s for each in kept.frames])
    assert gaps_s[-29:].max() < 1.5 / RATE_HZ, "the newest are all there"
    assert gaps_s.max() <= 0.2 + 1e-6, "no gap is wider than motion can be followed across"
    assert kept.frames[-1].received_s - kept.frames[0].received_s > 4.0, "older ones are thinned, not dropped"


def test_a_frame_that_the_model_has_is_not_thinned() -> None:
    one = shrink(Film(still()).frame(0))
    kept = KeptFrames()
    asked_s = [one.received_s + at / RATE_HZ for at in (41, 42, 43)]
    for each in asked_s:
        kept.ask(each)
    for index in range(180):
        kept.add(replace(one, received_s=one.received_s + index / RATE_HZ))
    assert all(kept.at(each) is not None for each in asked_s)


def test_moves_since_the_model_saw_them_are_told() -> None:
    film = Film(moving)
    tracker = new_tracker()
    for index in range(31):
        tracker.advance(film.frame(index))
        if index == 10:
            assert not tracker.moves(film.frame(10), CUPS)
            catch_up(tracker, result(film.frame(0), film.truth(0)))
            catch_up(tracker, result(film.frame(10), film.truth(10)))
    (move,) = tracker.moves(film.frame(30), CUPS)
    assert np.hypot(*(np.array(move.from_xy) - moving(10 / RATE_HZ))) < 1.0
    assert np.hypot(*(np.array(move.to_xy) - moving(30 / RATE_HZ))) < 5.0
    assert not tracker.moves(film.frame(30), replace(CUPS, instruction="find hats"))
