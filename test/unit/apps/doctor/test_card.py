"""The doctor asks models about the drawn card: the shipped one, and servers that are right and wrong."""

from __future__ import annotations

import json
import re
from functools import partial

import pytest
from scripted_server import Reply, card_reply, relative, serving, usage

from vlm_perception.apps.doctor import card
from vlm_perception.apps.doctor.card import judge_probe, probe_model
from vlm_perception.apps.doctor.findings import Severity
from vlm_perception.apps.doctor.probe import Probe


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ask in this process: a new one takes seconds to import torch."""

    def run(arguments: list[str], environ: dict[str, str], timeout_s: float) -> Probe:
        card.main(arguments[-1])
        return Probe(json.loads(capsys.readouterr().out.splitlines()[-1]))

    monkeypatch.setattr(card, "run_python", run)


def test_the_shipped_model_finds_what_is_on_the_card() -> None:
    found = probe_model("tiny")
    assert (found.level, found.title) == (Severity.OK, "The model finds what is on a drawn card")
    assert "3 of 3 things found at IoU 0.9" in found.detail
    assert re.search(r"coordinates absolute; an image of \d+x\d+ px", found.detail)
    assert "GiB" in found.detail


@pytest.mark.parametrize(
    ("about_card", "level", "words"),
    [
        (card_reply, Severity.OK, ["3 of 3"]),
        (partial(card_reply, to_frame=relative), Severity.ERROR, ["relative_1000", "absolute"]),
        (lambda body: Reply(["I see shapes."], usage=usage(body, 28)), Severity.WARN, ["0 of 3", "I see shapes."]),
        (lambda _: Reply(["no such model"], 404), Severity.ERROR, ["HTTP 404"]),
    ],
)
def test_a_server_is_judged_by_its_boxes(about_card, level: Severity, words: list[str]) -> None:
    # The card is asked about twice: at load, and once more to be measured.
    with serving(about_card, about_card=about_card) as server:
        found = probe_model(server.url)
    assert found.level is level
    assert all(word in found.detail for word in words), found.detail


def test_boxes_of_a_checkpoint_in_another_frame_are_an_error() -> None:
    facts = {"model": "m", "source": "s", "found": 3, "things": 3, "mean_iou": 0.9, "boxes": 3, "model_wh": [28, 28],
             "coordinates": "relative_1000", "otherwise": "", "expected": "absolute", "answer_s": 1.0, "tokens": 9,
             "tokens_per_s": 9.0, "memory_bytes": 2**30, "text": "[]"}  # fmt: skip
    for change in ({}, {"coordinates": None, "otherwise": "y before x, x times 2 and +0 px"}):
        found = judge_probe(Probe(facts | change))
        assert (found.level, found.title) == (Severity.ERROR, "The model writes boxes in another frame")
    assert "y before x" in found.detail


def test_a_child_process_that_fails_is_told() -> None:
    assert judge_probe(Probe(problem="it was killed")).level is Severity.UNSEEN
