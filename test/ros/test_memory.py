"""What the node has seen it remembers: where, over restarts, moved and gone; it is asked by words, without a model."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Duration
from goals import SUCCEEDED, Goals
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from robot import LATCHED, Robot, header
from room_rig import STRAIGHT, Room
from scripted_engine import PATIENCE_S, ScriptedEngine
from small_disk import small_disk
from std_srvs.srv import SetBool
from visualization_msgs.msg import Marker, MarkerArray
from vlm_perception_msgs.srv import Forget, WhereIs

from vlm_perception.apps.memory.command import main as clear_by_command
from vlm_perception.errors import ModelLoadError
from vlm_perception.ros.lifecycle.states import State
from vlm_perception.ros.memory import keeper
from vlm_perception.ros.memory.keeper import MemoryKeeper
from vlm_perception.scenes.world import Pose
from vlm_perception.world.lift import Places
from vlm_perception.world.memory import Memory
from vlm_perception.world.transforms import IDENTITY


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "places.db"


@pytest.fixture
def room(robot: Robot, scripted: ScriptedEngine, file: Path) -> Callable[..., Room]:
    def make(**node: Any) -> Room:
        return Room(robot, scripted, file, **node)

    return make


def where_is(robot: Robot, text: str = "", **fields: Any) -> WhereIs.Response:
    return robot.call(WhereIs, "where_is", WhereIs.Request(text=text, **fields))


def forget(robot: Robot, **fields: Any) -> Forget.Response:
    return robot.call(Forget, "forget", Forget.Request(**fields))


def place_of(found: Any) -> tuple[float, float, float]:
    at = found.pose.pose.position
    return at.x, at.y, at.z


def only(robot: Robot, text: str, **fields: Any) -> Any:
    (found,) = where_is(robot, text, **fields).objects
    return found


def known(robot: Robot) -> list[tuple[object, ...]]:
    """What is remembered, without scores, which are NaN of this model and so equal nothing."""
    return [
        (each.id, each.label, place_of(each), each.belief, each.times_seen, each.times_missed, each.last_seen)
        for each in where_is(robot).objects
    ]


def end(robot: Robot) -> None:
    """End the node as its process would."""
    (node,) = robot.nodes
    robot.stop_spinning(node)
    assert node.close(PATIENCE_S)
    robot.nodes.remove(node)


def test_a_thing_that_was_seen_is_found_by_words_where_it_stands(robot, room) -> None:
    made = room()
    made.look(5)
    everything = where_is(robot)
    assert (everything.success, everything.message) == (True, "")
    assert sorted(found.label for found in everything.objects) == sorted(made.labels)
    for found in everything.objects:
        board = made.board(found.label)
        assert place_of(found) == pytest.approx(tuple(board.centre_m), abs=0.04)
        assert found.size.x == pytest.approx(board.size_m[0], abs=0.06)
        assert found.pose.header.frame_id == "map"
        assert (found.pose.header.stamp.sec, found.first_seen, found.last_seen) == (0, header(5).stamp, header(5).stamp)
        assert (found.camera, found.phrase, found.times_seen, found.times_missed) == ("/image", found.label, 1, 0)
        assert found.prompt == "; ".join(made.labels)
        assert not found.cutout.data
    label = made.labels[0]
    colour, kind = label.split()
    for words in (label, f"the {label}s", kind, colour.upper()):
        # The last one names no thing, so that it may be meant.
        assert label in [found.label for found in where_is(robot, words).objects], words
    assert len(where_is(robot, max_objects=2).objects) == 2
    shown = only(robot, label, with_cutouts=True).cutout
    picture = cv2.imdecode(np.frombuffer(shown.data, np.uint8), cv2.IMREAD_COLOR)
    assert (shown.format, max(picture.shape) <= 160) == ("jpeg", True)
    assert made.talk.diagnostic("things remembered", "4")


def test_what_nobody_has_seen_is_said_to_be_unknown_and_what_is_known_instead(robot, room) -> None:
    made = room()
    assert where_is(robot, "cup").message == "nothing called 'cup' is remembered, nor anything else"
    made.look(5)
    answer = where_is(robot, "piano")
    assert (answer.success, answer.objects) == (False, [])
    assert answer.message.startswith("nothing called 'piano' is remembered; 4 other things are: ")
    assert all(label in answer.message for label in made.labels)


def test_what_is_not_called_exactly_so_is_told_as_that_and_never_forgotten(robot, room) -> None:
    made = room()
    made.look(5)
    colour, kind = made.labels[0].split()
    perhaps = where_is(robot, f"broken {colour} {kind}")
    assert (perhaps.success, made.labels[0] in [found.label for found in perhaps.objects]) == (True, True)
    assert perhaps.message == f"nothing is called exactly 'broken {colour} {kind}'; these may be meant"
    assert not where_is(robot, f"{kind} handle").objects
    for words in (f"broken {colour} {kind}", f"{kind} handle", colour):
        told = forget(robot, text=words)
        assert (told.success, told.forgotten) == (False, 0)
        assert f"nothing called {words!r} is remembered; 4 other things are: " in told.message
    assert len(where_is(robot).objects) == 4


def test_without_a_memory_it_says_how_to_have_one(robot, talk, scripted) -> None:
    talk(scripted)
    assert "set memory_file" in where_is(robot, "cup").message
    assert "set memory_file" in forget(robot, all=True).message


def test_it_outlasts_the_node_and_needs_no_model(robot, room, scripted, file) -> None:
    made = room()
    made.look(5)
    before = known(robot)
    end(robot)
    broken = ScriptedEngine()
    broken.load_error = ModelLoadError("no such folder")
    node = robot.node(broken, reaches=None, depth_topics=["/depth"], target_frame="map", memory_file=str(file))
    robot.until(lambda: node.state is State.UNCONFIGURED and node._lifecycle.problem, "the model cannot be loaded")
    assert len(before) == 4
    assert known(robot) == before


def test_it_answers_while_paused_and_inactive_and_is_closed_by_cleanup(robot, room) -> None:
    made = room()
    made.look(5)
    assert robot.call(SetBool, "enable", SetBool.Request(data=False)).success
    assert where_is(robot).success
    for number in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP, Transition.TRANSITION_CONFIGURE):
        assert robot.call(ChangeState, "change_state", ChangeState.Request(transition=Transition(id=number))).success
        assert where_is(robot).success == (number != Transition.TRANSITION_CLEANUP)


def test_a_thing_that_has_moved_is_updated_and_not_doubled(robot, room) -> None:
    made = room()
    made.look(5)
    label = made.labels[0]
    before = only(robot, label)
    made.move(label, (0.0, 0.0, 0.55))
    made.look(6)
    after = only(robot, label)
    assert (after.id, after.times_seen) == (before.id, 2)
    assert place_of(after) == pytest.approx(tuple(made.board(label).centre_m), abs=0.04)
    assert len(where_is(robot).objects) == 4


def test_a_thing_that_is_gone_is_believed_less_and_forgotten_in_the_end(robot, room) -> None:
    made = room()
    made.look(5)
    label = made.labels[0]
    made.take_away(label)
    beliefs = [only(robot, label).belief]
    for number in range(6, 20):
        made.look(number)
        found = where_is(robot, label).objects
        if not found:
            break
        beliefs.append(found[0].belief)
        assert found[0].times_missed == number - 5
    assert 3 <= len(beliefs) <= 8
    assert beliefs == sorted(beliefs, reverse=True)
    assert len(where_is(robot).objects) == 3


# 60 degrees down.
AT_THE_FLOOR = Pose(
    STRAIGHT.rotation @ np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.866], [0.0, -0.866, 0.5]]), STRAIGHT.position_m
)


@pytest.mark.parametrize(
    ("how", "look"),
    [
        ("no depth", {"with_depth": False}),
        ("no transform", {"with_transform": False}),
        ("at the floor", {"camera": AT_THE_FLOOR}),
        ("cut off", {}),
        ("another prompt", {}),
        ("another part of the image", {}),
        ("behind something", {}),
    ],
)
def test_what_could_not_be_found_is_believed_as_before(robot, room, scripted, how: str, look: dict[str, Any]) -> None:
    made = room(tracking="off")
    made.look(5)
    gone, other = made.labels[0], made.labels[1]
    (before,) = (each for each in known(robot) if each[1] == gone)
    if how == "cut off":
        scripted.finish_reason = "timeout"
    elif how == "another prompt":
        made.talk.ask(other)
    elif how == "another part of the image":
        made.talk.ask(f"in the right half: {gone}")
    elif how == "behind something":
        to_the_camera = (STRAIGHT.position_m - made.board(gone).centre_m) * 0.3
        made.move(other, tuple(made.board(gone).centre_m + to_the_camera - made.board(other).centre_m))
    made.look(20, unseen=[gone], **look)
    assert before in known(robot)


def test_a_goal_in_space_is_remembered_too(robot, room) -> None:
    made = room(prompt="")
    made.talk.ask("")
    client = Goals(robot)
    asked = client.send("; ".join(made.labels), in_space=True)
    made.publish(5)
    status, result = asked.result()
    client.close()
    assert (status, result.problem) == (SUCCEEDED, "")
    robot.until(lambda: len(where_is(robot).objects) == 4, "the goal's answer is remembered")


def test_a_goal_that_was_cut_off_is_remembered_as_far_as_it_came(robot, room, scripted) -> None:
    made = room(prompt="")
    made.look(5)
    made.talk.ask("")
    scripted.finish_reason = "timeout"
    client = Goals(robot)
    asked = client.send("; ".join(made.labels), in_space=True)
    made.publish(6, unseen=made.labels[:1])
    _, result = asked.result()
    client.close()
    assert "timeout_s" in result.problem
    seen = [each for each in made.labels if each != made.labels[0]]
    robot.until(lambda: only(robot, seen[0]).last_seen.sec == 6, "the goal's answer is remembered")
    assert [only(robot, each).times_seen for each in seen] == [2, 2, 2]
    assert only(robot, made.labels[0]).times_missed == 0


def test_things_are_forgotten_by_words_ids_and_age(robot, room) -> None:
    made = room()
    made.look(5)
    first, second, third, _ = made.labels
    assert forget(robot, text="piano").message.startswith("nothing called 'piano'")
    assert "text and all is given: give one of" in forget(robot, text=first, all=True).message
    assert "nothing is given" in forget(robot).message
    assert forget(robot, not_seen_for=Duration(sec=-1)).message == "not_seen_for is -1 s: give more than 0"
    assert len(where_is(robot).objects) == 4
    done = forget(robot, text=first)
    assert (done.success, done.forgotten, done.message) == (True, 1, "1 of 4 things were forgotten")
    assert forget(robot, ids=[only(robot, second).id, 9999]).forgotten == 1
    made.look(6, unseen=[third])
    # Stamps of these images are in 1970: all were last seen long ago, by the node's own clock.
    assert forget(robot, not_seen_for=Duration(sec=2**31 - 1)).forgotten == 0
    assert forget(robot, not_seen_for=Duration(sec=1)).forgotten >= 2
    made.look(7)
    assert forget(robot, all=True).forgotten == 4
    assert where_is(robot).message == "nothing is remembered yet"


def test_rviz_sees_what_is_remembered_whenever_it_comes(robot, room) -> None:
    made = room()
    made.look(5)
    shown = robot.hear("/vlm_perception/memory_markers", MarkerArray, LATCHED).wait_for(lambda m: len(m.markers) > 1)
    first, *markers = shown.markers
    assert first.action == Marker.DELETEALL
    assert {marker.ns for marker in markers} == {"things", "names"}
    assert {(marker.header.frame_id, marker.header.stamp.sec) for marker in markers} == {("map", 0)}
    named = {marker.id: marker.text for marker in markers if marker.ns == "names"}
    things = {marker.id: marker for marker in markers if marker.ns == "things"}
    known = {found.id: found for found in where_is(robot).objects}
    assert {number: text.rpartition(" ")[0] for number, text in named.items()} == {n: f.label for n, f in known.items()}
    for number, found in known.items():
        assert things[number].pose.position == found.pose.pose.position
    # One that comes later has it at once, and one that is there hears of every change.
    late = robot.hear("/vlm_perception/memory_markers", MarkerArray, LATCHED)
    assert late.wait_for().markers == shown.markers
    label = made.labels[0]
    before = next(marker for number, marker in things.items() if known[number].label == label)
    made.take_away(label)
    made.look(6)
    fainter = late.next(lambda m: any(each.ns == "things" and each.id == before.id for each in m.markers))
    (after,) = (each for each in fainter.markers if (each.ns, each.id) == ("things", before.id))
    assert after.color.a < before.color.a
    forget(robot, all=True)
    assert [each.action for each in late.wait_for(lambda m: len(m.markers) == 1).markers] == [Marker.DELETEALL]


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder, 400_000):
        yield folder


def test_a_full_disk_is_told_and_stops_nothing_else(robot, scripted, full_disk: Path) -> None:
    made = Room(robot, scripted, full_disk / "places.db")
    made.look(5, unseen=made.labels[1:])
    assert len(where_is(robot).objects) == 1
    filler = full_disk / "filler"
    with filler.open("wb", buffering=0) as full, pytest.raises(OSError, match="No space left"):
        full.writelines(bytes(4096) for _ in range(1000))
    made.look(6)
    said = made.talk.later(lambda values: "memory" in values["symptoms"])
    assert "disk is full" in said["symptoms"]
    assert said["errors: memory"] == "1"
    assert [found.label for found in where_is(robot).objects] == made.labels[:1]
    filler.unlink()
    made.look(7)
    assert len(where_is(robot).objects) == 4
    made.talk.later(lambda values: "disk is full" not in values["symptoms"])


def test_a_file_that_is_no_memory_is_left_as_it_is_and_the_node_works(robot, scripted, file: Path) -> None:
    file.write_bytes(b"my diary\n" * 100)
    made = Room(robot, scripted, file)
    made.look(5)
    # That it cannot be opened, and the answer that is lost by it.
    said = made.talk.later(lambda values: values["errors: memory"] == "2")
    assert "memory" in said["symptoms"]
    assert str(file) in where_is(robot, "cup").message
    assert file.read_bytes() == b"my diary\n" * 100


@pytest.mark.parametrize("try_again_s", [0.0, 3600.0])
def test_a_disk_that_comes_later_is_used_then(robot, scripted, tmp_path: Path, monkeypatch, try_again_s) -> None:
    monkeypatch.setattr(keeper, "_TRY_AGAIN_S", try_again_s)
    disk = tmp_path / "disk"
    disk.touch()
    made = Room(robot, scripted, disk / "places.db")
    made.look(5)
    made.talk.later(lambda values: values["errors: memory"] == "2" and "memory" in values["symptoms"])
    disk.unlink()
    disk.mkdir()
    made.look(6)
    if try_again_s:
        made.talk.later(lambda values: values["errors: memory"] == "3")
        assert str(disk) in where_is(robot).message
        assert not list(disk.iterdir())
        return
    assert len(where_is(robot).objects) == 4
    said = made.talk.later(lambda values: "memory" not in values["symptoms"])
    assert (said["errors: memory"], said["things remembered"]) == ("2", "4")


def test_a_question_opens_what_has_come_since(robot, scripted, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(keeper, "_TRY_AGAIN_S", 0.0)
    disk = tmp_path / "disk"
    disk.touch()
    Room(robot, scripted, disk / "places.db")
    assert str(disk) in where_is(robot).message
    disk.unlink()
    assert where_is(robot).message == "nothing is remembered yet"


def test_what_another_program_clears_is_shown_and_counted_without_a_question(robot, room, file: Path) -> None:
    made = room()
    markers = robot.hear("/vlm_perception/memory_markers", MarkerArray, LATCHED)
    made.look(5)
    markers.wait_for(lambda m: len(m.markers) == 1 + 2 * 4)
    assert made.talk.diagnostic("things remembered", "4")
    assert clear_by_command([str(file), "clear", "--all"]) == 0
    assert [each.action for each in markers.next(lambda m: len(m.markers) == 1).markers] == [Marker.DELETEALL]
    made.talk.later(lambda values: values["things remembered"] == "0")


def test_damage_that_comes_while_the_file_is_open_is_told_to_who_asks(robot, room, file: Path) -> None:
    made = room()
    made.look(5)
    assert where_is(robot).success
    with closing(sqlite3.connect(file)) as other:
        other.execute("PRAGMA ignore_check_constraints = ON")
        other.execute("UPDATE objects SET label = x'ff'")
        other.commit()
    answer = where_is(robot)
    assert (answer.success, answer.message.startswith("the memory failed: ")) == (False, True)
    made.talk.later(lambda values: values["errors: memory"] == "1")
    assert forget(robot, all=True).forgotten == 4


def test_what_was_in_view_is_told_in_the_frame_of_the_places_alone(robot, room) -> None:
    made = room()
    made.look(5)
    outputs, request = made.node._outputs, made.answered(5).request
    known = only(robot, made.labels[0])
    sides = (known.size.x, known.size.y, known.size.z)
    view = outputs.field_of_view(request, 0.05, "map")()
    assert view.holds(place_of(known), sides)
    assert outputs.field_of_view(request, 0.05, "odom")() is None
    assert outputs.field_of_view(request, 0.05, "camera_optical")().to_camera == IDENTITY
    # What was placed before the target was changed.
    read = outputs.field_of_view(request, 0.05, "map")
    outputs.use(["/image"], {"/image": "/depth"}, "odom")
    assert read() is not None
    assert outputs.field_of_view(request, 0.05, "map")() is None


def test_what_is_told_after_the_end_does_no_harm(robot, room, file: Path) -> None:
    made = room()
    ended = MemoryKeeper(made.node._shared, made.node._outputs)
    ended.open(made.node._shared.settings.model_copy(update={"memory_file": f"{file}.other"}))
    assert ended.end(PATIENCE_S)
    ended.take(made.answered(5), Places("map", ()))
    ended._follow_soon()
    # Its timer fires on.
    made.look(6)


def test_places_of_another_frame_are_refused(robot, room, scripted, file: Path) -> None:
    room().look(5)
    end(robot)
    log = robot.hear_log()
    robot.node(ScriptedEngine(), depth_topics=["/depth"], target_frame="odom", memory_file=str(file))
    assert "remembers places in frame 'map'" in where_is(robot).message
    log.wait_for(lambda line: "'odom' was given" in line.msg)


def test_a_disk_that_hangs_holds_up_no_answer(robot, room, file: Path, monkeypatch) -> None:
    monkeypatch.setattr(keeper, "_MOST_WAITING", 2)
    made = room(tracking="off")
    made.look(5)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for number in range(6, 12):
        made.look(number)
    made.talk.logs.wait_for(lambda line: "2 wait for the disk, the limit" in line.msg)
    other.execute("ROLLBACK")
    other.close()
    # This is answered after what waits.
    assert where_is(robot).success
    made.look(12)
    assert only(robot, made.labels[0]).last_seen.sec == 12


def test_what_is_answered_before_the_file_is_open_is_remembered_too(robot, room, monkeypatch) -> None:
    disk_answers = threading.Event()

    def slow(*args: Any, **options: Any) -> Memory:
        assert disk_answers.wait(PATIENCE_S)
        return Memory(*args, **options)

    monkeypatch.setattr(keeper, "Memory", slow)
    made = room()
    made.look(5)
    disk_answers.set()
    assert len(where_is(robot).objects) == 4


def test_of_a_camera_that_stands_still_its_own_frame_will_do_and_a_stamp_is_needed(robot, room) -> None:
    made = room(target_frame="camera_optical")
    made.look(0)
    assert made.talk.diagnostic("errors: memory", "1")
    made.talk.logs.wait_for(lambda line: "images of /image have no stamp" in line.msg)
    assert not where_is(robot).success
    made.look(5)
    assert {found.pose.header.frame_id for found in where_is(robot).objects} == {"camera_optical"}
