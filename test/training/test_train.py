"""Training goes by steps, and one that was stopped goes on as if it had not been."""

from __future__ import annotations

import ctypes
import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from training import clips, train
from training.batches import patchify
from training.handover import hand_over
from training.scenes import FIRST_TRAINING_SEED, draw_scenes
from training.train import RESUME_FILE, Plan, Stream, Trainer


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(train, "CORPUS_SCENES", 12)
    monkeypatch.setattr(clips, "_FRAMES", (4,))
    return Plan("qwen3_vl", tmp_path, steps=4, scenes=1, length=128, learning_rate=3e-3, decay_share=0.5)


def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Trainer.save
    monkeypatch.setattr(train, "SAVE_EVERY_S", 0.0)

    def stop(trainer: Trainer) -> None:
        own(trainer)
        if trainer.step == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        Trainer(plan).train()
    monkeypatch.setattr(Trainer, "save", own)
    resumed = Trainer(plan)
    assert resumed.step == 2
    resumed.train()
    monkeypatch.setattr(train, "SAVE_EVERY_S", 1e9)
    again = tmp_path / "again"
    again.mkdir()
    # Its tokenizer; nothing else there is looked at.
    (again / "checkpoint").symlink_to(tmp_path / "checkpoint")
    whole = Trainer(replace(plan, folder=again))
    assert whole.step == 0
    whole.train()
    assert resumed.step == whole.step == plan.steps
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
        assert torch.equal(whole.average[name], resumed.average[name]), name


def test_a_run_that_is_handed_over_goes_on_at_its_step_with_its_weights(plan: Plan, tmp_path: Path) -> None:
    begun = Trainer(replace(plan, steps=2))
    begun.train()
    elsewhere = tmp_path / "elsewhere"
    assert hand_over(tmp_path, elsewhere) == 2
    assert (elsewhere / RESUME_FILE).stat().st_size < 0.2 * (tmp_path / RESUME_FILE).stat().st_size
    resumed = Trainer(replace(plan, folder=elsewhere))
    assert resumed.step == 2
    assert resumed.processor.tokenizer.get_vocab() == begun.processor.tokenizer.get_vocab()
    for name, value in begun.model.state_dict().items():
        ours = resumed.model.state_dict()[name]
        assert ours.dtype == value.dtype
        assert torch.equal(ours, value.bfloat16().to(value.dtype)), name
        assert torch.equal(resumed.average[name], ours), name
    resumed.train()
    assert resumed.step == plan.steps


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_a_step_has_the_same_batch_wherever_the_run_began(plan: Plan) -> None:
    tokenizer = Trainer(plan).processor.tokenizer
    whole = [batch for batch, _ in Stream(plan, tokenizer, 0)]
    late = [batch for batch, _ in Stream(plan, tokenizer, 2)]
    assert len(whole) == plan.steps
    assert [batch.grid_t > 1 for batch in whole] == [False, False, True, False], "clips are drawn alike, too"
    for ours, theirs in zip(whole[2:], late, strict=True):
        assert torch.equal(ours.input_ids, theirs.input_ids)
        assert torch.equal(ours.patches, theirs.patches)
    assert not torch.equal(whole[2].input_ids, whole[3].input_ids)
    drawn = draw_scenes(np.random.default_rng(FIRST_TRAINING_SEED), plan.scenes, plan.tiny, plan.most_objects(0))
    assert torch.equal(whole[0].patches, patchify(drawn.pixels, plan.tiny)), "its seed is none of evaluation's"
    shared = [batch for batch, _ in DataLoader(Stream(plan, tokenizer, 0), batch_size=None, num_workers=3)]
    assert [batch.input_ids.tolist() for batch in shared] == [batch.input_ids.tolist() for batch in whole]


def test_the_schedule_follows_the_steps(plan: Plan) -> None:
    plan = replace(plan, steps=1000)
    assert plan.factor(0) == pytest.approx(1 / train.WARM_UP_STEPS)
    assert plan.factor(400) == 1.0
    assert plan.factor(750) == pytest.approx(0.5)
    assert plan.factor(999) == pytest.approx(0.002)
    assert [plan.most_objects(step) for step in (0, 40, 100)] == [2, 4, 12]


def test_some_steps_are_of_clips_once_images_are_known(plan: Plan) -> None:
    plan = replace(plan, steps=1000)
    of_clips = [step for step in range(1000) if plan.is_of_clips(step)]
    assert min(of_clips) >= train.CLIPS_FROM * 1000
    assert {b - a for a, b in itertools.pairwise(of_clips)} == {train.CLIP_EVERY}


def test_a_step_of_clips_is_learned_from(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """All losses that a clip has are numbers, and the time that its tokens are at is one of what they learn."""
    monkeypatch.setattr(train, "CLIP_EVERY", 1)
    monkeypatch.setattr(train, "CLIPS_FROM", 0.0)
    trainer = Trainer(plan)
    batch, dense = next(iter(Stream(plan, trainer.processor.tokenizer, 0)))
    untaught = trainer.heads.time.weight.detach().clone()
    losses = trainer._learn(batch, dense)
    assert torch.isfinite(losses).all()
    assert losses[0] > 0
    assert losses[-1] > 0
    assert not torch.equal(trainer.heads.time.weight, untaught)


MEMORY_KEPT = """
import resource, torch
from training.train import spare_the_cpu
spare_the_cpu()
for _ in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(25_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, float(torch.tensor(1e-39) * 1.0))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="no glibc")
def test_freed_memory_is_kept_and_what_is_next_to_nothing_is_nothing() -> None:
    """In a process of its own, as it is for all of it; the first rounds settle where a block of 24,000 pages lies."""
    run = subprocess.run([sys.executable, "-c", MEMORY_KEPT], capture_output=True, text=True, check=True, timeout=120)
    faults, tiny = run.stdout.split()
    assert int(faults) < 1000
    assert float(tiny) == 0.0
