"""Objects are published while the model is still writing, in order, flagged, and only if asked for."""

from __future__ import annotations

import json

LABELS = ["cup", "bowl", "spoon"]
ITEMS = [f'{{"bbox_2d": [{2 * n}, 4, {2 * n + 9}, 20], "label": "{label}"}}' for n, label in enumerate(LABELS)]
THREE = f"```json\n[{', '.join(ITEMS)}]\n```"
FIRST_OBJECT = THREE.index("}") + 1


def of_frame(t, number: int) -> list[dict]:
    return [answer for answer in t.told() if answer["stamp"]["sec"] == number]


def whole(message) -> bool:
    return not json.loads(message.data)["partial"]


def test_objects_come_one_by_one_and_the_whole_answer_last(robot, talk, scripted):
    scripted.reply = THREE
    t = talk(scripted, publish_partial=True)
    t.ask("all objects")
    number = json.loads(t.show_until(t.answers, whole).data)["stamp"]["sec"]
    answers = of_frame(t, number)
    assert [answer["partial"] for answer in answers] == [True, True, True, False]
    assert [answer["finish_reason"] for answer in answers] == ["unfinished"] * 3 + ["stop"]
    for count, answer in zip((1, 2, 3, 3), answers, strict=True):
        assert [item["label"] for item in answer["objects"]] == LABELS[:count]
        assert answer["objects"] == answers[-1]["objects"][:count]
        assert THREE.startswith(answer["raw_text"])
        assert (answer["frame_id"], answer["camera"], answer["prompt"]) == ("camera_optical", "/image", "all objects")
        assert answer["timings"]["first_object_s"] == answers[0]["timings"]["first_object_s"] > 0
    robot.until(lambda: len([m for m in t.detections.messages if m.header.stamp.sec == number]) == 4, "four arrays")
    arrays = [m for m in t.detections.messages if m.header.stamp.sec == number]
    assert [[d.results[0].hypothesis.class_id for d in m.detections] for m in arrays] == [
        LABELS[:1],
        LABELS[:2],
        LABELS,
        LABELS,
    ]
    for array in arrays:
        assert array.header == arrays[-1].header
        assert list(array.detections) == list(arrays[-1].detections)[: len(array.detections)]


def test_the_first_object_is_out_while_the_model_still_writes(robot, talk, scripted):
    scripted.reply, scripted.first = THREE, FIRST_OBJECT
    scripted.thinking.set()
    t = talk(scripted, publish_partial=True)
    t.ask("all objects")
    message = t.show_until(t.detections)
    assert [d.results[0].hypothesis.class_id for d in message.detections] == ["cup"]
    assert t.diagnostic("answers", "0")["answers"] == "0", "a part is not an answer"
    scripted.thinking.clear()
    t.answers.wait_for(whole)
    assert t.diagnostic("answers", "1", "2", "3")


def test_off_by_default_a_frame_is_answered_once(robot, talk, scripted):
    scripted.reply = THREE
    t = talk(scripted)
    t.ask("all objects")
    t.show_until(t.answers, lambda m: json.loads(m.data)["stamp"]["sec"] >= 10)
    stamps = [answer["stamp"]["sec"] for answer in t.told()]
    assert stamps == sorted(set(stamps))
    assert not any(answer["partial"] for answer in t.told())
    assert all(answer["timings"]["first_object_s"] > 0 for answer in t.told())
    arrays = [m.header.stamp.sec for m in t.detections.messages]
    assert arrays == sorted(set(arrays))
    asked = [request.frame.header.stamp_sec for request in scripted.requests]
    assert asked == sorted(set(asked))


def test_it_can_be_switched_on_while_running(robot, talk, scripted):
    scripted.reply = THREE
    t = talk(scripted)
    t.ask("all objects")
    t.show_until(t.answers)
    assert robot.set_parameters(publish_partial=True).successful
    t.show_until(t.answers, lambda m: not whole(m), first=1000)


def test_after_a_new_prompt_not_even_a_part_of_the_old_answer_comes(robot, talk, scripted):
    """Even from an engine that goes on writing: what counts is what the node lets out."""
    scripted.reply, scripted.first, scripted.deaf = THREE, FIRST_OBJECT, True
    scripted.thinking.set()
    t = talk(scripted, publish_partial=True)
    t.ask("all objects")
    t.show_until(t.answers)
    t.ask("blue cup")
    scripted.thinking.clear()
    t.show_until(t.answers, lambda m: json.loads(m.data)["prompt"] == "blue cup" and whole(m), first=1000)
    old = [answer for answer in t.told() if answer["prompt"] == "all objects"]
    assert [(answer["partial"], len(answer["objects"])) for answer in old] == [(True, 1)]
    old_arrays = [m for m in t.detections.messages if m.header.stamp.sec == old[0]["stamp"]["sec"]]
    assert len(old_arrays) == 1
    assert t.diagnostic("dropped: prompt_changed", "1")


def test_a_broken_item_is_in_no_part_and_costs_no_other(robot, talk, scripted):
    scripted.reply = f'[{ITEMS[0]}, {{"bbox_2d": [1, 2, 3], "label": "broken"}}, {ITEMS[2]}]'
    t = talk(scripted, publish_partial=True)
    t.ask("all objects")
    number = json.loads(t.show_until(t.answers, whole).data)["stamp"]["sec"]
    labels = [[item["label"] for item in answer["objects"]] for answer in of_frame(t, number)]
    assert labels == [["cup"], ["cup", "spoon"], ["cup", "spoon"]]
    assert len(of_frame(t, number)[-1]["rejects"]) == 1


def test_a_cut_loop_is_published_counted_and_logged_once(robot, talk, scripted):
    scripted.reply, scripted.finish_reason = f"[{', '.join([ITEMS[0]] * 9)}", "repetition"
    t = talk(scripted)
    t.ask("all objects")
    t.show_until(t.answers, lambda m: json.loads(m.data)["stamp"]["sec"] >= 3)
    answer = t.told()[0]
    assert answer["finish_reason"] == "repetition"
    assert [item["label"] for item in answer["objects"]] == ["cup"]
    assert int(t.diagnostic("repetition loops cut", *map(str, range(2, 99)))["repetition loops cut"]) >= 2
    assert len([m for m in t.logs.messages if "repeated itself" in m.msg]) == 1, "throttled"
