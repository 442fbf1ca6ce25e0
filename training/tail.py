"""python -m training.tail CHECKPOINT data=[data/asterisk-en]: a learned tail, so that stock weights can be cropped.

Whisper has only ever heard inputs of 30 s, most of them ending in silence; cropped bare, it does not know when to stop
and loops. A tail is a short stretch of log-mel, appended to the clip, that tells it. It is trained with the model
frozen: the gradient of the usual loss goes through the whole network into those few thousand numbers. The idea is the
'hush word' of WhisperFlow (arXiv 2412.11272).

Enters: any Whisper checkpoint and data sets made by feature_pipeline. Leaves: `tail.npy`, float32 (n_mels, n_frames),
and `tail.json`, which says how it was made. Put beside the weights, serving crops (`shared.inference.window_decoder`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import datasets
import numpy as np
import torch

from feature_pipeline.settings import Many, options_of
from shared.audio.features import FRAMES_PER_SECOND, N_FRAMES_FULL, silence_value
from shared.checkpoint import TAIL_FILE, Checkpoint
from shared.command import reported
from shared.engines.hardware import has_bfloat16
from shared.errors import UserError
from shared.inference.window_decoder import GAP_SECONDS
from training.config import Config, Context, Data, Extra
from training.data import Clips, Collator, open_split
from training.model import is_multilingual, load_base, token_loss
from training.schedule import LengthGrouped, mixed

MAX_GAP_SECONDS = 1.2  # an engine that pads puts the shorter clips of a batch so far from the tail
WARMUP_STEPS = 10


@dataclass(frozen=True)
class Options:
    """What a tail is learned from, and how."""

    data: Many[str]  # folders made by feature_pipeline; each is heard as often as the others
    out: str = ""  # folder for tail.npy; by default the checkpoint's own, if it is a folder
    seconds: float = 0.6
    steps: int = 140
    batch_size: int = 16
    learning_rate: float = 0.05  # of log-mel units, in which speech spans about 2
    timestamps: float = 0.5  # share of the clips labelled with their times; serving asks for both forms
    max_seconds: float = 15.0  # longer clips gain little from cropping
    seed: int = 1
    keep_every: int = 0  # steps after which the tail so far is written as tail-STEP.npy; 0: never


def learn(checkpoint: str, options: Options, *, say: Callable[[str], None] = print) -> Path:
    """Learn a tail and write it; returns its path. Raises UserError."""
    _check(options)
    folder = Path(options.out or Checkpoint.parse(checkpoint).model_id)
    if not options.out and not folder.is_dir():
        raise UserError("Where should the tail go?", got=checkpoint, hint="name a folder: out=tails/my-model")
    config = Config(name="tail", data=tuple(Data(path) for path in options.data), language="en", base=checkpoint,
                    seed=options.seed, extra=Extra(timestamps=options.timestamps),
                    context=Context(tail_seconds=(GAP_SECONDS, MAX_GAP_SECONDS), full_probability=0.0))
    base, model, processor = load_base(config)
    n_mels = model.config.num_mel_bins
    clips, shares = _clips(config, options)
    collate = Collator(config, processor.tokenizer, n_mels, is_multilingual(model), training=True)
    model.requires_grad_(False).eval()
    noise = torch.randn((n_mels, round(options.seconds * FRAMES_PER_SECOND)),
                        generator=torch.Generator().manual_seed(options.seed))
    tail = (silence_value(np.ones(1)) + 0.01 * noise).requires_grad_()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    optimizer = torch.optim.Adam([tail], lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / WARMUP_STEPS) * max(0.05, 1 - step / options.steps))
    folder.mkdir(parents=True, exist_ok=True)
    begun, losses = time.perf_counter(), []
    for step, examples in enumerate(_batches(clips, shares, options), 1):
        batch = {name: tensor.to(device) for name, tensor in collate(examples).items()}
        losses.append(_loss(model, batch, tail))
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 10 == 0 or step == options.steps:
            left = (time.perf_counter() - begun) / step * (options.steps - step)
            say(f"step {step} of {options.steps}: loss {np.mean(losses[-10:]):.3f}, about {left:.0f} s left")
        if options.keep_every and step % options.keep_every == 0:
            np.save(folder / f"tail-{step}.npy", tail.detach().numpy())
    return _write(folder, tail.detach().numpy(), {
        "checkpoint": str(base), "data": list(options.data), "seconds": options.seconds, "steps": options.steps,
        "batch_size": options.batch_size, "learning_rate": options.learning_rate, "seed": options.seed,
        "loss": round(float(np.mean(losses[-10:])), 4), "training_seconds": round(time.perf_counter() - begun, 1),
    })


def _check(options: Options) -> None:
    if not options.data:
        raise UserError("A tail is learned from speech", got="no data set", hint="data=[data/my-language]")
    if not 0.1 <= options.seconds <= 5:
        raise UserError("The tail's length is out of range", got=f"{options.seconds} s", limit="0.1 to 5 s",
                        hint="0.6 s is the default")
    if options.steps < 1 or options.batch_size < 1:
        raise UserError("Steps and batch size begin at 1", got=f"{options.steps}, {options.batch_size}",
                        hint="set them to 1 or more")


def _clips(config: Config, options: Options) -> tuple[Clips, np.ndarray | None]:
    """The clips of all data sets, each set with the same weight."""
    sets = []
    for data in config.data:
        rows = open_split(data, "train")
        sets.append(rows.select(np.flatnonzero(np.asarray(rows["duration"]) <= options.max_seconds)))
    clips = Clips(datasets.concatenate_datasets(sets), config, training=True)
    if len(clips) < options.batch_size:
        raise UserError("There are too few clips to learn a tail from", got=len(clips),
                        limit=f"at least {options.batch_size}, one batch", hint="add data, or lower batch_size")
    return clips, mixed([len(rows) for rows in sets], [1.0] * len(sets))


def _batches(clips: Clips, shares: np.ndarray | None, options: Options):
    """`options.steps` lists of examples of like length."""
    draws = LengthGrouped(clips.durations, options.batch_size, options.seed, shares=shares)
    given = 0
    for epoch in range(options.steps):
        draws.set_epoch(epoch)
        of_epoch = iter(draws)
        while given < options.steps and len(batch := list(islice(of_epoch, options.batch_size))) == options.batch_size:
            yield [clips[draw] for draw in batch]
            given += 1


def _loss(model: torch.nn.Module, batch: dict[str, torch.Tensor], tail: torch.Tensor) -> float:
    """Loss with the tail behind every clip; leaves the gradient in `tail`."""
    features, labels = batch.pop("input_features"), batch.pop("labels")
    features = features[..., : N_FRAMES_FULL - tail.shape[1]]
    features = torch.cat([features, tail.to(features).expand(len(features), -1, -1)], dim=-1)
    if features.shape[-1] % 2:  # the encoder halves the frames
        features = features[..., 1:]
    halves = features.device.type == "cuda" or has_bfloat16()
    with torch.autocast(features.device.type, torch.bfloat16) if halves else contextlib.nullcontext():
        outputs = model(input_features=features, **batch)
    loss = token_loss(outputs, labels)
    loss.backward()
    return float(loss.detach())


def _write(folder: Path, tail: np.ndarray, made: dict) -> Path:
    np.save(folder / TAIL_FILE, tail.astype(np.float32))
    (folder / TAIL_FILE).with_suffix(".json").write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    return folder / TAIL_FILE


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.tail", description="Learn a tail for a checkpoint.")
    parser.add_argument("checkpoint", help="user/repo@commit, a folder, or embedded:whisper-base")
    parser.add_argument("options", nargs="*", metavar="key=value", help="for example data=[data/fleurs-sv] steps=200")
    given = parser.parse_args(arguments)
    return reported("training.tail", lambda: print(learn(given.checkpoint, options_of(Options, given.options))))


if __name__ == "__main__":
    sys.exit(main())
