"""The clips of tests/data and what is said in them, for every test that listens."""

from __future__ import annotations

import csv
import functools
import math
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from paths import DATA

from shared.audio import Waveform, load_audio


@dataclass(frozen=True)
class Clip:
    path: Path
    language: str
    text: str


@functools.cache
def clips(language: str | None = None) -> tuple[Clip, ...]:
    """Every clip, or those of one language."""
    with (DATA / "clips.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return tuple(Clip(DATA / row["file"], row["language"], row["text"]) for row in rows
                 if language in (None, row["language"]))


def sentences(path: Path, language: str, pause: float) -> str:
    """Write a WAV of a language's clips with pauses between them; gives the text."""
    chosen = clips(language)
    _write(path, joined([clip.path for clip in chosen], pause).samples)
    return " ".join(clip.text for clip in chosen)


def long_talk(path: Path, seconds: float = 200.0) -> None:
    """Write a WAV of Italian prompts. No clip follows itself: what repeats is decoded again with a beam, slowly."""
    spoken = [clip.path for clip in clips("it")]
    length = joined(spoken).duration
    _write(path, joined(spoken * math.ceil(seconds / length)).samples[: int(seconds * 16_000)])


def not_short(path: Path, clip: Path) -> None:
    """Write a WAV of a clip with silence after it, 31 s in all: it waits for its turn as long recordings do."""
    samples = load_audio(clip).samples
    _write(path, np.pad(samples, (0, 31 * 16_000 - len(samples))))


def _write(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def joined(paths: list[Path], pause: float = 0.8, seed: int = 0) -> Waveform:
    """Clips one after the other, parted by `pause` seconds of faint noise."""
    noise = np.random.default_rng(seed)
    parts: list[np.ndarray] = []
    for path in paths:
        quiet = noise.normal(0, 2e-4, int(pause * 16_000)).astype(np.float32)
        parts += [load_audio(path).samples, quiet]
    return Waveform(np.concatenate(parts))
