"""Clips from a data set on disk, and batches as the model reads them.

Enters: folders of Parquet shards as feature_pipeline writes them. Leaves: log-mel, decoder input and labels.
Everything drawn at random comes from the seed and the place in the schedule, so a resumed run draws the same.
Knows nothing of models and optimisers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import datasets
import numpy as np
import torch
from transformers import WhisperTokenizer

from shared.audio import SAMPLE_RATE, load_audio
from shared.errors import UserError
from shared.features import FRAMES_PER_SECOND, N_FRAMES_FULL, log_mel
from training.augment import spec_augment, wave_augment
from training.config import Config, Data

IGNORED = -100  # labels the loss does not count, as torch's cross entropy has it
MAX_SECONDS = N_FRAMES_FULL / FRAMES_PER_SECOND


class Draw(NamedTuple):
    """One clip at one place of the schedule. `number` counts clips from the start of the run."""

    index: int
    number: int


def open_split(source: Data, split: str) -> datasets.Dataset:
    """The rows of one split, memory-mapped; audio as compressed bytes. Raises UserError if it is not there."""
    files = sorted(str(path) for path in Path(source.path, "data").glob(f"{split}-*.parquet"))
    if not files:
        raise UserError(f"The data set has no {split} split", got=source.path,
                        todo="build it with `python -m feature_pipeline.build`")
    rows = datasets.Dataset.from_parquet(files)
    if source.language:
        rows = rows.remove_columns("language").add_column("language", [source.language] * len(rows))
    return rows


class Clips(torch.utils.data.Dataset):
    """Rows as examples: a waveform and its text, by `Draw` (in training) or by plain index (in evaluation)."""

    def __init__(self, rows: datasets.Dataset, config: Config, training: bool) -> None:
        self.rows, self.config, self.training = rows, config, training
        self.durations = np.asarray(rows["duration"], dtype=np.float32)  # seconds
        self._decoded: OrderedDict[int, np.ndarray] = OrderedDict()
        self._decoded_bytes = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, draw: Draw | int) -> dict:
        index, number = draw if isinstance(draw, tuple) else (draw, draw)
        row = self.rows[int(index)]
        samples = self.waveform(int(index), row)
        rng = np.random.default_rng((self.config.seed, number, 0))
        if self.training:
            samples = wave_augment(samples, self.config.augment, rng)
        return {"samples": samples, "text": row["text"], "language": row["language"], "number": number}

    def waveform(self, index: int, row: dict) -> np.ndarray:
        """float32 (n_samples,), at most 30 s; kept in memory up to the configured size."""
        if index in self._decoded:
            return self._decoded[index]
        try:
            samples = load_audio(row["audio"]["bytes"], max_seconds=MAX_SECONDS + 1).samples
        except UserError as error:
            raise UserError(f"Clip {row['id']} cannot be read: {error.what}", got=error.got,
                            todo="build the data set again; it drops such clips") from error
        samples = samples[: int(MAX_SECONDS * SAMPLE_RATE)]
        self._decoded[index] = samples
        self._decoded_bytes += samples.nbytes
        while self._decoded_bytes > self.config.steps.keep_decoded_mb * 1e6 and len(self._decoded) > 1:
            self._decoded_bytes -= self._decoded.popitem(last=False)[1].nbytes
        return samples


class LengthGrouped(torch.utils.data.Sampler):
    """Every clip once an epoch, neighbours of like length, batches in random order; the order follows from the seed.

    Grouping looks at 50 batches at a time, as Trainer's own does, so that batches differ from epoch to epoch.
    """

    def __init__(self, durations: Sequence[float], batch_size: int, seed: int, shares: np.ndarray | None = None) -> None:
        self.durations, self.batch_size, self.seed = np.asarray(durations), batch_size, seed
        self.shares = shares  # probability of each clip, where data sets are mixed by weight
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.durations)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[Draw]:
        rng = np.random.default_rng((self.seed, self.epoch, 1))
        n_clips = len(self)
        order = (rng.permutation(n_clips) if self.shares is None
                 else rng.choice(n_clips, n_clips, p=self.shares))
        batches = []
        for start in range(0, n_clips, 50 * self.batch_size):
            block = order[start : start + 50 * self.batch_size]
            block = block[np.argsort(-self.durations[block], kind="stable")]
            batches += [block[i : i + self.batch_size] for i in range(0, len(block), self.batch_size)]
        whole = [batch for batch in batches if len(batch) == self.batch_size]
        rest = [batch for batch in batches if len(batch) < self.batch_size]  # only the last: batches must not shift
        rng.shuffle(whole)
        number = self.epoch * n_clips
        for index in np.concatenate(whole + rest):
            yield Draw(int(index), number)
            number += 1


@dataclass
class Collator:
    """Examples -> input_features (batch, n_mels, n_frames), decoder_input_ids and labels (batch, n_tokens)."""

    config: Config
    tokenizer: WhisperTokenizer
    n_mels: int
    multilingual: bool
    training: bool
    tail_seconds: float = 1.0  # the fixed tail in evaluation

    def __call__(self, examples: list[dict]) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng((self.config.seed, examples[0]["number"], 2))
        n_frames = self._n_frames(max(len(example["samples"]) for example in examples), rng)
        mels = [log_mel(example["samples"], self.n_mels, n_frames) for example in examples]
        if self.training and self.config.augment.spec_augment:
            mels = [spec_augment(mel, self.config.augment.spec_augment, rng) for mel in mels]
        decoder_input, labels = [], []
        for example in examples:
            prefix, text = self.prefix(example["language"]), self.text_tokens(example["text"])
            decoder_input.append(prefix + text)
            labels.append(prefix[1:] + text + [self.tokenizer.eos_token_id])
        return {
            "input_features": torch.from_numpy(np.stack(mels)),
            "decoder_input_ids": _stacked(decoder_input, self.tokenizer.eos_token_id),
            "labels": _stacked(labels, IGNORED),
        }

    def prefix(self, language: str) -> list[int]:
        """Start token once, then language, task and 'no timestamps', where the checkpoint knows them."""
        names = ["<|startoftranscript|>"]
        if self.multilingual:
            names += [f"<|{language}|>", f"<|{self.config.task}|>"]
        return self.tokenizer.convert_tokens_to_ids([*names, "<|notimestamps|>"])

    def text_tokens(self, text: str) -> list[int]:
        """With a leading space, as Whisper writes its text."""
        text = text.strip()
        return self.tokenizer(" " + text, add_special_tokens=False).input_ids if text else []

    def _n_frames(self, n_samples: int, rng: np.random.Generator) -> int:
        """Mel frames for a batch whose longest clip has n_samples: even, since the encoder halves them."""
        context = self.config.context
        if not context.crop:
            return N_FRAMES_FULL
        tail = self.tail_seconds
        if self.training:
            tail = MAX_SECONDS if rng.random() < context.full_probability else rng.uniform(*context.tail_seconds)
        n_frames = int(np.ceil((n_samples / SAMPLE_RATE + tail) * FRAMES_PER_SECOND / 2)) * 2
        return min(n_frames, N_FRAMES_FULL)


def _stacked(rows: list[list[int]], padding: int) -> torch.Tensor:
    width = max(len(row) for row in rows)
    return torch.tensor([row + [padding] * (width - len(row)) for row in rows])
