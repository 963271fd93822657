"""`vlm-perception-memory` in this process, on a file that a memory is still writing to."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from checkout import ROOT
from glances import ALL, glance, nothing, placed

from vlm_perception.apps.memory import command as cli
from vlm_perception.apps.memory.exports import as_csv, as_geojson, utc
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.world.memory import Memory

Run = Callable[..., tuple[int, str, str]]
ODD = 'saw, "red"\n| \x1b[31m=1+1 杯子'


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    made = Memory(tmp_path / "memory.db")
    found = placed("red cup", 1.0, score=0.9, jpeg=b"a picture"), placed("plate", 2.0, -0.5, score=None)
    made.look(glance(1.5, *found, prompt=build_prompt("red cup; plate")))
    made.look(glance(3, placed(ODD, 30.0, score=0.5), prompt=ALL, sees=nothing))
    yield made
    made.close()


@pytest.fixture
def run(memory: Memory, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command on the memory's file, and return its code, what it wrote and what it said."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = cli.main([str(memory.path), *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def test_the_list_is_a_table_surest_first(run: Run) -> None:
    code, out, err = run("list")
    head, _, *rows = ([cell.strip() for cell in line[2:-2].split(" | ")] for line in out.splitlines())
    assert (code, err) == (0, "")
    assert head[1:6] == ["label", "frame", "x_m", "y_m", "z_m"]
    assert rows[0] == [
        "1",
        "red cup",
        "map",
        "1.00",
        "0.00",
        "0.00",
        "0.90",
        "1",
        "0",
        "2023-11-14T22:13:21Z",
        "red cup; plate",
    ]
    assert [row[0] for row in rows] == ["1", "3", "2"]
    # One line each, and nothing that a terminal would obey.
    assert len({len(line) for line in out.splitlines()}) == 1
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("words", "labels", "code"), [("cups", ["red cup"], 0), ("plates", ["plate"], 0), ("elephant", [], 1)]
)
def test_words_choose(run: Run, words: str, labels: list[str], code: int) -> None:
    ended, out, err = run("export", words)
    assert [each["properties"]["label"] for each in json.loads(out)["features"]][: len(labels)] == labels
    assert ended == code
    assert ("nothing called 'elephant' is remembered; 3 other things are: red cup, " in err) == (code == 1)


@pytest.mark.parametrize(("words", "near"), [("cup holder", "red cup"), ("plate rack", "plate"), ("red", "red cup")])
def test_what_is_not_called_so_is_not_cleared_but_named(run: Run, memory: Memory, words: str, near: str) -> None:
    code, _, err = run("clear", words)
    assert (code, len(memory.objects())) == (1, 3)
    assert f"nothing called {words!r} is remembered; 3 other things are: {near}, " in err


def test_geojson_says_what_its_coordinates_are(run: Run) -> None:
    code, out, _ = run("export")
    found = json.loads(out)
    assert code == 0
    assert (found["type"], found["frame_id"]) == ("FeatureCollection", "map")
    assert "metres" in found["coordinates"]
    assert "not WGS 84" in found["coordinates"]
    assert found["features"][0] == {
        "type": "Feature",
        "id": 1,
        "geometry": {"type": "Point", "coordinates": [1.0, 0.0, 0.0]},
        "properties": {
            "label": "red cup",
            "phrase": "red cup",
            "prompt": "red cup; plate",
            "belief": 0.9,
            "best_score": 0.9,
            "times_seen": 1,
            "times_missed": 0,
            "first_seen": "2023-11-14T22:13:21.500000000Z",
            "last_seen": "2023-11-14T22:13:21.500000000Z",
            "camera": "/image",
            "cutout": None,
            "size_m": [0.1, 0.1, 0.1],
        },
    }


def test_csv_gives_back_what_is_remembered(run: Run, memory: Memory) -> None:
    code, out, _ = run("export", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert code == 0
    for row, thing in zip(rows, memory.objects(), strict=True):
        assert row["label"] == thing.label
        assert tuple(float(row[f"{axis}_m"]) for axis in "xyz") == thing.position_m
        assert tuple(float(row[f"size_{axis}_m"]) for axis in "xyz") == thing.size_m
        assert row["last_seen"] == utc(thing.last_seen_ns)
        assert row["best_score"] == ("" if thing.best_score is None else str(thing.best_score))
        assert (row["frame_id"], row["cutout"]) == ("map", "")


@pytest.mark.parametrize("form", ["geojson", "csv"])
def test_files_and_pictures_are_written_where_they_are_wanted(run: Run, tmp_path: Path, form: str) -> None:
    output, pictures = tmp_path / "new" / "out", tmp_path / "pictures"
    code, out, err = run("export", "--format", form, "--output", output, "--cutouts", pictures)
    assert (code, out) == (0, "")
    assert err == f"vlm-perception-memory: wrote 3 things to {output}\n"
    assert [path.name for path in pictures.iterdir()] == ["1.jpg"]
    assert (pictures / "1.jpg").read_bytes() == b"a picture"
    assert str(pictures / "1.jpg") in output.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "left"),
    [(["cups"], [3, 2]), (["--all"], []), (["--not-seen-for-h", "0"], []), (["--not-seen-for-h", "999999"], [1, 3, 2])],
)
def test_things_are_cleared_while_the_memory_is_in_use(
    run: Run, memory: Memory, arguments: list[str], left: list[int]
) -> None:
    code, out, err = run("clear", *arguments)
    assert (code, out) == (0, "")
    assert "forgot" in err
    assert [thing.id for thing in memory.objects()] == left
    memory.look(glance(60, placed("lamp", 50.0), sees=nothing))
    assert memory.find("lamp")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["clear"], "or --all"),
        (["list", "--not-seen-for-h", "-1"], "no number of hours"),
        ([], "required"),
        (["show"], "list"),
    ],
)
def test_wrong_arguments_are_told(
    run: Run, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(*arguments)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("verb", [["list"], ["export"], ["clear", "--all"]])
@pytest.mark.parametrize("content", [None, b"no database " * 400])
def test_a_file_that_is_none_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: list[str], content: bytes | None
) -> None:
    path = tmp_path / "other.db"
    if content is not None:
        path.write_bytes(content)
    assert cli.main([str(path), *verb]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"vlm-perception-memory: {path} is")
    assert (path.read_bytes() if path.exists() else None) == content


def test_a_place_that_cannot_be_written_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, out, err = run("export", "--output", tmp_path / "file" / "out.csv")
    assert (code, out) == (2, "")
    assert str(tmp_path / "file") in err


def test_the_page_s_commands_work(memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8").partition("\n## vlm-perception-memory")[2]
    commands = page.partition("```bash\n")[2].partition("```")[0].splitlines()
    monkeypatch.chdir(tmp_path)
    assert len(commands) == 6
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == cli.PROGRAM
        assert cli.main(arguments) == 0, command
    assert {"things.geojson", "things.csv", "pictures"} <= {path.name for path in tmp_path.iterdir()}
    assert memory.objects() == ()


def test_the_page_s_table_names_what_is_exported(memory: Memory) -> None:
    page = (
        (ROOT / "docs" / "tools.md")
        .read_text(encoding="utf-8")
        .partition("| column, property |")[2]
        .partition("\n\n")[0]
    )
    named = {name for row in page.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    feature = json.loads(as_geojson(memory.objects(), {}))["features"][0]
    columns = set(as_csv((), {}).strip().split(","))
    assert named == (columns | feature["properties"].keys() | {"coordinates"}) - {"id", "label"}
