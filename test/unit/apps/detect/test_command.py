"""`vlm-detect` in this process, with an engine that says what it is told to; test/model has the real one."""

from __future__ import annotations

import io
import json
import os
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from recorded_bags import START_S, camera, image, jpeg, write_bag
from rosbags.highlevel import AnyReader
from spoken import SpokenEngine

from vlm_perception import __version__
from vlm_perception.apps.detect import command as cli
from vlm_perception.errors import DeviceLostError, InferenceError, ModelLoadError
from vlm_perception.frames.files import read_image
from vlm_perception.settings import Settings, parameters
from vlm_perception.startup.arguments import resolve_model


@pytest.fixture
def engine() -> SpokenEngine:
    return SpokenEngine()


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three images, which is the working directory."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in "abc":
        Image.new("RGB", (64, 48)).save(folder / f"{name}.png")
    monkeypatch.chdir(folder)
    return folder


def detect(engine: SpokenEngine, *arguments: str, prompt: str = "red cup; person") -> int:
    return cli.main([*arguments, "--prompt", prompt], engine.make)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def write_clip(frames: int) -> None:
    writer = cv2.VideoWriter("clip.avi", cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
    for _ in range(frames):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()


def test_one_line_for_each_image_on_stdout_and_only_own_lines_on_stderr(
    pictures: Path, engine: SpokenEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert detect(engine, str(pictures)) == 0
    out, err = capsys.readouterr()
    told = lines(out)
    assert [Path(line["source"]).name for line in told] == ["a.png", "b.png", "c.png"]
    assert [[item["label"] for item in line["objects"]] for line in told] == [["red cup", "person"]] * 3
    assert told[0]["objects"][0]["bbox_xyxy"] == [4.0, 6.0, 20.0, 30.0]
    own = [line for line in err.splitlines() if line != "a library that prints"]
    assert own == ["vlm-detect: 3 answered, 6 objects, 0 failed"]
    assert (engine.loaded, engine.closed) == (1, 1)


def test_what_alone_a_model_knows_is_said_once(
    pictures: Path, engine: SpokenEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.facts = {"knows": "drawn scenes only"}
    assert detect(engine, str(pictures)) == 0
    said = capsys.readouterr().err
    assert said.count("this model knows drawn scenes only: what it says of other images means nothing") == 1
    assert detect(engine, str(pictures), "--quiet") == 0
    assert "drawn scenes" not in capsys.readouterr().err


def test_parameters_are_those_of_the_node(pictures: Path, engine: SpokenEngine) -> None:
    assert detect(engine, "a.png") == 0
    assert engine.settings == Settings()
    given = {
        "model": "tiny",
        "device": "cpu",
        "dtype": "float32",
        "task": "point",
        "min_pixels": 4000,
        "max_pixels": 90000,
        "max_new_tokens": 77,
        "score_threshold": 0.5,
    }
    options = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    assert detect(engine, "a.png", *options) == 0
    assert engine.settings == Settings.from_mapping({**given, "model": resolve_model("tiny")})
    request = engine.requests[-1]
    assert (request.budget.max_pixels, request.max_new_tokens, request.prompt.task.value) == (90000, 77, "point")


def test_help_shows_the_defaults_and_limits_of_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--help", "--version"):
        with pytest.raises(SystemExit, match=r"^0$"):
            cli.main([option])
    text = " ".join(capsys.readouterr().out.split())
    assert text.endswith(f" vlm-detect {__version__}")
    for parameter in parameters():
        if parameter.name in cli.SHARED:
            assert f"--{parameter.name.replace('_', '-')}" in text
            assert f"default: {parameter.default or 'none'}" in text or parameter.default == 0.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.png"], "--prompt"),
        (["--prompt", "cup"], "INPUT"),
        (["a.png", "--prompt", "cup", "--format", "xml"], "xml"),
        (["a.png", "--prompt", "cup", "--every", "0"], "0 is below 1"),
        (["a.png", "--prompt", "cup", "--rate", "-1"], "-1 is not above 0"),
        (["a.png", "--prompt", "cup", "--rate", "nan"], "nan is not above 0"),
        (["a.png", "--prompt", "cup", "--every", "2", "--rate", "1"], "not allowed with"),
        (["a.png", "--prompt", "cup", "--max-pixels", "many"], "many"),
        (["a.png", "--prompt", "cup", "--task", "segment"], "segment"),
    ],
)
def test_wrong_usage_is_2_and_says_what(
    arguments: list[str], said: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--score-threshold", "2"], "score_threshold is 2.0"),
        (["--max-pixels", "10"], "max_pixels is 10"),
        (["--min-pixels", "2000000"], "above max_pixels"),
        (["--device", "toaster"], "device is 'toaster'"),
        (["--prompts-file", "nowhere.yaml"], "nowhere.yaml"),
        (["--prompt", "  "], "prompt"),
        (["--task", "watch", "--every", "3"], "give --rate HZ or --every 3s instead of --every 3"),
        (["--stream", "--format", "coco"], "--stream"),
        (["--format", "yolo"], "--output FOLDER"),
        (["--output", "."], "it is a folder"),
        (["--output", "a.png/x.jsonl"], "cannot write"),
        (["--annotated", "a.png"], "cannot write"),
        (["--annotated", "."], "overwrite"),
    ],
)
def test_what_cannot_work_ends_with_2_before_the_model_is_loaded(
    arguments: list[str], said: str, pictures: Path, engine: SpokenEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["a.png", "--prompt", "red cup", *arguments], engine.make) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1
    assert engine.loaded == 0
    assert read_image(Path("a.png")).shape == (48, 64, 3)


def test_a_model_that_cannot_be_used_is_2_and_keeps_the_old_output(
    pictures: Path, engine: SpokenEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load() -> None:
        raise ModelLoadError("model folder x does not exist; set model to a folder")

    monkeypatch.setattr(engine, "load", load)
    Path("out.jsonl").write_text("old\n")
    assert detect(engine, "a.png", "--output", "out.jsonl") == 2
    assert capsys.readouterr().err == "vlm-detect: model folder x does not exist; set model to a folder\n"
    assert Path("out.jsonl").read_text() == "old\n"


def test_inputs_that_fail_do_not_stop_the_others(
    pictures: Path, engine: SpokenEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("broken.png").write_bytes(b"no image")
    Path("film.mp4").write_bytes(b"no film")
    Path("empty").mkdir()
    wrong = ["missing.png", "none*.jpg", "empty", "broken.png", "film.mp4"]
    assert detect(engine, "a.png", *wrong, "c.png") == 1
    out, err = capsys.readouterr()
    told = lines(out)
    assert {line["source"] for line in told if "error" in line} == set(wrong)
    assert [line["source"] for line in told if "error" not in line] == ["a.png", "c.png"]
    assert "2 answered, 4 objects, 5 failed" in err
    for name in wrong:
        (line,) = [line for line in err.splitlines() if name in line]
        assert line.startswith("vlm-detect: ")
    assert "Traceback" not in err


def test_only_wrong_inputs_need_no_model(pictures: Path, engine: SpokenEngine) -> None:
    assert detect(engine, "missing.png") == 1
    assert engine.loaded == 0
    assert detect(SpokenEngine("[]"), "a.png") == 0, "nothing found is an answer"


@pytest.mark.parametrize(
    ("options", "errors"),
    [((), [None, "b.png: out of memory; lower max_pixels", None]), (("--fail-fast",), [None, "b"])],
)
def test_a_picture_the_model_fails_on_is_reported_and_the_next_one_follows_or_not(
    pictures: Path, engine: SpokenEngine, options: tuple[str, ...], errors: list[str | None]
) -> None:
    def fail(number: int) -> None:
        if number == 2:
            raise InferenceError("out of memory; lower max_pixels")

    engine.before_answer = fail
    assert detect(engine, ".", "--output", "out.jsonl", *options) == 1
    told = [line.get("error") for line in lines(Path("out.jsonl").read_text())]
    assert [text and text[: len(error or "")] for text, error in zip(told, errors, strict=True)] == errors


def test_a_lost_device_ends_the_run_with_its_reason(
    pictures: Path, engine: SpokenEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every later picture would fail for nothing."""

    def fail(number: int) -> None:
        if number == 2:
            raise DeviceLostError("the GPU is lost; start the process again")

    engine.before_answer = fail
    assert detect(engine, ".", "--output", "out.jsonl") == 2
    assert len(lines(Path("out.jsonl").read_text())) == 1, "what was answered before is kept"
    assert "vlm-detect: the GPU is lost" in capsys.readouterr().err


def test_stream_prints_each_object_before_its_answer(
    pictures: Path, engine: SpokenEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert detect(engine, "a.png", "--stream") == 0
    first, second, last = lines(capsys.readouterr().out)
    assert (first["object"]["label"], second["object"]["label"]) == ("red cup", "person")
    assert [first["object"], second["object"]] == last["objects"]
    assert [line["partial"] for line in (first, second, last)] == [True, True, False]


def test_a_video_is_thinned_annotated_and_its_frames_kept(
    pictures: Path, engine: SpokenEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(7)
    options = ("--every", "2", "--max-frames", "3", "--annotated", "out", "--frames", "frames")
    assert detect(engine, "clip.avi", *options) == 0
    told = lines(capsys.readouterr().out)
    assert [(line["frame_index"], line["time_s"]) for line in told] == [(0, 0.0), (2, 0.2), (4, 0.4)]
    assert [path.name for path in Path("out").iterdir()] == ["clip.mp4"]
    assert sorted(path.name for path in Path("frames").iterdir()) == [f"clip_{n:06d}.jpg" for n in (0, 2, 4)]


def test_a_film_is_asked_about_as_a_whole(
    pictures: Path, engine: SpokenEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (64, 48)).save(
        "film.gif", save_all=True, append_images=[Image.new("RGB", (64, 48), (grey, 0, 0)) for grey in range(1, 40)]
        , duration=100
    )  # fmt: skip
    engine.reply = '[{"start_time": "00:01.00", "end_time": "00:02.50", "description": "it stops"}]'
    assert detect(engine, "film.gif", "a.png", "--task", "watch", "--watch-max-pixels", "80000", prompt="and now?") == 0
    film, image = lines(capsys.readouterr().out)
    request, other = engine.requests
    assert request.clip is not None
    assert other.clip is None
    assert film["clip"] == {"duration_s": request.clip.duration_s, "frames": len(request.clip.frames)}
    assert len(request.clip.frames) == 8
    assert request.budget.max_pixels == 80_000 // 4
    assert [(event["start_s"], event["end_s"], event["text"]) for event in film["events"]] == [(1.0, 2.5, "it stops")]
    assert film["time_s"] == pytest.approx(request.clip.duration_s)
    assert (image["frame_index"], film["frame_index"] > 30) == (None, True)


def test_prompts_can_come_from_a_file_and_their_chat_tokens_are_made_harmless(
    pictures: Path, engine: SpokenEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("prompts.yaml").write_text('templates:\n  detect:\n    english: "Show me {what}, in JSON."\n')
    assert detect(engine, "a.png", "--prompts-file", "prompts.yaml", prompt="cup <|im_end|>") == 0
    assert engine.requests[0].prompt.instruction.startswith("Show me cup ")
    assert "1 chat control tokens" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_drops_the_answer_it_interrupts_and_keeps_the_others(
    number: int, code: int, pictures: Path, engine: SpokenEngine
) -> None:
    engine.before_answer = lambda asked: os.kill(os.getpid(), number) if asked == 2 else None
    before = signal.getsignal(number)
    assert detect(engine, ".", "--format", "coco", "--output", "out.json", "--annotated", "out") == code
    assert [image["file_name"] for image in json.loads(Path("out.json").read_text())["images"]] == ["a.png"]
    assert [path.name for path in Path("out").iterdir()] == ["a.png"]
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_ends_an_engine_that_does_not_listen(
    pictures: Path, engine: SpokenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stuck(asked: int) -> None:
        if asked == 2:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            pytest.fail("the second signal did not get through")

    engine.before_answer = stuck
    assert detect(engine, ".", "--output", "out.jsonl") == 130
    assert len(lines(Path("out.jsonl").read_text())) == 1
    monkeypatch.setattr(engine, "load", lambda: os.kill(os.getpid(), signal.SIGINT))
    assert detect(engine, "a.png") == 130, "while it is loaded one is enough"


def test_a_closed_pipe_is_141_and_quiet(
    pictures: Path, engine: SpokenEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        assert detect(engine, ".") == 141
        # Now it leads nowhere: what Python flushes at its end must not fail.
        stdout.write("rest")
        stdout.flush()
    assert "Traceback" not in capsys.readouterr().err
    assert len(engine.requests) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device that is always full")
def test_a_full_disk_is_2_with_one_line(
    pictures: Path, engine: SpokenEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert detect(engine, ".", "--output", "/dev/full", "--quiet") == 2
    with open("/dev/full", "w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        assert detect(engine, ".", "--quiet") == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line != "a library that prints"]
    assert len(told) == 2
    assert all("No space left" in line and "free space" in line for line in told)


class Screen(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ((".", "--output", "out.jsonl"), True),
        (("a.png", "--output", "out.jsonl"), False),
        ((".", "--output", "out.jsonl", "--quiet"), False),
        ((".",), True),
    ],
)
def test_a_progress_bar_on_a_terminal_for_several_images_only(
    arguments: tuple[str, ...],
    shown: bool,
    pictures: Path,
    engine: SpokenEngine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    assert detect(engine, *arguments) == 0
    assert ("3/3" in screen.getvalue()) == shown
    assert len(lines(capsys.readouterr().out)) == (3 if arguments == (".",) else 0)


def test_a_bag_is_answered_under_the_stamps_of_its_images(
    tmp_path: Path, engine: SpokenEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = [*camera(10), *camera(1, jpeg, "/rear/compressed")]
    messages[6] = (*messages[6][:2], image(3, "no encoding"))
    bag = write_bag(tmp_path / "drive", messages)
    more = ["--topic", "/camera/image_raw", "--every", "0.3s"]
    assert detect(engine, str(bag), *more, "--annotated", str(tmp_path / "annotated")) == 1
    out, err = capsys.readouterr()
    told = lines(out)
    assert [(line["source"], line["frame_index"], line["time_s"]) for line in told] == [
        (str(bag), index, index / 10) for index in (0, 3, 6, 9)
    ]
    assert ["error" in line for line in told] == [False, True, False, False]
    assert "image 3 of /camera/image_raw" in err
    assert "unknown image encoding" in told[1]["error"]
    assert [(line["stamp"], line["frame_id"], line["camera"]) for line in told if "stamp" in line] == [
        ({"sec": START_S, "nanosec": index * 10**8 + 7}, "lens", "/camera/image_raw") for index in (0, 6, 9)
    ]
    assert [path.name for path in (tmp_path / "annotated").iterdir()] == ["drive.mp4"]


def test_a_bag_is_one_film_for_watch(tmp_path: Path, engine: SpokenEngine, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / "drive", camera(20))
    assert detect(engine, str(bag), "--task", "watch", prompt="what happened?") == 0
    (line,) = lines(capsys.readouterr().out)
    assert line["clip"]["duration_s"] == pytest.approx(line["stamp"]["sec"] - START_S + line["stamp"]["nanosec"] * 1e-9)
    assert line["frame_index"] > 10


@pytest.mark.parametrize("every", ["0", "-1", "0s", "nans", "x", "1.5", "infs"])
def test_a_wrong_every_is_told(every: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.parser().parse_args(["x.mp4", "--prompt", "cup", "--every", every])
    assert "--every" in capsys.readouterr().err


def test_a_bag_of_several_cameras_asks_for_the_topic_before_a_model_is_loaded(
    tmp_path: Path, engine: SpokenEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_bag(tmp_path / "drive", [*camera(1), *camera(1, jpeg, "/rear/compressed")])
    assert detect(engine, str(bag)) == 1
    assert "its image topics are /camera/image_raw, /rear/compressed: name one as topic" in capsys.readouterr().err
    assert not engine.loaded


@pytest.mark.parametrize("stopped", [False, True])
def test_results_are_a_bag_that_needs_no_definitions_also_after_ctrl_c(
    tmp_path: Path, engine: SpokenEngine, capsys: pytest.CaptureFixture[str], stopped: bool
) -> None:
    if stopped:
        engine.before_answer = lambda asked: os.kill(os.getpid(), signal.SIGINT) if asked == 3 else None
    bag, target = write_bag(tmp_path / "drive", camera(5)), tmp_path / "found"
    code = detect(engine, str(bag), "--output-bag", str(target))
    assert code == (130 if stopped else 0)
    answers = lines(capsys.readouterr().out)
    assert len(answers) == (2 if stopped else 5)
    read: dict[str, list[Any]] = {}
    with AnyReader([target]) as reader:
        for connection, recorded_ns, data in reader.messages():
            read.setdefault(connection.topic, []).append((recorded_ns, reader.deserialize(data, connection.msgtype)))
    found, images, texts = (
        read[f"/vlm_perception/{name}"] for name in ("detections", "annotated_image/compressed", "answer")
    )
    times = [START_S * 10**9 + n * 10**8 for n in range(len(answers))]
    assert [[ns for ns, _ in messages] for messages in (found, images, texts)] == [times] * 3
    told = [json.loads(message.data) for _, message in texts]
    # What the bag says more: the same thing has the same id in every answer.
    assert [[item.pop("id") for item in line["objects"]] for line in told] == [["1", "2"]] * len(answers)
    assert told == answers
    for (_, array), (_, picture), answer in zip(found, images, answers, strict=True):
        for message in (array, picture, *array.detections):
            assert (message.header.stamp.sec, message.header.stamp.nanosec) == tuple(answer["stamp"].values())
            assert message.header.frame_id == "lens"
        boxes = [
            (each.bbox.center.position.x, each.bbox.size_y, each.results[0].hypothesis.class_id)
            for each in array.detections
        ]
        told = [(item["bbox_xyxy"], item["label"]) for item in answer["objects"]]
        assert boxes == [((x0 + x1) / 2, y1 - y0, label) for (x0, y0, x1, y1), label in told]
        assert cv2.imdecode(picture.data, cv2.IMREAD_COLOR).shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("option", "inputs", "said"),
    [
        (("--topic", "/front"), "a.png", "--topic is of bags, and 1 of 1 inputs are none: it does nothing for these"),
        (("--topic", "/camera/image_raw"), "drive", ""),
        (("--depth-topic", "/depth"), "a.png clip.avi", "--depth-topic is of bags, and 2 of 2 inputs are none"),
        (("--every", "2"), "a.png drive", "--every is of videos and bags, and 1 of 2 inputs are none"),
        (("--every", "0.5s"), "a.png b.png", "--every is of videos and bags, and 2 of 2 inputs are none"),
        (("--rate", "2"), "clip.avi drive", ""),
        (("--max-frames", "1"), "a.png", "--max-frames is of videos and bags, and 1 of 1 inputs are none"),
        (("--every", "1"), "a.png", ""),
        (("--watch-rate-hz", "2"), "a.png", "--watch-rate-hz is for a prompt such as 'watch: what happened?': it does"),
        (("--watch-max-pixels", "90000"), "a.png", "--watch-max-pixels is for a prompt such as 'watch:"),
        (("--watch-rate-hz", "2", "--task", "watch"), "clip.avi", ""),
        (("--served-model", "a"), "a.png", "--served-model is for the URL of a server as --model: it does nothing"),
        (("--model-family", "qwen3_vl"), "a.png", "--model-family is for the URL of a server as --model"),
        (("--server-key-file", "a"), "a.png", "--server-key-file is for the URL of a server as --model"),
        (("--model", "http://robot:8000/v1", "--served-model", "a"), "a.png", ""),
        (("--model", "http://robot:8000/v1", "--device", "cpu"), "a.png", "--device is for a --model that runs here"),
        (("--model", "http://robot:8000/v1", "--dtype", "float32"), "a.png", "--dtype is for a --model that runs here"),
        (("--device", "cpu", "--dtype", "float32"), "a.png", ""),
        (("--depth-tolerance-s", "1"), "drive", "--depth-tolerance-s is for --depth-topic: it does nothing here"),
        (("--tracking", "off"), "drive", "--tracking is for --output-bag: it does nothing here"),
        (("--tracking", "off", "--lost-after-s", "2", "--output-bag", "found"), "drive", ""),
    ],
)
def test_an_option_that_does_nothing_for_an_input_is_told(
    pictures: Path,
    engine: SpokenEngine,
    capsys: pytest.CaptureFixture[str],
    option: tuple[str, ...],
    inputs: str,
    said: str,
) -> None:
    write_bag(pictures / "drive", camera(2))
    write_clip(2)
    assert detect(engine, *inputs.split(), *option) == 0
    err = capsys.readouterr().err
    assert said in err
    assert ("does nothing" in err) == bool(said)


def test_a_bag_that_is_there_is_refused_and_pictures_without_stamps_are_counted(
    pictures: Path, engine: SpokenEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert detect(engine, "a.png", "--output-bag", str(pictures)) == 2
    assert "exists, and bags are never overwritten: name another folder" in capsys.readouterr().err
    assert detect(engine, "a.png", "--output-bag", "found") == 0
    err = capsys.readouterr().err
    assert "nothing was answered of a bag: found is not made" in err
    assert "1 pictures that are in no bag have no stamps: left out of found" in err
    assert not (pictures / "found").exists()
