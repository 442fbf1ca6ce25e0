"""Clips from a data set on disk, and batches as the model reads them.

Enters: folders of Parquet shards as feature_pipeline writes them, and draws from `training.schedule`. Leaves: log-mel,
decoder input and labels. Everything drawn at random comes from the seed and the draw's number, so a resumed run
draws the same. Knows nothing of models and optimisers.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import torch
from transformers import WhisperTokenizer

from shared.audio import SAMPLE_RATE, load_audio
from shared.audio.features import frames_for, log_mel
from shared.errors import UserError
from shared.whisper_constants import (
    CROPPED_SILENCE_SECONDS,
    DECODER_POSITIONS,
    MAX_PROMPT_TOKENS,
    N_FRAMES_FULL,
    N_STAMPS,
    POSITION_SECONDS,
    WINDOW_SECONDS,
)
from training.augment import noise, spec_augment, wave_augment
from training.config import Config, Data
from training.schedule import Draw

IGNORED = -100  # labels the loss does not count, as torch's cross entropy has it
QUIET = 0.01  # 40 dB below the loudest sample: before and after it a clip is taken to be silent


@dataclass(frozen=True)
class TimedText:
    """The text spoken between two times of an example, in seconds."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, eq=False)
class Example:
    """One example before it becomes tensors. prompt: earlier text given as context."""

    samples: np.ndarray  # float32 (n_samples,)
    texts: tuple[TimedText, ...]
    language: str
    number: int
    stamped: bool = False
    prompt: str = ""


def open_split(source: Data, split: str) -> datasets.Dataset:
    """The rows of one split, memory-mapped; audio as compressed bytes. Raises UserError if it is not there."""
    files = [str(path) for path in source.files(split)]
    if not files:
        raise UserError(f"The data set has no {split} split", got=source.path,
                        hint="build it with `python -m feature_pipeline.build`")
    rows = datasets.Dataset.from_parquet(files)
    if source.language:
        rows = rows.remove_columns("language").add_column("language", [source.language] * len(rows))
    return rows


def open_sets(config: Config, split: str, n_rows: int = 0) -> datasets.Dataset:
    """The rows of one split of every data set that has it, each with the name of its set in the column `set`.

    n_rows: at most so many in all, the same number of each set; 0: all. Raises UserError if no set has the split.
    """
    having = [source for source in config.data if source.files(split)]
    found = []
    for source in having or config.data[:1]:
        rows = first_rows(open_split(source, split), -(-n_rows // len(having)) if having else 0)
        found.append(rows.add_column("set", [set_name(config, source)] * len(rows)))
    return datasets.concatenate_datasets(found)


def set_name(config: Config, source: Data) -> str:
    """A data set's short name: its folder's, or the whole path where two sets have the same."""
    names = [Path(other.path).name for other in config.data]
    name = Path(source.path).name
    return name if names.count(name) == 1 else source.path


def languages_of(config: Config, rows: datasets.Dataset) -> tuple[str, ...]:
    """The languages spoken in the rows: the config's own first, then by number of rows."""
    counts = Counter(rows["language"])
    return tuple(sorted(counts, key=lambda code: (code != config.language, -counts[code], code)))


def first_rows(rows: datasets.Dataset, n: int) -> datasets.Dataset:
    """The first n rows; 0: all."""
    return rows.select(range(min(n, len(rows)))) if n else rows


class Clips(torch.utils.data.Dataset):
    """Rows as examples: by `Draw` in training, by plain index in evaluation, where nothing is changed."""

    def __init__(self, rows: datasets.Dataset, config: Config, training: bool) -> None:
        self.rows, self.config, self.training = rows, config, training
        self.durations = np.asarray(rows["duration"], dtype=np.float32)  # seconds
        self._decoded: OrderedDict[int, np.ndarray] = OrderedDict()
        self._decoded_bytes = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, draw: Draw | int) -> Example:
        if not isinstance(draw, Draw):
            row = self.rows[int(draw)]
            samples = self._waveform(int(draw), row)
            whole = TimedText(row["text"], 0.0, len(samples) / SAMPLE_RATE)
            return Example(samples, (whole,), row["language"], int(draw))
        rng = np.random.default_rng((self.config.seed, draw.number, 0))
        extra, row = self.config.extra, self.rows[draw.row]
        if rng.random() < extra.silence:
            return Example(noise(rng), (), row["language"], draw.number)
        samples, texts = self._joined(draw, rng)
        stamped = bool(draw.others) or rng.random() < extra.timestamps
        prompt = self._earlier_text(row, rng) if rng.random() < extra.prompt else ""
        return Example(samples, texts, row["language"], draw.number, stamped, prompt)

    def _joined(self, draw: Draw, rng: np.random.Generator) -> tuple[np.ndarray, tuple[TimedText, ...]]:
        """The clip and those that follow it, one after the other, each augmented by itself."""
        pieces: list[np.ndarray] = []
        texts: list[TimedText] = []
        n_samples = 0
        for index in (draw.row, *draw.others):
            row = self.rows[index]
            samples = wave_augment(self._waveform(index, row), self.config.augment, rng)
            if pieces and n_samples + len(samples) > WINDOW_SECONDS * SAMPLE_RATE:  # slowed down: no room left
                break
            begin, end = _spoken(samples)
            texts.append(TimedText(row["text"], (n_samples + begin) / SAMPLE_RATE, (n_samples + end) / SAMPLE_RATE))
            pieces.append(samples)
            n_samples += len(samples)
        return np.concatenate(pieces), tuple(texts)

    def _earlier_text(self, row: dict, rng: np.random.Generator) -> str:
        """The text of some clip of the same language: what a prompt looks like, without giving the answer away."""
        other = self.rows.select_columns(["text", "language"])[int(rng.integers(len(self.rows)))]
        return other["text"] if other["language"] == row["language"] and other["text"] != row["text"] else ""

    def _waveform(self, index: int, row: dict) -> np.ndarray:
        """float32 (n_samples,), at most 30 s; kept in memory up to the configured size."""
        if index in self._decoded:
            return self._decoded[index]
        try:
            samples = load_audio(row["audio"]["bytes"], max_seconds=WINDOW_SECONDS + 1).samples
        except UserError as error:
            raise UserError(f"Clip {row['id']} cannot be read: {error.what}", got=error.got,
                            hint="build the data set again; it drops such clips") from error
        samples = samples[: int(WINDOW_SECONDS * SAMPLE_RATE)]
        self._decoded[index] = samples
        self._decoded_bytes += samples.nbytes
        while self._decoded_bytes > self.config.steps.keep_decoded_mb * 1e6 and len(self._decoded) > 1:
            self._decoded_bytes -= self._decoded.popitem(last=False)[1].nbytes
        return samples


@dataclass
class Collator:
    """Examples -> input_features (batch, n_mels, n_frames), decoder_input_ids and labels (batch, n_tokens)."""

    config: Config
    tokenizer: WhisperTokenizer
    n_mels: int
    multilingual: bool
    training: bool

    def __call__(self, examples: list[Example]) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng((self.config.seed, examples[0].number, 2))
        n_frames = self._n_frames(max(len(example.samples) for example in examples), rng)
        mels = [log_mel(example.samples, self.n_mels, n_frames) for example in examples]
        if self.training and self.config.augment.spec_augment:
            augment = self.config.augment
            mels = [spec_augment(mel, augment.spec_augment, rng, augment.masks) for mel in mels]
        decoder_input, labels = zip(*map(self.tokens, examples), strict=True)
        return {
            "input_features": torch.from_numpy(np.stack(mels)),
            "decoder_input_ids": _stacked(decoder_input, self.tokenizer.eos_token_id),
            "labels": _stacked(labels, IGNORED),
        }

    def tokens(self, example: Example) -> tuple[list[int], list[int]]:
        """Decoder input and labels, one ahead of it, of equal length.

        [<|startofprev|> earlier text] <|startoftranscript|> [language, task] <|notimestamps|> text <|endoftext|>, or
        each text between two times. The start token comes once; the earlier text is not learned.
        """
        ids, of = self.tokenizer.convert_tokens_to_ids, self._text
        prefix = ["<|startoftranscript|>"]
        if self.multilingual:
            prefix += [f"<|{self.config.token_of(example.language)}|>", f"<|{self.config.task}|>"]
        if example.stamped:
            body = []
            for one in example.texts:
                body += [ids(_stamp(one.start)), *of(one.text), ids(_stamp(one.end))]
        else:
            prefix.append("<|notimestamps|>")
            body = of(" ".join(one.text.strip() for one in example.texts))
        whole = ids(prefix) + body[: DECODER_POSITIONS - len(prefix)] + [self.tokenizer.eos_token_id]
        room = DECODER_POSITIONS + 1 - len(whole)
        earlier = of(example.prompt)[-min(MAX_PROMPT_TOKENS, room) + 1 :] if example.prompt and room > 1 else []
        if earlier:
            return [ids("<|startofprev|>"), *earlier, *whole[:-1]], [IGNORED] * (len(earlier) + 1) + whole[1:]
        return whole[:-1], whole[1:]

    def _text(self, text: str) -> list[int]:
        """With a leading space, as Whisper writes its text."""
        text = text.strip()
        return self.tokenizer(" " + text, add_special_tokens=False).input_ids if text else []

    def _n_frames(self, n_samples: int, rng: np.random.Generator) -> int:
        """Mel frames for a batch whose longest clip has n_samples: even, since the encoder halves them."""
        context = self.config.context
        if not context.crop:
            return N_FRAMES_FULL
        tail = CROPPED_SILENCE_SECONDS
        if self.training:
            shortest, longest = context.tail_seconds
            tail = WINDOW_SECONDS if rng.random() < context.full_probability else rng.uniform(shortest, longest)
        return frames_for(n_samples / SAMPLE_RATE + tail)


def _spoken(samples: np.ndarray) -> tuple[int, int]:
    """First and last sample louder than QUIET of the loudest; all of a silent clip."""
    level = np.abs(samples)
    loud = np.flatnonzero(level > QUIET * level.max()) if len(level) else np.zeros(0, dtype=int)
    return (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, len(samples))


def _stamp(seconds: float) -> str:
    """Whisper's token for a time: steps of 20 ms, 0 to 30 s."""
    return f"<|{min(round(seconds / POSITION_SECONDS), N_STAMPS - 1) * POSITION_SECONDS:.2f}|>"


def _stacked(rows: tuple[list[int], ...], padding: int) -> torch.Tensor:
    width = max(len(row) for row in rows)
    return torch.tensor([row + [padding] * (width - len(row)) for row in rows])
