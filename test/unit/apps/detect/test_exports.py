"""What is written can be read back by the readers people use, and nothing is lost in silence."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import supervision as sv
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from results import result_of

from vlm_perception.apps.detect.exports.annotated import AnnotatedFiles
from vlm_perception.apps.detect.exports.base import ClassNumbers, FileNames, FrameFiles
from vlm_perception.apps.detect.exports.datasets import CocoFile, YoloFolder, yolo_line
from vlm_perception.apps.detect.exports.jsonl import JsonLines
from vlm_perception.apps.detect.inputs import Failure, Picture
from vlm_perception.errors import OutputError
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.replies.result_json import result_fields
from vlm_perception.replies.scores import FORMULA
from vlm_perception.types import DetectedObject, FinishReason, Reject, Result

WH = (64, 48)
PROMPT = build_prompt("red cup; person")
CUP = DetectedObject("red cup", (4.0, 6.0, 20.0, 30.0), None, {"sub_label": "chipped"}, score=0.75)
PERSON = DetectedObject("person", (30.0, 0.0, 64.0, 48.0), None, score=0.5)
DOOR = DetectedObject("人", (1.0, 2.0, 3.0, 4.0), None, score=0.25)
HANDLE = DetectedObject("handle", None, (10.0, 12.0), score=0.5)
SIGN = DetectedObject("sign", (5.0, 5.0, 15.0, 9.0), None, score=0.5, text="停\nSTOP", kind="line")


def save_image(path: Path) -> Picture:
    path.parent.mkdir(parents=True, exist_ok=True)
    rgb = np.zeros((WH[1], WH[0], 3), np.uint8)
    Image.fromarray(rgb).save(path)
    return Picture(path, rgb)


def frame_of(path: Path, index: int) -> Picture:
    return Picture(path, np.full((WH[1], WH[0], 3), index * 20, np.uint8), index, index / 10)


def result_with(picture: Picture, *objects: DetectedObject, text: str = "") -> Result:
    rejects = (Reject("zero area", "[1, 1, 1, 1]"),)
    return result_of(picture.rgb, *objects, prompt=PROMPT, text=text, rejects=rejects)


def test_a_json_line_holds_everything_about_one_picture(tmp_path: Path) -> None:
    out = io.StringIO()
    lines = JsonLines(out)
    picture = frame_of(Path("clip.mp4"), 7)
    lines.add(picture, replace(result_with(picture, CUP, HANDLE, text="two\nlines"), count=2, count_agrees=True))
    (line,) = out.getvalue().splitlines()
    fields = json.loads(line)
    assert fields["objects"] == [
        {
            "label": "red cup",
            "score": 0.75,
            "bbox_xyxy": [4.0, 6.0, 20.0, 30.0],
            "point_xy": None,
            "attributes": {"sub_label": "chipped"},
        },
        {
            "label": "handle",
            "score": 0.5,
            "bbox_xyxy": None,
            "point_xy": [10.0, 12.0],
            "attributes": {},
        },
    ]
    assert fields["rejects"] == [{"reason": "zero area", "text": "[1, 1, 1, 1]"}]
    expected = {
        "source": "clip.mp4",
        "frame_index": 7,
        "time_s": 0.7,
        "image_wh": [64, 48],
        "model_wh": [56, 56],
        "prompt": "red cup; person",
        "task": "detect",
        "region_xyxy": None,
        "raw_text": "raw",
        "text": "two\nlines",
        "count": 2,
        "count_agrees": True,
        "finish_reason": "stop",
        "truncated": False,
        "partial": False,
        "score": {"formula": FORMULA, "fitted_on": None},
    }
    assert {key: fields[key] for key in expected} == expected
    assert fields["timings"]["generate_s"] == 0.2


@pytest.mark.parametrize(
    ("finish_reason", "truncated"),
    [("stop", False), ("length", True), ("timeout", True), ("repetition", False), ("aborted", False)],
)
def test_a_line_says_whether_more_may_be_there(finish_reason: FinishReason, truncated: bool) -> None:
    result = result_with(frame_of(Path("clip.mp4"), 0), CUP)
    ended = replace(result, answer=replace(result.answer, finish_reason=finish_reason))
    assert result_fields(ended)["truncated"] == truncated
    assert result_fields(replace(ended, partial=True))["truncated"] is False


def test_partial_lines_tell_each_object_once_and_start_anew_with_the_next_picture_or_failure() -> None:
    out = io.StringIO()
    lines = JsonLines(out)
    first, second = frame_of(Path("clip.mp4"), 0), frame_of(Path("clip.mp4"), 1)
    lines.add_partial(first, result_with(first, CUP))
    lines.add_partial(first, result_with(first, CUP, PERSON))
    lines.add(first, result_with(first, CUP, PERSON))
    lines.add_partial(second, result_with(second, DOOR))
    lines.fail(Failure("clip.mp4", "out of memory", 1, 0.1))
    lines.add_partial(second, result_with(second, PERSON))
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    assert told.pop(4) == {"source": "clip.mp4", "frame_index": 1, "time_s": 0.1, "error": "out of memory"}
    assert [line.get("frame_index") for line in told] == [0, 0, 0, 1, 1]
    assert [(line["number"], line["object"]["label"]) for line in told if line["partial"]] == [
        (0, "red cup"),
        (1, "person"),
        (0, "人"),
        (0, "person"),
    ]


def test_a_file_of_lines_is_complete_after_every_line_and_replaces_an_old_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.jsonl"
    lines = JsonLines(path)
    assert not path.exists(), "an old file must survive a run that fails before its first answer"
    picture = save_image(tmp_path / "a.png")
    for count in (1, 2):
        lines.add(picture, result_with(picture, CUP))
        assert len(path.read_text().splitlines()) == count
    lines.close()
    JsonLines(path).close()
    assert path.read_text() == ""


def test_names_that_are_no_text_and_half_characters_still_give_utf_8() -> None:
    out = io.StringIO()
    picture = frame_of(Path(b"bad\xff.mp4".decode("utf-8", "surrogateescape")), 0)
    JsonLines(out).add(picture, result_with(picture, replace(CUP, label="half \ud83d pair")))
    assert json.loads(out.getvalue().encode("utf-8"))["objects"][0]["label"] == "half ? pair"


def test_coco_is_read_back_by_supervision(tmp_path: Path) -> None:
    pictures = [save_image(tmp_path / name) for name in ("a.png", "sub/b.png", "none.png")]
    path = tmp_path / "coco.json"
    coco = CocoFile(path, PROMPT)
    for picture, objects in zip(pictures, [(CUP, PERSON), (DOOR, CUP, HANDLE), ()], strict=True):
        coco.add(picture, result_with(picture, *objects))
    (note,) = coco.close()
    assert "1 points left out" in note
    data = sv.DetectionDataset.from_coco(str(tmp_path), str(path))
    assert data.classes == ["red cup", "person", "人"]
    read = {Path(name).name: detections for name, _, detections in data}
    assert read["a.png"].xyxy.tolist() == [list(CUP.xyxy or ()), list(PERSON.xyxy or ())]
    assert read["b.png"].class_id.tolist() == [2, 0]
    assert len(read["none.png"]) == 0


def test_coco_annotations_alone_are_coco_results(tmp_path: Path) -> None:
    out = io.StringIO()
    coco = CocoFile(out, PROMPT)
    picture = save_image(tmp_path / "a.png")
    coco.add(picture, result_with(picture, CUP, replace(PERSON, score=None)))
    coco.close()
    fields = json.loads(out.getvalue())
    first, second = fields["annotations"]
    wanted = {"image_id": 1, "category_id": 1, "bbox": [4.0, 6.0, 16.0, 24.0], "score": 0.75, "area": 384.0}
    assert {key: first[key] for key in wanted} == wanted
    assert first["attributes"] == {"sub_label": "chipped"}
    assert "score" not in second
    assert fields["images"] == [{"id": 1, "width": 64, "height": 48, "file_name": "a.png"}]


def test_text_that_was_read_goes_where_there_is_a_place_for_it(tmp_path: Path) -> None:
    picture, out, table = save_image(tmp_path / "a.png"), io.StringIO(), io.StringIO()
    lines, coco, yolo = JsonLines(out), CocoFile(table, PROMPT), YoloFolder(tmp_path / "yolo", PROMPT)
    for export in (lines, coco, yolo):
        export.add(picture, result_with(picture, SIGN, CUP))
    assert [export.close() for export in (lines, coco)] == [(), ()]
    (note,) = yolo.close()
    assert note.startswith("1 texts left out")
    sign, cup = json.loads(out.getvalue())["objects"]
    assert (sign["kind"], sign["text"]) == ("line", "停\nSTOP")
    assert not cup.keys() & {"kind", "text"}
    assert json.loads(table.getvalue())["annotations"][0]["attributes"] == {"kind": "line", "text": "停\nSTOP"}


def test_coco_of_a_video_names_frames_and_keeps_them_when_asked(tmp_path: Path) -> None:
    video = tmp_path / "clip.mp4"
    for frames in (None, FrameFiles(tmp_path / "frames")):
        path = tmp_path / "coco.json"
        coco = CocoFile(path, PROMPT, frames)
        for index in (0, 5):
            coco.add(frame_of(video, index), result_with(frame_of(video, index), CUP))
        notes = coco.close()
        fields = json.loads(path.read_text())
        assert [image["file_name"] for image in fields["images"]] == ["clip_000000.jpg", "clip_000005.jpg"]
        assert [image["frame_index"] for image in fields["images"]] == [0, 5]
        assert [image["time_s"] for image in fields["images"]] == [0.0, 0.5]
        assert any("--frames" in note for note in notes) == (frames is None)
    data = sv.DetectionDataset.from_coco(str(tmp_path / "frames"), str(path))
    assert [len(detections) for _, _, detections in data] == [1, 1]
    assert int(next(image for name, image, _ in data if name.endswith("5.jpg"))[0, 0, 0]) == pytest.approx(100, abs=3)


def test_yolo_is_read_back_by_supervision(tmp_path: Path) -> None:
    pictures = [save_image(tmp_path / name) for name in ("a.png", "sub/a.png", "none.jpg")]
    folder = tmp_path / "yolo"
    yolo = YoloFolder(folder, PROMPT)
    for picture, objects in zip(pictures, [(CUP, PERSON), (DOOR, HANDLE), ()], strict=True):
        yolo.add(picture, result_with(picture, *objects))
    yolo.add(frame_of(tmp_path / "clip.mp4", 3), result_with(frame_of(tmp_path / "clip.mp4", 3), PERSON))
    (note,) = yolo.close()
    assert "1 points left out" in note
    data = sv.DetectionDataset.from_yolo(
        str(folder / "images"), str(folder / "labels"), data_yaml_path=str(folder / "data.yaml")
    )
    assert data.classes == ["red cup", "person", "人"]
    assert (folder / "classes.txt").read_text(encoding="utf-8") == "red cup\nperson\n人\n"
    read = {Path(name).stem: detections for name, _, detections in data}
    assert sorted(read) == ["a", "a_sub", "clip_000003", "none"]
    np.testing.assert_allclose(read["a"].xyxy, [CUP.xyxy, PERSON.xyxy], atol=1e-3)
    assert read["a"].class_id.tolist() == [0, 1]
    assert read["a_sub"].class_id.tolist() == [2]
    assert read["clip_000003"].class_id.tolist() == [1]
    assert len(read["none"]) == 0
    assert (folder / "labels" / "none.txt").read_text() == ""


def test_yolo_does_not_mix_with_labels_of_another_run(tmp_path: Path) -> None:
    picture = save_image(tmp_path / "a.png")
    yolo = YoloFolder(tmp_path / "yolo", PROMPT)
    yolo.add(picture, result_with(picture, CUP))
    with pytest.raises(OutputError, match="earlier run"):
        YoloFolder(tmp_path / "yolo", PROMPT)


@given(
    left=st.floats(0, 1),
    top=st.floats(0, 1),
    right=st.floats(0, 1),
    bottom=st.floats(0, 1),
    wh=st.tuples(st.integers(1, 8000), st.integers(1, 8000)),
)
def test_a_yolo_line_gives_the_box_back_within_a_hundredth_of_a_pixel(
    left: float, top: float, right: float, bottom: float, wh: tuple[int, int]
) -> None:
    box = np.array([min(left, right), min(top, bottom), max(left, right), max(top, bottom)]) * (wh + wh)
    number, cx, cy, width, height = map(float, yolo_line(3, tuple(box), wh).split())
    read = np.array([cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2]) * (wh + wh)
    assert number == 3
    np.testing.assert_allclose(read, box, atol=0.01)


def test_what_was_asked_for_has_the_first_numbers_in_every_run() -> None:
    numbers = ClassNumbers(PROMPT)
    assert [numbers.number(name) for name in ("dog", "person", "red\n cup")] == [2, 1, 0]
    assert numbers.names() == ("red cup", "person", "dog")
    single = ClassNumbers(build_prompt("all objects"))
    assert single.number("dog") == 0
    assert single.names() == ("dog",)
    assert ClassNumbers(build_prompt("dog")).names() == ("dog",), "a run that found nothing still has its class"


def test_every_source_has_a_name_of_its_own_in_one_folder() -> None:
    names = FileNames()
    paths = [Path(name) for name in ("/a/x.png", "/b/x.png", "/b/x.jpg", "/c/b/X.png", "/a/x.png")]
    stems = [names.stem(path) for path in paths]
    assert stems == ["x", "x_b", "x_b_2", "X_b_3", "x"]


def test_annotated_images_keep_their_names_and_videos_their_times(tmp_path: Path) -> None:
    picture, video = save_image(tmp_path / "a.png"), tmp_path / "clip.avi"
    out = tmp_path / "out"
    files = AnnotatedFiles(out, (picture.path, video))
    files.add(picture, result_with(picture, CUP))
    odd = [Picture(video, np.full((47, 63, 3), 90, np.uint8), index, time_s) for index, time_s in ((0, 0.0), (9, 0.9))]
    for frame in odd:
        files.add(frame, result_with(frame, CUP))
    files.add(save_image(tmp_path / "b.jpg"), result_with(picture, PERSON))
    files.close()
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.jpg", "clip.mp4"]
    assert not np.array_equal(np.asarray(Image.open(out / "a.png")), picture.rgb)
    with av.open(str(out / "clip.mp4")) as container:
        frames = list(container.decode(video=0))
    assert [frame.time for frame in frames] == pytest.approx([0.0, 0.9])
    assert (frames[0].width, frames[0].height) == (64, 48)


def test_annotating_never_overwrites_a_source(tmp_path: Path) -> None:
    picture = save_image(tmp_path / "a.png")
    with pytest.raises(OutputError, match=r"overwrite .*a\.png"):
        AnnotatedFiles(tmp_path / "sub" / "..", (picture.path,))
    assert picture.path.stat().st_size > 0


@pytest.mark.parametrize(
    ("make", "blocked"),
    [
        *((make, name) for make in (JsonLines, lambda path: CocoFile(path, PROMPT)) for name in (".", "file/out")),
        *((make, "file") for make in (lambda path: YoloFolder(path, PROMPT), lambda path: AnnotatedFiles(path, ()))),
        (FrameFiles, "file"),
    ],
)
def test_a_place_that_cannot_be_written_to_is_found_out_before_the_work(make, blocked: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write .*name"):
        make(tmp_path / blocked)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device that is always full")
def test_a_full_disk_is_told_with_its_remedy(tmp_path: Path) -> None:
    picture = save_image(tmp_path / "a.png")
    lines = JsonLines(Path("/dev/full"))
    with pytest.raises(OutputError, match=r"/dev/full: No space left on device; free space"):
        lines.add(picture, result_with(picture, CUP))
    assert lines.close() == (), "it was said once"
    coco = CocoFile(Path("/dev/full"), PROMPT)
    coco.add(picture, result_with(picture, CUP))
    with pytest.raises(OutputError, match=r"/dev/full: No space left on device; free space"):
        coco.close()
