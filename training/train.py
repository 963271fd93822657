"""Train the tiny checkpoint: `python -m training.train --minutes 100`.

Training can be stopped and started again at any time: every few minutes the weights (and their
running average, which is what is evaluated and shipped) are written as safetensors, and a second
start goes on from there. Learning rate and curriculum follow the share of the minutes used.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader, IterableDataset
from transformers import AutoProcessor, PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration

from training import forward
from training.batches import BatchMaker, DenseTargets
from training.cache import Shard
from training.checkpoint import build_model, build_processor, build_tokenizer, save
from training.forward import Batch
from training.heads import DenseHeads, next_token_losses, pointer_loss
from training.questions import Asker

SHARDS = 160
WARM_UP_STEPS = 100
AVERAGE_DECAY = 0.998


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run does: where, how long, how large a step."""

    folder: Path
    minutes: float
    scenes: int
    length: int
    learning_rate: float
    decay_share: float

    def factor(self, progress: float, step: int) -> float:
        """Learning-rate factor: warm up, hold, then fall to nothing over the last `decay_share`."""
        warm = min(1.0, (step + 1) / WARM_UP_STEPS)
        return warm * min(1.0, max(0.0, (1.0 - progress) / self.decay_share))


class Stream(IterableDataset[tuple[Batch, DenseTargets]]):
    """Batches without end, made in a worker process; the curriculum widens with time."""

    def __init__(self, plan: Plan, tokenizer: PreTrainedTokenizerFast, done_s: float, seed: int) -> None:
        self._plan, self._tokenizer, self._done_s, self._seed = plan, tokenizer, done_s, seed

    def __iter__(self) -> Iterator[tuple[Batch, DenseTargets]]:
        torch.set_num_threads(1)
        rng = np.random.default_rng(self._seed)
        maker = BatchMaker(self._tokenizer, self._seed)
        start_s, shards = time.monotonic(), dict[int, Shard]()
        while True:
            progress = (self._done_s + time.monotonic() - start_s) / (60 * self._plan.minutes)
            low, high = (0, 12) if progress < 0.03 else (0, 24) if progress < 0.08 else (12, SHARDS)
            ready = [i for i in range(low, high) if (self._plan.folder / f"scenes/{i:05d}.npy").exists()]
            pick = int(rng.choice(ready))
            if pick not in shards:
                shards[pick] = Shard(self._plan.folder / "scenes", pick)
            yield maker.make(shards[pick], self._plan.scenes, self._plan.length)


class Trainer:
    """Model, dense heads, optimisers and the running average of the weights."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.processor, self.model = _open(plan.folder)
        self.heads = DenseHeads(self.model.config.text_config.hidden_size)
        self.done_s, self.step = 0.0, 0
        self._resume()
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        matrices = [p for n, p in self.model.named_parameters() if p.ndim == 2 and "embed_tokens" not in n]
        rest = [p for n, p in self.model.named_parameters() if p.ndim != 2 or "embed_tokens" in n]
        self.optimisers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=1.0, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(
                [*rest, *self.heads.parameters()], lr=1.0, betas=(0.9, 0.98), weight_decay=0.0, fused=True
            ),
        ]

    def train(self) -> None:
        """Run until the minutes are used up, saving on the way and at the end."""
        stream = Stream(self.plan, self.processor.tokenizer, self.done_s, seed=1000 + self.step)
        loader = iter(DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=4))
        begun_s = time.monotonic() - self.done_s
        saved_s = logged_s = time.monotonic()
        sums = torch.zeros(6)
        while (progress := (time.monotonic() - begun_s) / (60 * self.plan.minutes)) < 1.0:
            batch, dense = next(loader)
            sums += self._learn(batch, dense, progress)
            self.step += 1
            if self.step % 50 == 0:
                now = time.monotonic()
                token, digit, vision, position, place, pointer = (sums / 50).tolist()
                print(
                    f"step {self.step} {(now - begun_s) / 60:.1f} min {(now - logged_s) / 50:.2f} s/step "
                    f"token {token:.3f} digit {digit:.3f} vision {vision:.3f} position {position:.3f} "
                    f"place {place:.3f} pointer {pointer:.3f}",
                    flush=True,
                )
                sums.zero_()
                logged_s = now
            if time.monotonic() - saved_s > 240:
                self.save(time.monotonic() - begun_s)
                saved_s = time.monotonic()
        self.save(60 * self.plan.minutes)

    def _learn(self, batch: Batch, dense: DenseTargets, progress: float) -> torch.Tensor:
        factor = self.plan.factor(progress, self.step)
        for optimiser, scale in zip(self.optimisers, (1.0, 0.7), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = self.plan.learning_rate * scale * factor
        with torch.autocast("cpu", torch.bfloat16):
            hidden = forward.run(self.model, batch)
            embedding = self.model.model.language_model.embed_tokens.weight
            token, digit = next_token_losses(hidden, batch, embedding)
            vision, position, place = self.heads(hidden, batch, dense, self.model.config.image_token_id)
            config = self.model.config
            layers = self.model.model.language_model.layers
            pointer = pointer_loss(layers, hidden, batch, config.image_token_id, config.vision_end_token_id)
            # The heads lead early on; near the end the answers are what counts.
            lead = 0.2 + 0.8 * min(1.0, factor) if progress > 0.5 else 1.0
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

    def save(self, done_s: float) -> None:
        """Write raw weights and heads for resuming, and the averaged model for evaluation."""
        folder = self.plan.folder
        raw = {f"model.{k}": v.contiguous() for k, v in self.model.state_dict().items() if k != "lm_head.weight"}
        raw |= {f"heads.{k}": v for k, v in self.heads.state_dict().items()}
        save_file({k: v.clone() for k, v in raw.items()}, folder / "resume.safetensors")
        (folder / "resume.json").write_text(json.dumps({"done_s": done_s, "step": self.step}))
        average = Qwen2_5_VLForConditionalGeneration(self.model.config)
        average.generation_config = self.model.generation_config
        average.load_state_dict(self.average)
        save(average, self.processor, folder / "checkpoint")
        print(f"saved {folder / 'checkpoint'} at step {self.step}", flush=True)

    def _resume(self) -> None:
        path = self.plan.folder / "resume.safetensors"
        if not path.exists():
            return
        raw = load_file(path)
        missing, unexpected = self.model.load_state_dict(
            {k.removeprefix("model."): v for k, v in raw.items() if k.startswith("model.")}, strict=False
        )
        if unexpected or set(missing) - {"lm_head.weight"}:
            raise SystemExit(
                f"{path} does not fit this model ({missing}, {unexpected}): delete {path.parent} to start anew"
            )
        self.heads.load_state_dict({k.removeprefix("heads."): v for k, v in raw.items() if k.startswith("heads.")})
        state = json.loads(path.with_suffix(".json").read_text())
        self.done_s, self.step = float(state["done_s"]), int(state["step"])
        print(f"going on from step {self.step}, {self.done_s / 60:.1f} min", flush=True)


def _open(folder: Path) -> tuple[AutoProcessor, Qwen2_5_VLForConditionalGeneration]:
    """The saved processor if there is one, else a tokenizer trained now; and a fresh model."""
    checkpoint = folder / "checkpoint"
    if (checkpoint / "tokenizer.json").exists():
        processor = AutoProcessor.from_pretrained(checkpoint)
    else:
        asker, shard, corpus = Asker(np.random.default_rng(0)), Shard(folder / "scenes", 0), []
        for index in range(12_000):
            truths = shard.truths[index % len(shard.truths)]
            question = asker.ask(truths, shard.image_wh, shard.model_wh)
            corpus += [question.instruction, question.reply]
        processor = build_processor(build_tokenizer(corpus))
    torch.manual_seed(0)
    model = build_model(processor.tokenizer)
    model.train()
    return processor, model


def draw_scenes(folder: Path) -> list[subprocess.Popen[bytes]]:
    """Start two workers that draw the missing shards."""
    command = [sys.executable, "-m", "training.cache", str(folder / "scenes")]
    return [subprocess.Popen([*command, str(first), str(SHARDS), "2"]) for first in range(2)]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/train"))
    parser.add_argument("--minutes", type=float, default=100.0)
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--length", type=int, default=384)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--decay-share", type=float, default=0.35)
    plan = Plan(**vars(parser.parse_args()))
    workers = draw_scenes(plan.folder)
    while not (plan.folder / "scenes/00003.npy").exists():
        time.sleep(1)
    torch._dynamo.config.recompile_limit = 64
    forward._decoder_layer = torch.compile(forward._decoder_layer, dynamic=False)
    forward._vision_block = torch.compile(forward._vision_block, dynamic=False)
    Trainer(plan).train()
    for worker in workers:
        worker.wait()


if __name__ == "__main__":
    main()
