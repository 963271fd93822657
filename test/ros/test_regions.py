"""A part of the image that a prompt names, and closer looks, through the node."""

from __future__ import annotations

import json


def test_a_prompt_about_a_part_of_the_image_is_answered_in_pixels_of_the_whole_beside_one_about_all_of_it(
    talk, scripted
):
    scripted.reply = '[{"bbox_2d": [2, 4, 18, 26], "label": "cup"}]'
    t = talk(scripted)
    t.ask(json.dumps([{"id": "right", "prompt": "cup", "region": "right half"}, {"id": "all", "prompt": "cup"}]))
    for name, left, region in (("right", 23.0, [21, 0, 42, 28]), ("all", 2.0, None)):
        message = t.show_until(t.answers, lambda m, name=name: json.loads(m.data)["prompt_id"] == name)
        answer = json.loads(message.data)
        assert (answer["objects"][0]["bbox_xyxy"], answer["region_xyxy"]) == ([left, 4.0, left + 16, 26.0], region)
        assert (answer["image_wh"], answer["frame_id"]) == ([42, 28], "camera_optical")
    t.prompt_publisher.publish(type(t.active.messages[0])(data="in [5, 5, 5, 9]: cup"))
    assert "left below right" in t.logs.wait_for(lambda m: "no rectangle" in m.msg).msg
    t.ask("in [42, 0, 90, 20]: cup")
    t.show_until(t.diagnostics, lambda m: any(v.key == "dropped: bad_geometry" for s in m.status for v in s.values))


def test_closer_looks_are_told_in_the_answer_and_counted(talk, scripted):
    scripted.reply = '[{"bbox_2d": [2, 2, 4, 4], "label": "cup"}]'
    t = talk(scripted, zoom="auto", max_age_s=60.0)
    t.ask("cup")
    answer = json.loads(t.show_until(t.answers).data)
    (look,) = answer["looks"]
    assert (look["outcome"], look["text"]) == ("done", scripted.reply)
    assert answer["timings"]["zoom_s"] == look["took_s"] > 0
    values = t.later(lambda values: values["closer looks"] != "0")
    assert values["closer looks left out"] == "0"
