"""Which batch fits into memory, and what it takes: tried before a run starts.

Enters: the config, the model and clips. Leaves: the config with the batch halved and the accumulation doubled as often
as needed, seconds a batch, and the most memory that was held. Changes no weight.

Batches of ever new lengths leave holes that glibc's allocator keeps: a run of whisper-base came to 12 GB after 400
steps, of which 3 were in use. `ReleaseFreeMemory` gives them back every few steps; elsewhere than on glibc it does
nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from transformers import TrainerCallback

from shared.errors import UserError
from shared.system.memory import give_back, trim
from shared.units import spoken_time
from training.config import Config
from training.data import Clips, Collator
from training.model import token_loss
from training.schedule import Draw

N_MEASURED = 3  # batches timed, after one of the longest clips: what fits that fits all
SECONDS_UNSAID = 5.0  # a trial that takes longer is reported, so that nobody takes the program for stuck
_earlier_peaks_mb = [0.0]  # of this process, before a peak was counted anew
STEPS_BETWEEN_RELEASES = 3  # what was given back has to be asked for again, some 0.3 s for whisper-base
Say = Callable[[str], None]


class Fit(NamedTuple):
    """The config whose batch fits, seconds for a usual batch, and MB held at most."""

    config: Config
    seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Trial:
    """A run's batches, tried before it starts: forward and backward, no step."""

    model: torch.nn.Module
    clips: Clips
    collator: Collator
    device: str
    say: Say

    def seconds(self, config: Config, chosen: list[int], number: int, *, widest: bool = False) -> float:
        """Time of one batch of the chosen clips. number: of the schedule's place. widest: at the full context.

        Batches at full context are rare and take the most memory: tried first, so that none is too much hours later.
        """
        context = config.context
        if widest:
            context = dataclasses.replace(context, full_probability=float(context.full_probability > 0))
        collate = dataclasses.replace(self.collator, config=dataclasses.replace(config, context=context))
        batch = collate([self.clips[Draw(index, number + i)] for i, index in enumerate(chosen)])
        start = time.perf_counter()
        batch = {key: value.to(self.device) for key, value in batch.items()}
        labels = batch.pop("labels")
        kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(config.steps.precision or "")
        with torch.autocast(self.device.partition(":")[0], kind, enabled=kind is not None):
            loss = token_loss(self.model(**batch), labels)
        loss.backward()
        self.model.zero_grad(set_to_none=True)
        return time.perf_counter() - start

    def timed(self, config: Config) -> Fit:
        """One batch of the longest clips, then some usual ones."""
        size = config.steps.batch_size
        longest = [int(i) for i in self.clips.durations.argsort()[::-1][:size]]
        usual = [int(i) for i in self.clips.durations.argsort()[len(self.clips) // 2 :][:size]]
        works = [partial(self.seconds, config, longest, 0, widest=True),
                 *(partial(self.seconds, config, usual, n * size) for n in range(1, N_MEASURED + 1))]
        found = []
        for n, work in enumerate(works, 1):
            found.append(work())
            if found[-1] > SECONDS_UNSAID:
                self.say(f"trying batches of {size}: {n} of {len(works)} done, the last in {found[-1]:.0f} s")
        seconds = sorted(found[1:])
        return Fit(config, seconds[len(seconds) // 2], peak_mb() or psutil.Process().memory_info().rss / 1e6)

    def foreseen(self, config: Config, free: float) -> Config:
        """The config whose largest batch should fit into `free` MB, by what one clip and two take.

        Linux promises memory it does not have and kills the process that uses it: there nothing can be caught.
        """
        longest = int(self.clips.durations.argmax())
        try:
            one, two = (growth_mb(partial(self.seconds, config, [longest] * n, 0, widest=True)) for n in (1, 2))
        except (RuntimeError, MemoryError):  # refused already: `timed` meets it again and says so
            return config
        if one is None or two is None:
            return config
        while (size := config.steps.batch_size) > 1 and (needed := one + max(two - one, 0) * (size - 1)) > free:
            config = _halved(config)
            self.say(f"{size} clips a batch would take {needed:.0f} MB at most, {free:.0f} MB are free: {_now(config)}")
        return config


def fitted(config: Config, trial: Trial, free: Callable[[], float] | None = None) -> Fit:
    """The largest batch, from the configured one down, that fits into memory.

    Args:
        config: batch size and accumulation to begin with; their product is kept.
        trial: what is tried, and on which device.
        free: gives the MB that can still be taken; `free_mb` if None.

    Raises:
        UserError: not even one clip fits.
    """
    trial.model.to(trial.device).train()
    if trial.device == "cpu" and os.environ.get("WORLD_SIZE", "1") == "1":  # processes must not come to different sizes
        available = (free or free_mb)()  # before the trials, whose heap would count twice
        config = trial.foreseen(config, available)
    while True:
        try:
            return trial.timed(config)
        except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
            if not _is_memory(error):
                raise
        _give_back(trial.model)
        size = config.steps.batch_size
        if size == 1:
            raise UserError("Not even one clip fits into memory", got=spoken_time(float(trial.clips.durations.max())),
                            hint="use LoRA, gradient checkpointing, bf16 or a smaller base")
        config = _halved(config)
        trial.say(f"out of memory with {size} clips a batch: {_now(config)}")


def _give_back(model: torch.nn.Module) -> None:
    """Free what a batch that failed has left, on the GPU or in the heap, so that the next starts as the first did."""
    model.zero_grad(set_to_none=True)
    give_back()  # a failed backward pass leaves cycles
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def device_of_this_process() -> str:
    """The GPU of this process of the run, or the CPU."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"


def _halved(config: Config) -> Config:
    steps = dataclasses.replace(config.steps, batch_size=config.steps.batch_size // 2,
                                accumulation=config.steps.accumulation * 2)
    return dataclasses.replace(config, steps=steps)


def _now(config: Config) -> str:
    return f"now {config.steps.batch_size}, and {config.steps.accumulation} batches to a step"


def _is_memory(error: Exception) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error).lower() for words in ("out of memory", "allocate memory"))


class ReleaseFreeMemory(TrainerCallback):
    """Returns unused heap to the system while a run goes on."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % STEPS_BETWEEN_RELEASES == 0:
            trim()

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        trim()


def peak_mb() -> int | None:
    """MB this process has held at most: on the GPU if there is one, else of memory; None where the system won't say.

    On Linux not by getrusage, whose peak of a child begins with what its parent held when it started it.
    """
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 1e6)
    with contextlib.suppress(OSError, KeyError):
        return round(max(_status_mb("VmHWM"), *_earlier_peaks_mb))
    try:
        import resource
    except ImportError:  # Windows
        return None
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(held / 1e6 if sys.platform == "darwin" else held * 1024 / 1e6)


def free_mb() -> float:
    """MB that can still be taken: of the GPU's memory if there is one, else of the machine's or this container's."""
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0] / 1e6
    free = psutil.virtual_memory().available / 1e6
    try:  # cgroup v2, as containers have it; what is not limited says "max"
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / name).read_text()) / 1e6 for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):
        return free
    return min(free, limit - used)


def growth_mb(work: Callable[[], object]) -> float | None:
    """MB this process came to hold, at most, while `work` ran, beyond what it held before; None except on Linux."""
    trim()  # what earlier work has left would be used again and not be seen
    try:
        _earlier_peaks_mb.append(_status_mb("VmHWM"))
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before = _status_mb("VmRSS")
        work()
        return _status_mb("VmHWM") - before
    except (OSError, KeyError):
        return None


def _status_mb(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(dict(line.split(":", 1) for line in lines)[key].split()[0]) * 1024 / 1e6
