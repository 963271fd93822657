"""Train a tiny checkpoint: `python -m training.train --family qwen3_vl`.

Learning rate and curriculum follow the share of the steps done, and each step's batch has a seed of its own, so a
run does not depend on how fast the machine is. It can be stopped and started again at any time: every few minutes all
that it needs is written to `resume.safetensors`, and the running average of the weights, which is what is evaluated and
shipped, to `checkpoint`. A run that was stopped may go on with more or fewer steps, and on another device; there a
step is no longer the same to the last bit.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import AutoProcessor, PreTrainedTokenizerFast

from training import forward
from training.batches import BatchMaker
from training.checkpoint import build_tokenizer, save
from training.clips import draw_clips
from training.dense_targets import DenseTargets
from training.families import TINY_FAMILIES, TinyFamily
from training.forward import Batch
from training.heads import DenseHeads, next_token_losses, pointer_loss
from training.questions import TAUGHT_WEIGHTS, Asker
from training.scenes import FIRST_TRAINING_SEED, MAX_OBJECTS, draw_scenes, varied_scene
from training.watching import ask
from vlm_perception.scenes import render
from vlm_perception.scenes.clips import DrawnClip

WARM_UP_STEPS = 100
AVERAGE_DECAY = 0.998
# The tokenizer learns its words from these.
CORPUS_SCENES, CORPUS_QUESTIONS = 300, 40
# One step in so many is of clips, once images are known a little; a clip costs about as much as four scenes.
CLIP_EVERY, CLIPS_FROM, SCENES_A_CLIP = 3, 0.08, 4
CLIP_LENGTH = 256
SAVE_EVERY_S = 240.0
RESUME_FILE = "resume.safetensors"
# Of mallopt(3), as glibc's malloc.h numbers them.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


_Values = TypeVar("_Values", Batch, DenseTargets)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run does: of which family, where, how long, how large a step; `workers` make the batches, or itself."""

    family: str
    folder: Path
    steps: int
    scenes: int
    length: int
    learning_rate: float
    decay_share: float
    device: str = "cpu"
    workers: int = 0

    @property
    def tiny(self) -> TinyFamily:
        """The family that is trained."""
        return TINY_FAMILIES[self.family]

    def factor(self, step: int) -> float:
        """Learning-rate factor: warm up, hold, then fall to nothing over the last `decay_share`."""
        warm = min(1.0, (step + 1) / WARM_UP_STEPS)
        return warm * min(1.0, max(0.0, (1.0 - step / self.steps) / self.decay_share))

    def most_objects(self, step: int) -> int:
        """Curriculum: few things in a scene at first."""
        progress = step / self.steps
        return 2 if progress < 0.03 else 4 if progress < 0.08 else MAX_OBJECTS

    def is_of_clips(self, step: int) -> bool:
        """Whether a step learns from clips."""
        return step % CLIP_EVERY == CLIP_EVERY - 1 and step / self.steps >= CLIPS_FROM


class Stream(IterableDataset[tuple[Batch, DenseTargets]]):
    """The batches of all steps from `first` on, made in worker processes in turn."""

    def __init__(self, plan: Plan, tokenizer: PreTrainedTokenizerFast, first: int) -> None:
        self._plan, self._tokenizer, self._first = plan, tokenizer, first

    def __iter__(self) -> Iterator[tuple[Batch, DenseTargets]]:
        plan, maker = self._plan, BatchMaker(self._tokenizer, np.random.default_rng(0))
        first, stride = self._first, 1
        if worker := get_worker_info():
            torch.set_num_threads(1)
            first, stride = self._first + worker.id, worker.num_workers
        for step in range(first, plan.steps, stride):
            rng = np.random.default_rng(FIRST_TRAINING_SEED + step)
            maker.reseed(rng)
            if plan.is_of_clips(step):
                drawn = draw_clips(rng, max(1, plan.scenes // SCENES_A_CLIP), plan.tiny)
                yield maker.make_clips(drawn, CLIP_LENGTH)
            else:
                yield maker.make(draw_scenes(rng, plan.scenes, plan.tiny, plan.most_objects(step)), plan.length)


class Trainer:
    """Model, dense heads, optimisers and the running average of the weights."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.processor, model = _open(plan)
        self.model = model.to(plan.device)
        self.heads = DenseHeads(self.model.config.text_config.hidden_size, plan.tiny).to(plan.device)
        self.step = 0
        tables = ("embed_tokens", "pos_embed")
        named = list(self.model.named_parameters())
        matrices = [p for n, p in named if p.ndim == 2 and not any(table in n for table in tables)]
        rest = [p for n, p in named if p.ndim != 2 or any(table in n for table in tables)]
        self.optimisers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=1.0, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(
                [*rest, *self.heads.parameters()], lr=1.0, betas=(0.9, 0.98), weight_decay=0.0, fused=True
            ),
        ]
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self._resume()

    def train(self) -> None:
        """Run until the steps are done, saving on the way and at the end."""
        stream = Stream(self.plan, self.processor.tokenizer, self.step)
        ahead = 4 if self.plan.workers else None
        loader = iter(DataLoader(stream, batch_size=None, num_workers=self.plan.workers, prefetch_factor=ahead))
        saved_s = logged_s = time.monotonic()
        sums = torch.zeros(6, device=self.plan.device)
        while self.step < self.plan.steps:
            batch, dense = next(loader)
            sums += self._learn(_moved(batch, self.plan.device), _moved(dense, self.plan.device))
            self.step += 1
            if self.step % 50 == 0:
                now = time.monotonic()
                token, digit, vision, position, place, pointer = (sums / 50).tolist()
                print(
                    f"step {self.step} {(now - logged_s) / 50:.2f} s/step "
                    f"token {token:.3f} digit {digit:.3f} vision {vision:.3f} position {position:.3f} "
                    f"place {place:.3f} pointer {pointer:.3f}",
                    flush=True,
                )
                sums.zero_()
                logged_s = now
            if time.monotonic() - saved_s > SAVE_EVERY_S:
                self.save()
                saved_s = time.monotonic()
        self.save()

    def _learn(self, batch: Batch, dense: DenseTargets) -> torch.Tensor:
        factor = self.plan.factor(self.step)
        for optimiser, scale in zip(self.optimisers, (1.0, 0.7), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = self.plan.learning_rate * scale * factor
        with torch.autocast(torch.device(self.plan.device).type, torch.bfloat16):
            hidden = forward.run(self.model, batch)
            embedding = self.model.model.language_model.embed_tokens.weight
            token, digit = next_token_losses(hidden, batch, embedding)
            config = self.model.config
            seen = config.video_token_id if batch.grid_t > 1 else config.image_token_id
            vision, position, place = self.heads(hidden, batch, dense, seen)
            layers = self.model.model.language_model.layers
            pointer = pointer_loss(layers, hidden, batch, seen, config.vision_end_token_id)
            # The heads lead early on; near the end the answers are what counts.
            lead = 0.2 + 0.8 * min(1.0, factor) if self.step > self.plan.steps / 2 else 1.0
            loss = token + lead * (0.5 * vision + 0.2 * position + 0.5 * place + 0.6 * pointer)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        decay = min(AVERAGE_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                self.average[name].lerp_(value, 1 - decay)
        return torch.stack([t.detach() for t in (token, digit, vision, position, place, pointer)])

    def save(self) -> None:
        """Write what going on needs, and the averaged model for evaluation."""
        folder = self.plan.folder
        raw = {f"model.{k}": v.contiguous() for k, v in self.model.state_dict().items() if k != "lm_head.weight"}
        raw |= {f"heads.{k}": v for k, v in self.heads.state_dict().items()}
        raw |= {f"average.{k}": v for k, v in self.average.items()}
        for number, optimiser in enumerate(self.optimisers):
            for parameter, moments in optimiser.state_dict()["state"].items():
                raw |= {f"optimiser.{number}.{parameter}.{k}": v.contiguous() for k, v in moments.items()}
        part = folder / "resume.part.safetensors"
        save_file(raw, part, metadata={"step": str(self.step)})
        os.replace(part, folder / RESUME_FILE)
        average = type(self.model)(self.model.config)
        average.generation_config = self.model.generation_config
        average.load_state_dict(self.average)
        save(average, self.processor, folder / "checkpoint")
        print(f"saved {folder / 'checkpoint'} at step {self.step}", flush=True)

    def _resume(self) -> None:
        path = self.plan.folder / RESUME_FILE
        if not path.exists():
            return
        raw = load_file(path, device=self.plan.device)
        model, heads, average = (_under(raw, name) for name in ("model", "heads", "average"))
        # The head is the embedding, and is kept once.
        model["lm_head.weight"] = model["model.language_model.embed_tokens.weight"]
        try:
            self.model.load_state_dict(model)
            self.heads.load_state_dict(heads)
        except RuntimeError as error:
            raise SystemExit(f"{path} does not fit this model ({error}): delete {path.parent} to start anew") from error
        # A run that was handed over has the weights alone.
        self.average = average or {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        for number, optimiser in enumerate(self.optimisers if average else ()):
            own = optimiser.state_dict()
            kept = (_under(raw, f"optimiser.{number}.{i}") for group in own["param_groups"] for i in group["params"])
            optimiser.load_state_dict({**own, "state": dict(enumerate(kept))})
        with safe_open(path, "pt") as file:
            self.step = int(file.metadata()["step"])
        print(f"going on from step {self.step}", flush=True)


def _under(raw: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Tensors whose names begin with a prefix, without it."""
    return {k.removeprefix(f"{prefix}."): v for k, v in raw.items() if k.startswith(f"{prefix}.")}


def _moved(values: _Values, device: str) -> _Values:
    """A `Batch` or `DenseTargets` on another device."""
    tensors = {field.name: getattr(values, field.name) for field in fields(values)}
    return replace(values, **{name: t.to(device) for name, t in tensors.items() if isinstance(t, torch.Tensor)})


def _open(plan: Plan) -> tuple[Any, Any]:
    """The saved processor if there is one, else a tokenizer trained now; and a fresh model."""
    checkpoint = plan.folder / "checkpoint"
    if (checkpoint / "tokenizer.json").exists():
        processor = AutoProcessor.from_pretrained(checkpoint)
    else:
        corpus = []
        rng = np.random.default_rng(0)
        asker, view = Asker(rng, TAUGHT_WEIGHTS), plan.tiny.view((640, 480))
        for _ in range(CORPUS_SCENES):
            truths = render(varied_scene(rng, (640, 480), ()), (640, 480)).truths
            for question in (asker.ask(truths, view) for _ in range(CORPUS_QUESTIONS)):
                corpus += [question.instruction, question.reply]
            happenings = DrawnClip(rng, (640, 480), 8.0)
            for chinese in (False, False, False, True):
                instruction, expected = ask(happenings.happenings, happenings.still, rng, chinese=chinese)
                corpus += [instruction, expected.words]
        processor = plan.tiny.build_processor(build_tokenizer(corpus))
    torch.manual_seed(0)
    model = plan.tiny.build_model(processor.tokenizer)
    model.train()
    return processor, model


def spare_the_cpu() -> None:
    """Settings of the process that make a step on a CPU shorter, and nothing that is learned worse.

    Freed memory is kept: a step frees gigabytes, and each of their pages would be fetched anew in the next. And numbers
    too small to matter, of which a softmax makes many, count as zero: processors are slow at them.
    """
    torch.set_flush_denormal(True)
    # glibc only; others keep what they do.
    if adjust := getattr(ctypes.CDLL(None), "mallopt", None):
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_TOP_PAD, 1 << 28)):
            adjust(option, value)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", choices=TINY_FAMILIES, default="qwen2_5_vl")
    parser.add_argument("--folder", type=Path, help="default: build/train_FAMILY")
    parser.add_argument("--steps", type=int, default=27_800)
    parser.add_argument("--scenes", type=int, default=16)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--decay-share", type=float, default=0.35)
    parser.add_argument("--device", default="cpu", help="cpu, or cuda: minutes instead of hours (default: cpu)")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes that draw and make the batches; many for a GPU (default: 1)"
    )
    args = parser.parse_args()
    args.folder = args.folder or Path(f"build/train_{args.family}")
    plan = Plan(**vars(args))
    spare_the_cpu()
    # Compiled into the layers, it would be taken apart again.
    forward.attend = torch.compiler.disable(forward.attend)
    forward._decoder_layer = torch.compile(forward._decoder_layer, dynamic=True)
    forward._vision_block = torch.compile(forward._vision_block, dynamic=True)
    Trainer(plan).train()


if __name__ == "__main__":
    main()
