"""`vlm-detect --compare` in this process, with engines that say what they are told to; test/model has real ones."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from recorded_bags import START_S, camera, write_bag
from results import result_of
from scripted_server import Body, Reply, boxes_text, image_of, serving
from spoken import SpokenEngine

from vlm_perception.apps.detect import command as cli
from vlm_perception.apps.detect.compare.agreement import Agreement, agreed_share, agreement_of
from vlm_perception.apps.detect.compare.answers import Answers
from vlm_perception.apps.detect.compare.comparison import Comparison
from vlm_perception.apps.detect.compare.contact_sheet import write_sheet
from vlm_perception.apps.detect.compare.variants import Variant, read_variants
from vlm_perception.apps.detect.inputs import Picture
from vlm_perception.drawing.annotate import annotate
from vlm_perception.engines.base import OnText, ShouldStop, ignore_text
from vlm_perception.engines.factory import make_engine
from vlm_perception.errors import DeviceLostError, InferenceError, ModelLoadError, PromptError, SettingsError
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.settings import Settings
from vlm_perception.startup.arguments import resolve_model
from vlm_perception.types import XYXY, Answer, DetectedObject, Request, Timings

CUP = '{"bbox_2d": [4, 6, 20, 30], "label": "cup"}'
SAW = '{"bbox_2d": [30, 1, 60, 40], "label": "saw"}'
EMPTY_BOX = '{"bbox_2d": [5, 5, 5, 5], "label": "cup"}'


class TimedEngine(SpokenEngine):
    """Says one reply after the other, and that each took so long."""

    def __init__(self, diary: list[str], name: str, replies: Sequence[str], took_s: float = 0.5) -> None:
        super().__init__()
        self.diary, self.letter, self.replies, self.took_s = diary, name, replies, took_s

    def load(self) -> None:
        super().load()
        self.diary.append(f"load {self.letter}")

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        self.reply = self.replies[min(len(self.requests), len(self.replies) - 1)]
        timings = Timings(0.1, self.took_s - 0.1, 0.0)
        return replace(super().answer(request, should_stop, on_text), timings=timings)

    def close(self) -> None:
        super().close()
        self.diary.append(f"close {self.letter}")


class Bench:
    """An engine for each variant, in order."""

    def __init__(self, *replies: Sequence[str]) -> None:
        self.diary: list[str] = []
        self.engines = [TimedEngine(self.diary, "ABCD"[n], said, 0.5 + n) for n, said in enumerate(replies)]
        self.left = list(self.engines)

    def make(self, settings: Settings) -> TimedEngine:
        engine = self.left.pop(0)
        engine.make(settings)
        return engine


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three images, beside which results are written."""
    (tmp_path / "pictures").mkdir()
    for name in "abc":
        Image.new("RGB", (64, 48)).save(tmp_path / "pictures" / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "pictures"


def compare(bench: Bench, *arguments: str, variants: Sequence[str] = ("tiny", "max_pixels=90000")) -> int:
    compared = [part for text in variants for part in ("--compare", text)]
    return cli.main([*arguments, *compared, "--prompt", "cup; saw"], bench.make)


def written(path: str = "comparison.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path).read_text())
    return found


BOTH = f"[{CUP},\n{SAW}]"
TWO = ([BOTH], [BOTH, f"[{CUP},\n{EMPTY_BOX}]", "[]"])


def test_all_are_asked_about_all_pictures_one_model_after_the_other(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(*TWO)
    assert compare(bench, "pictures", "--topic", "/front") == 0
    assert bench.diary == ["load A", "close A", "load B", "close B"]
    assert [[request.frame.camera for request in each.requests] for each in bench.engines] == [
        [f"pictures/{name}.png" for name in "abc"]
    ] * 2
    assert [each.settings and (each.settings.model, each.settings.max_pixels) for each in bench.engines] == [
        (resolve_model("tiny"), Settings().max_pixels),
        (Settings().model, 90000),
    ]
    out, err = capsys.readouterr()
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in out.splitlines()]
    figures = ["answered", "failed", "objects", "agreement", "latency_p50_s", "latency_p95_s", "rejects"]
    assert rows[0] == ["compared", *figures]
    assert rows[2] == ["A", "tiny", "3", "0", "6", "-", "0.500", "0.500", "0"]
    # Three of its three are of the other's six.
    assert rows[3] == ["B", "max_pixels=90000", "3", "0", "3", "0.667", "1.500", "1.500", "1"]
    assert out.splitlines()[-1] == "3 pictures, 2 about which they differ; wrote comparison.json and comparison.png"
    assert "vlm-detect: A: tiny: 3 answered, 6 objects, 0 failed" in err.splitlines()
    assert err.count("--topic is of bags, and 3 of 3 inputs are none") == 1


def test_everything_is_in_the_json(pictures: Path) -> None:
    assert compare(Bench(*TWO), "pictures", "--output", "sub/found.json") == 0
    found = written("sub/found.json")
    assert Path("sub/found.png").exists()
    first, second = found["variants"]
    assert (first["letter"], first["given"], first["prompt"], first["agreement"]) == ("A", "tiny", "cup; saw", None)
    assert (second["settings"]["max_pixels"], second["agreement"]) == (90000, pytest.approx(2 / 3))
    assert found["complete"] is True
    assert [(each["source"], each["differing"]) for each in found["frames"]] == [
        ("pictures/a.png", 0),
        ("pictures/b.png", 1),
        ("pictures/c.png", 2),
    ]
    told = found["frames"][1]["answers"]
    assert [item["label"] for item in told["A"]["objects"]] == ["cup", "saw"]
    assert (told["B"]["image_wh"], len(told["B"]["rejects"])) == ([64, 48], 1)


@pytest.mark.parametrize(
    ("text", "model", "prompt", "changed"),
    [
        ("", "base", "asked", {}),
        ("tiny", resolve_model("tiny"), "asked", {}),
        ("/a folder/of mine", "/a folder/of mine", "asked", {}),
        ("http://host:8000/v1 served-model=big", "http://host:8000/v1", "asked", {"served_model": "big"}),
        (" model=x/y  max_pixels=90000 zoom=auto ", "x/y", "asked", {"max_pixels": 90000, "zoom": "auto"}),
        ("prompt=a red cup; person score-threshold=0.5", "base", "a red cup; person", {"score_threshold": 0.5}),
        ("quantize=int8 prompt=-1 is written there", "base", "-1 is written there", {"quantize": "int8"}),
    ],
)
def test_a_variant_is_the_command_s_options_with_its_own(
    text: str, model: str, prompt: str, changed: dict[str, object]
) -> None:
    options = cli.parser().parse_args(
        ["x.png", "--model", "base", "--prompt", "asked", "--min-pixels", "4000", "--compare", text, "--compare", ""]
    )
    variant, other = read_variants(options, cli.COMPARED)
    assert variant.settings == Settings.from_mapping({"model": model, "min_pixels": 4000, **changed})
    assert (variant.letter, variant.text, variant.prompt) == ("A", text.strip(), build_prompt(prompt))
    assert (other.letter, other.title, other.prompt.text) == ("B", "B", "asked")


WORDS = st.sampled_from(
    ["tiny", "=", " ", "prompt=", "max_pixels=", "--max-pixels=3", "zoom=auto", "-x", "90000", "\n"]
)


@given(st.lists(WORDS | st.text(max_size=5), max_size=6).map("".join))
def test_whatever_is_written_is_a_variant_or_told(text: str) -> None:
    options = cli.parser().parse_args(["x.png", "--prompt", "asked", "--compare", "tiny", "--compare", "tiny"])
    options.compare[1] = text
    with suppress(SettingsError, PromptError):
        _, variant = read_variants(options, cli.COMPARED)
        assert variant.text == text.strip()


@pytest.mark.parametrize(
    ("variants", "more", "said"),
    [
        (["tiny"], [], "1 --compare: give 2 to 8"),
        ([""] * 9, [], "9 --compare: give 2 to 8"),
        (["", "max_pixel=3"], [], "there is no max_pixel; did you mean max_pixels?"),
        (["", "xyz=3"], [], "there is no xyz; known: model, "),
        (["", "watch_rate_hz=1"], [], "there is no watch_rate_hz"),
        (["", "tiny model=other"], [], "model is given twice"),
        (["", "max_pixels=many"], [], "invalid int value: 'many'"),
        (["", "max_pixels=10"], [], "--compare 'max_pixels=10': max_pixels is 10"),
        (["", "task=segment"], [], "invalid choice: 'segment'"),
        (["", "prompt= "], [], "--compare 'prompt= ': "),
        (["", "prompt=watch: what happened?"], [], "films as a whole are not compared"),
        (["", ""], ["--stream"], "leave --stream out"),
        (["", ""], ["--annotated", "there", "--output-bag", "there"], "leave --annotated, --output-bag out"),
        (["", ""], ["--depth-topic", "/depth"], "leave --depth-topic out"),
        (["", ""], ["--depth-topic", "/depth", "--target-frame", "map"], "leave --depth-topic, --target-frame out"),
        (["", ""], ["--tracking", "ids", "--lost-after-s", "2"], "leave --tracking, --lost-after-s out"),
        (["", ""], ["--format", "coco"], "leave --format coco out"),
        (["", ""], ["--output", "-"], "name a file such as"),
        (["", ""], ["--output", "found.png"], "name a file such as"),
        (["", ""], ["--output", "pictures/a.png/found.json"], "cannot write"),
    ],
)
def test_what_cannot_work_ends_with_2_before_a_model_is_loaded(
    pictures: Path, variants: list[str], more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench([BOTH], [BOTH])
    assert compare(bench, "pictures", *more, variants=variants) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1
    assert bench.diary == []


def test_each_may_have_a_prompt_of_its_own_and_one_is_needed(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench([BOTH], ['[{"bbox_2d": [4, 6, 20, 31], "label": "mug"}]'])
    arguments = ["pictures/a.png", "--compare", "prompt=cup", "--compare", "prompt=mug"]
    assert cli.main(arguments, bench.make) == 0
    assert [each.requests[0].prompt.text for each in bench.engines] == ["cup", "mug"]
    # One in both places, whatever it is called there; the saw is of A alone.
    assert written()["variants"][1]["agreement"] == pytest.approx(2 / 3)
    assert cli.main([*arguments[:3], "--compare", "tiny"], bench.make) == 2
    assert "--compare 'tiny': there is no prompt: give --prompt, or prompt=TEXT" in capsys.readouterr().err


def test_what_fails_is_told_and_counted_and_the_rest_is_compared(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "b.png").write_bytes(b"no image")
    bench = Bench([BOTH], [BOTH])

    def fail(number: int) -> None:
        if number == 2:
            raise InferenceError("out of memory; lower max_pixels")

    bench.engines[1].before_answer = fail
    assert compare(bench, "pictures", "missing.png") == 1
    err = capsys.readouterr().err.splitlines()
    assert [line for line in err if "out of memory" in line] == [
        "vlm-detect: B: pictures/c.png: out of memory; lower max_pixels"
    ]
    # Once, although both met it.
    assert sum("b.png cannot be decoded" in line for line in err) == 1
    assert sum("missing.png does not exist" in line for line in err) == 1
    found = written()
    assert [(each["answered"], each["failed"]) for each in found["variants"]] == [(2, 2), (1, 3)]
    told = {each["source"]: each for each in found["frames"]}
    assert list(told) == ["missing.png", *(f"pictures/{name}.png" for name in "abc")]
    assert [each["differing"] for each in told.values()] == [None, 0, None, None]
    assert "cannot be decoded" in told["pictures/b.png"]["answers"]["A"]["error"]
    assert "out of memory" in told["pictures/c.png"]["answers"]["B"]["error"]


def test_fail_fast_ends_it_at_the_first_failure(pictures: Path) -> None:
    (pictures / "b.png").write_bytes(b"no image")
    bench = Bench([BOTH], [BOTH])
    assert compare(bench, "pictures", "--fail-fast") == 1
    assert bench.diary == ["load A", "close A"]
    assert (written()["complete"], written()["variants"][1]["answered"]) == (False, 0)


def test_without_a_picture_no_model_is_loaded_and_nothing_written(pictures: Path) -> None:
    bench = Bench([BOTH], [BOTH])
    assert compare(bench, "missing.png") == 1
    assert "load A" not in bench.diary
    assert not Path("comparison.json").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_both_answered_before_a_signal_is_compared(
    pictures: Path, number: int, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench([BOTH], ["[]"])
    bench.engines[1].before_answer = lambda asked: os.kill(os.getpid(), number) if asked == 3 else None
    assert compare(bench, "pictures") == code
    found = written()
    assert (found["complete"], [each["answered"] for each in found["variants"]]) == (False, [3, 2])
    assert [each["differing"] for each in found["frames"]] == [2, 2, None]
    assert "2 pictures, 2 about which they differ" in capsys.readouterr().out
    assert Path("comparison.png").exists()


def test_ctrl_c_while_a_later_model_is_loaded_keeps_what_the_first_said(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench([BOTH], [BOTH])
    monkeypatch.setattr(bench.engines[1], "load", lambda: os.kill(os.getpid(), signal.SIGINT))
    assert compare(bench, "pictures") == 130
    assert [each["answered"] for each in written()["variants"]] == [3, 0]
    assert written()["complete"] is False


@pytest.mark.parametrize("lost_at", [0, 2])
def test_a_model_that_cannot_be_used_leaves_the_others_to_be_compared(
    pictures: Path, lost_at: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench([BOTH], [BOTH], [f"[{CUP}]"])

    def load() -> None:
        raise ModelLoadError("model folder x does not exist; set model to a folder")

    def lose(number: int) -> None:
        if number == lost_at:
            raise DeviceLostError("the GPU is lost; start the process again")

    if lost_at:
        bench.engines[1].before_answer = lose
    else:
        monkeypatch.setattr(bench.engines[1], "load", load)
    assert compare(bench, "pictures", variants=["tiny", "x", ""]) == 2
    found = written()
    assert [each["answered"] for each in found["variants"]] == [3, 1 if lost_at else 0, 3]
    assert [each["agreement"] for each in found["variants"]] == [None, 1.0 if lost_at else None, pytest.approx(2 / 3)]
    said = "the GPU is lost" if lost_at else "model folder x does not exist"
    assert said in found["variants"][1]["error"]
    assert f"vlm-detect: B: x: {said}" in capsys.readouterr().err
    assert found["complete"] is False


def test_frames_of_a_bag_are_the_same_ones_for_all_and_found_again_for_the_sheet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_bag(tmp_path / "drive", camera(10))
    bench = Bench([BOTH], [BOTH, BOTH, f"[{CUP}]", BOTH])
    assert compare(bench, "drive", "--every", "0.3s") == 0
    frames = written()["frames"]
    assert [(each["frame_index"], each["differing"]) for each in frames] == [(0, 0), (3, 0), (6, 1), (9, 0)]
    assert frames[2]["stamp"] == {"sec": START_S, "nanosec": 6 * 10**8 + 7}
    # Images of a bag tell their number by their grey.
    sheet = np.asarray(Image.open("comparison.png"))
    assert (sheet[-100:-60, :700] == 60).all(axis=2).any()


def test_servers_are_compared_over_http(pictures: Path) -> None:
    def says(*boxes: XYXY) -> Callable[[Body], Reply]:
        # Of an image of 64 x 48 pixels as the family sees it.
        return lambda body: Reply(
            [
                boxes_text(
                    [[share * side for share, side in zip(box, image_of(body).size * 2, strict=True)] for box in boxes]
                )
            ]
        )

    one, other = (0.1, 0.1, 0.5, 0.5), (0.5, 0.5, 0.9, 0.9)
    with serving(says(one, other)) as first, serving(says(one)) as second:
        arguments = [part for server in (first, second) for part in ("--compare", server.url)]
        make = lambda settings: make_engine(lambda: settings)  # noqa: E731
        assert cli.main(["pictures", "--prompt", "thing", *arguments], make) == 0
        assert [len(server.asked) for server in (first, second)] == [3, 3]
    assert [each["objects"] for each in written()["variants"]] == [6, 3]
    assert written()["variants"][1]["agreement"] == pytest.approx(2 / 3)
    assert all(each["latency_p50_s"] > 0 for each in written()["variants"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device that is always full")
def test_a_full_disk_does_not_take_the_table(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(Bench(*TWO), "pictures", "--output", "/dev/full") == 2
    out, err = capsys.readouterr()
    assert "| 0.667" in out
    assert "No space left" in err.splitlines()[-1]


def test_a_picture_that_is_gone_when_the_sheet_is_drawn_is_told(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench([BOTH], ["[]"])
    bench.engines[1].before_answer = lambda asked: (pictures / "a.png").unlink() if asked == 3 else None
    assert compare(bench, "pictures") == 0
    assert "pictures/a.png cannot be read any more: left out of comparison.png" in capsys.readouterr().err
    assert [each["differing"] for each in written()["frames"]] == [2, 2, 2]


BOX = st.tuples(st.integers(0, 60), st.integers(0, 40), st.integers(1, 30), st.integers(1, 30)).map(
    lambda v: (float(v[0]), float(v[1]), float(v[0] + v[2]), float(v[1] + v[3]))
)
OBJECTS = st.lists(st.builds(DetectedObject, st.sampled_from(["cup", "Cup", "saw"]), BOX, st.none()), max_size=6)
IMAGE = np.zeros((48, 64, 3), np.uint8)


@given(OBJECTS, OBJECTS)
def test_agreement_is_one_to_one(ours: list[DetectedObject], theirs: list[DetectedObject]) -> None:
    one = agreement_of(result_of(IMAGE, *ours), result_of(IMAGE, *theirs))
    assert (one.pairs + one.missing, one.pairs + one.more) == (len(ours), len(theirs))
    assert min(one.pairs, one.missing, one.more) >= 0
    same = agreement_of(result_of(IMAGE, *ours), result_of(IMAGE, *ours))
    assert (same.pairs, same.differing) == (len(ours), 0)
    # Names can only part what lies in one place.
    other = agreement_of(result_of(IMAGE, *ours), result_of(IMAGE, *theirs, prompt="other words"))
    assert other.pairs >= one.pairs or other.pairs == min(len(ours), len(theirs))


def cup(xyxy: XYXY, label: str = "cup") -> DetectedObject:
    return DetectedObject(label, xyxy, None)


@pytest.mark.parametrize(
    ("ours", "theirs", "prompt", "expected"),
    [
        ([cup((0, 0, 20, 10))], [cup((0, 0, 10, 10))], "shapes", Agreement(1, 0, 0)),
        ([cup((0, 0, 21, 10))], [cup((0, 0, 10, 10))], "shapes", Agreement(0, 1, 1)),
        ([cup((0, 0, 20, 10))], [cup((0, 0, 20, 10), "CUP")], "shapes", Agreement(1, 0, 0)),
        ([cup((0, 0, 20, 10))], [cup((0, 0, 20, 10), "the cups")], "shapes", Agreement(1, 0, 0)),
        ([cup((0, 0, 20, 10), "🍎")], [cup((0, 0, 20, 10), "🍎")], "shapes", Agreement(1, 0, 0)),
        ([cup((0, 0, 20, 10), "")], [cup((0, 0, 20, 10), "")], "shapes", Agreement(1, 0, 0)),
        ([cup((0, 0, 20, 10))], [cup((0, 0, 20, 10), "saw")], "shapes", Agreement(0, 1, 1)),
        ([cup((0, 0, 20, 10))], [cup((0, 0, 20, 10), "saw")], "things", Agreement(1, 0, 0)),
        ([cup((0, 0, 20, 10))] * 2, [cup((0, 0, 20, 10))], "shapes", Agreement(1, 1, 0)),
        ([DetectedObject("cup", None, (30.0, 20.0))], [cup((28, 18, 32, 22))], "shapes", Agreement(1, 0, 0)),
        ([], [], "shapes", Agreement(0, 0, 0)),
    ],
)
def test_a_pair_is_of_one_place_and_one_name(
    ours: list[DetectedObject], theirs: list[DetectedObject], prompt: str, expected: Agreement
) -> None:
    assert agreement_of(result_of(IMAGE, *ours), result_of(IMAGE, *theirs, prompt=prompt)) == expected


def test_the_share_is_of_the_objects_of_both() -> None:
    assert agreed_share([Agreement(3, 1, 0), Agreement(0, 0, 1)]) == 6 / 8
    assert agreed_share([Agreement(0, 0, 0)]) is None


def answers_of(letter: str, pictures: Sequence[Picture], *found: Sequence[DetectedObject]) -> Answers:
    """Of each picture what was found in it; the last also in those that follow."""
    answers = Answers(Variant(letter, "tiny", Settings(), build_prompt("cup")))
    for picture, objects in zip_longest(pictures, found, fillvalue=found[-1]):
        answers.add(picture, result_of(picture.rgb, *objects))
    return answers


def pictures_of(count: int, wh: tuple[int, int]) -> list[Picture]:
    return [Picture(Path(f"{n}.png"), np.full((wh[1], wh[0], 3), 10 * n, np.uint8)) for n in range(1, count + 1)]


def test_no_pixels_are_kept() -> None:
    (picture,) = pictures_of(1, (640, 480))
    (result,) = answers_of("A", [picture], []).results.values()
    assert result.request.frame.image_wh == (640, 480)
    assert result.request.frame.rgb.strides == (0, 0, 0)
    assert result.answer.tokens == ()


def test_the_sheet_shows_what_annotate_draws_the_top_one_first(tmp_path: Path) -> None:
    pictures = pictures_of(3, (800, 450))
    found = [cup((100.0 * n, 100, 100.0 * n + 80, 200)) for n in range(1, 4)]
    theirs = answers_of("B", pictures, found, found[:2], found[:1])
    comparison = Comparison([answers_of("A", pictures, found), theirs], complete=True)
    assert comparison.differing == (pictures[2].id, pictures[1].id)
    write_sheet(tmp_path / "sheet.png", comparison, [pictures[2], pictures[1]])
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    left, right = (annotate(pictures[2].rgb, result_of(IMAGE, *objects)) for objects in (found, found[:1]))
    assert sheet.shape[1] == 2 * 808
    tops = [top for top in range(len(sheet) - len(left)) if np.array_equal(sheet[top : top + len(left), :800], left)]
    assert len(tops) == 1
    assert np.array_equal(sheet[tops[0] : tops[0] + len(right), 808:1608], right)
    below = annotate(pictures[1].rgb, result_of(IMAGE, *found[:2]))
    assert any(
        np.array_equal(sheet[top : top + len(below), 808:1608], below)
        for top in range(tops[0] + len(left), len(sheet) - len(below) + 1)
    )


@pytest.mark.parametrize("wh", [(64, 48), (30, 2000), (4000, 20), (3840, 2160), (1, 1)])
@pytest.mark.parametrize("variants", [2, 8])
def test_the_sheet_is_bounded_whatever_the_pictures(tmp_path: Path, wh: tuple[int, int], variants: int) -> None:
    pictures = pictures_of(6, wh)
    all_of_them = [answers_of(letter, pictures, ()) for letter in "ABCDEFGH"[:variants]]
    del all_of_them[-1].results[pictures[0].id]
    comparison = Comparison(all_of_them, complete=True)
    write_sheet(tmp_path / "sheet.png", comparison, pictures if variants > 2 else pictures[1:])
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width <= 2400 + 8 * variants
        assert sheet.height <= 4000


def test_a_sheet_without_differences_is_written_too(tmp_path: Path) -> None:
    """One of an earlier run must not be taken for this one's."""
    both = [answers_of(letter, pictures_of(1, (64, 48)), ()) for letter in "AB"]
    write_sheet(tmp_path / "sheet.png", Comparison(both, complete=True), [])
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.height < 100


def test_a_wrong_variant_is_named() -> None:
    options = cli.parser().parse_args(["x.png", "--compare", "", "--compare", "dtype=int3"])
    with pytest.raises((SettingsError, PromptError), match="--compare ''"):
        read_variants(options, cli.COMPARED)
