"""Which batch fits into memory, and what it takes: tried before a run starts.

Enters: the config, the model and clips. Leaves: the config with the batch halved and the accumulation doubled as often
as needed, seconds a batch, and the memory held at most. Changes no weight.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable

import psutil
import torch

from shared.errors import UserError
from shared.units import spoken_time
from training.config import Config
from training.data import Clips, Collator
from training.memory import free_mb, growth_mb, peak_mb
from training.model import token_loss
from training.schedule import Draw

N_MEASURED = 3  # batches timed, after one of the longest clips: what fits that fits all
Say = Callable[[str], None]


def fitted(config: Config, model: torch.nn.Module, clips: Clips, collator: Collator, say: Say,
           free: Callable[[], float] = free_mb) -> tuple[Config, float, float]:
    """The config whose batch fits, seconds a batch, MB at the peak. Raises UserError if not even one clip does.

    free: says how many MB can still be taken.
    """
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
    model.to(device).train()
    if device == "cpu" and os.environ.get("WORLD_SIZE", "1") == "1":  # processes must not come to different sizes
        longest, widest = int(clips.durations.argmax()), _widest(config, collator)
        available = free()  # before the trials, whose heap would count twice
        with contextlib.suppress(RuntimeError, MemoryError):  # refused already: below it is said so
            grown = [growth_mb(lambda n=n: _seconds(config, model, clips, widest, device, [longest] * n, 0))
                     for n in (1, 2)]
            config = _foreseen(config, grown, available, say)
    while True:
        try:
            return config, *_timed(config, model, clips, collator, device)
        except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
            if not _is_memory(error):
                raise
        model.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        size = config.steps.batch_size
        if size == 1:
            raise UserError("Not even one clip fits into memory", got=spoken_time(float(clips.durations.max())),
                            hint="use LoRA, gradient checkpointing, bf16 or a smaller base")
        config = _halved(config)
        say(f"out of memory with {size} clips a batch: {_now(config)}")


def _foreseen(config: Config, grown: list[float | None], free: float, say: Say) -> Config:
    """The config whose largest batch should fit into `free` MB, by what one clip and two took (`grown`, MB).

    Linux promises memory it does not have and kills the process that uses it: there nothing can be caught.
    """
    one, two = grown
    if one is None or two is None:
        return config
    while (size := config.steps.batch_size) > 1 and (needed := one + max(two - one, 0) * (size - 1)) > free:
        config = _halved(config)
        say(f"{size} clips a batch would take {needed:.0f} MB at most, {free:.0f} MB are free: {_now(config)}")
    return config


def _timed(config: Config, model: torch.nn.Module, clips: Clips, collator: Collator, device: str
           ) -> tuple[float, float]:
    size = config.steps.batch_size
    longest = [int(i) for i in clips.durations.argsort()[::-1][:size]]
    usual = [int(i) for i in clips.durations.argsort()[len(clips) // 2 :][:size]]
    _seconds(config, model, clips, _widest(config, collator), device, longest, 0)
    seconds = [_seconds(config, model, clips, collator, device, usual, n * size) for n in range(1, N_MEASURED + 1)]
    return sorted(seconds)[len(seconds) // 2], peak_mb() or psutil.Process().memory_info().rss / 1e6


def _widest(config: Config, collator: Collator) -> Collator:
    """Batches at full context are rare and take the most memory: tried first, so that none is too much hours later."""
    context = dataclasses.replace(config.context, full_probability=float(config.context.full_probability > 0))
    return dataclasses.replace(collator, config=dataclasses.replace(config, context=context))


def _seconds(config: Config, model: torch.nn.Module, clips: Clips, collator: Collator, device: str, chosen: list[int],
             number: int) -> float:
    """Forward and backward of one batch of the chosen clips, as the run does it."""
    batch = collator([clips[Draw(index, number + i)] for i, index in enumerate(chosen)])
    start = time.perf_counter()
    batch = {key: value.to(device) for key, value in batch.items()}
    labels = batch.pop("labels")
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(config.steps.precision)
    with torch.autocast(device.partition(":")[0], kind, enabled=kind is not None):
        loss = token_loss(model(**batch), labels)
    loss.backward()
    model.zero_grad(set_to_none=True)
    return time.perf_counter() - start


def _halved(config: Config) -> Config:
    steps = dataclasses.replace(config.steps, batch_size=config.steps.batch_size // 2,
                                accumulation=config.steps.accumulation * 2)
    return dataclasses.replace(config, steps=steps)


def _now(config: Config) -> str:
    return f"now {config.steps.batch_size}, and {config.steps.accumulation} batches to a step"


def _is_memory(error: Exception) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(said in str(error).lower() for said in ("out of memory", "allocate memory"))
