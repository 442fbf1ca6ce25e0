"""Training on a GPU: clips a second, cropped against padded, LoRA against whole, with and without checkpointing.

The step is training's own: its short-context encoder, its LoRA, its loss, bfloat16 autocast, AdamW, gradients clipped.
Weights and batches are random.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from benchmarks.gpu_models import END, SHAPES, START, random_model
from benchmarks.gpu_timing import Timed, measured
from shared.audio.features import frames_for
from shared.checkpoint import Checkpoint
from shared.whisper_constants import CROPPED_SILENCE_SECONDS, N_FRAMES_FULL
from training.config import Config, Method
from training.model import accept_short_context, token_loss, trainable

CLIP_SECONDS, N_TOKENS = 4.0, 20  # of one clip: a sentence
CROPPED, PADDED = frames_for(CLIP_SECONDS + CROPPED_SILENCE_SECONDS), N_FRAMES_FULL  # log-mel frames


def training_rows(names: tuple[str, ...], batch_size: int, device: str) -> Iterator[dict[str, Any]]:
    """One row for each shape, method, input length, with and without gradient checkpointing."""
    for name, kind, checkpointing in itertools.product(names, ("lora", "full"), (False, True)):
        model, optimizer = _prepared(name, kind, checkpointing, device)
        for n_frames in (CROPPED, PADDED):
            row = {"part": "training", "model": name, "method": kind, "gradient_checkpointing": checkpointing,
                   "batch": batch_size, "clip_seconds": CLIP_SECONDS, "frames": n_frames,
                   "precision": _precision(device)}
            try:
                timed = _steps(model, optimizer, SHAPES[name].n_mels, batch_size, n_frames, device)
            except torch.OutOfMemoryError:
                yield row | {"failed": "out of memory"}
                continue
            yield row | {"clips_per_second": batch_size / timed.median, "step_seconds": timed.median,
                         "spread": timed.spread, "peak_gb": timed.peak_gb}
        del model, optimizer


def _precision(device: str) -> str:
    return "bf16" if device == "cuda" else "float32"  # not every CPU has products of bfloat16


def _prepared(name: str, kind: str, checkpointing: bool, device: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    """As `training.finetune` prepares it: weights in float32, what is to be trained trainable."""
    config = Config(name="benchmark", data=(), language="en", method=Method(kind="lora" if kind == "lora" else "full"))
    model = random_model(SHAPES[name], device, torch.float32)
    accept_short_context(model.model.encoder)
    tuned = trainable(model, config, Checkpoint(f"random/{name}")).train().to(device)
    if checkpointing:
        model.config.use_cache = False
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return tuned, torch.optim.AdamW([p for p in tuned.parameters() if p.requires_grad], lr=1e-6)


def _steps(model: nn.Module, optimizer: torch.optim.Optimizer, n_mels: int, batch_size: int, n_frames: int,
           device: str) -> Timed:
    torch.manual_seed(1)
    features = torch.randn(batch_size, n_mels, n_frames, device=device)
    labels = torch.randint(0, END, (batch_size, N_TOKENS), device=device)
    given = torch.cat([torch.full_like(labels[:, :1], START), labels[:, :-1]], dim=1)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=_precision(device) == "bf16"):
            outputs = model(input_features=features, decoder_input_ids=given)
            loss = token_loss(outputs, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return measured(step, device)
