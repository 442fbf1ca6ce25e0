"""Which clips a run is given, in which order and joined with which: all of it follows from the seed and the epoch.

Enters: the clips' lengths. Leaves: `Draw`s. Opens no audio, so a resumed run skips ahead at no cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from shared.whisper_constants import WINDOW_SECONDS

BATCHES_SORTED_TOGETHER = 50  # as in Trainer's own length-grouped sampler, so that batches differ between epochs


class Draw(NamedTuple):
    """One example at one place of the schedule."""

    row: int
    number: int  # examples since the start of the run: what is drawn for this one is drawn from it
    others: tuple[int, ...] = ()  # clips joined after this one


class LengthGrouped(torch.utils.data.Sampler):
    """Every clip once an epoch, batches of like length in random order.

    shares: probability of each clip where data sets are mixed by weight; then an epoch is as many draws as there are
    clips. join: probability that a clip is followed by others, up to 30 s in all.
    """

    def __init__(self, durations: Sequence[float], batch_size: int, seed: int, *, shares: np.ndarray | None = None,
                 join: float = 0.0) -> None:
        self.durations, self.batch_size, self.seed = np.asarray(durations), batch_size, seed
        self.shares, self.join, self.epoch = shares, join, 0

    def __len__(self) -> int:
        return len(self.durations)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[Draw]:
        rng = np.random.default_rng((self.seed, self.epoch, 1))
        n_clips = len(self)
        order = rng.permutation(n_clips) if self.shares is None else rng.choice(n_clips, n_clips, p=self.shares)
        drawn = [(int(index), self._joined_after(int(index), rng)) for index in order]
        lengths = np.array([sum(self.durations[list((index, *others))]) for index, others in drawn])
        batches: list[list[int]] = []
        block = BATCHES_SORTED_TOGETHER * self.batch_size
        for start in range(0, n_clips, block):
            places = start + np.argsort(-lengths[start : start + block], kind="stable")
            batches += [list(places[i : i + self.batch_size]) for i in range(0, len(places), self.batch_size)]
        last = batches.pop() if len(batches[-1]) < self.batch_size else []  # in the middle it would shift the others
        rng.shuffle(batches)
        for i, place in enumerate(place for batch in [*batches, last] for place in batch):
            index, others = drawn[place]
            yield Draw(index, self.epoch * n_clips + i, others)

    def _joined_after(self, index: int, rng: np.random.Generator) -> tuple[int, ...]:
        if rng.random() >= self.join:
            return ()
        room = WINDOW_SECONDS - self.durations[index]
        others = []
        for other in rng.choice(len(self), 30, p=self.shares):
            if self.durations[other] > room:
                break
            room -= self.durations[other]
            others.append(int(other))
        return tuple(others)


def mixed(sizes: Sequence[int], weights: Sequence[float | None]) -> np.ndarray | None:
    """Probability of each clip when data sets of these sizes are drawn in the ratio of their weights.

    None if no set has a weight: then each clip comes once an epoch. A set without a weight counts 1.
    """
    if all(weight is None for weight in weights):
        return None
    each = np.array([1.0 if weight is None else weight for weight in weights])
    return np.repeat(each / each.sum() / np.asarray(sizes), sizes)
