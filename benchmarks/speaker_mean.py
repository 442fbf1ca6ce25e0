"""Make shared/models/speakers/mean.safetensors: the mean voice, which `shared.diarization` takes from every embedding.

    python -m feature_pipeline.build feature_pipeline/configs/amazon-queen.yaml
    python -m feature_pipeline.build feature_pipeline/configs/drascula-es.yaml
    python -m benchmarks.speaker_mean data/amazon-queen data/drascula-es

Enters: data sets that name the speaker of each clip; none of whose voices is in what `benchmarks.speakers` reports.
Leaves: the mean over voices of the mean of each voice's pieces of 1.5 s, float32 (192,). Says how well single pieces
of other clips tell one voice from another (equal error rate), with and without it; the mean of one half of the voices
is tried on the other half.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import torch
from safetensors.torch import save_file

from benchmarks.speakers import speech
from shared.audio import load_audio
from shared.diarization import MEAN, MODELS
from shared.diarization.diarizer import PIECE_BANDS
from shared.diarization.networks import CENTRED, log_bands, raw_embeddings

ENOUGH_CLIPS, MOST_CLIPS = 8, 30  # of a voice


@dataclass(frozen=True)
class Piece:
    voice: str
    clip: str
    embedding: np.ndarray  # (192,), of length 1


def pieces(folder: Path) -> list[Piece]:
    """Of every voice that has enough clips, at most so many of them, always the same ones."""
    clips: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
    for path in sorted(folder.glob("data/*.parquet")):
        for row in parquet.read_table(path, columns=["id", "audio", "speaker", "duration"]).to_pylist():
            if row["speaker"] and 1.5 < row["duration"] < 12:
                clips[row["speaker"]].append((row["id"], row["audio"]["bytes"]))
    found = []
    for voice, some in sorted(clips.items()):
        if len(some) < ENOUGH_CLIPS:
            continue
        for name, audio in random.Random(voice).sample(some, min(MOST_CLIPS, len(some))):
            samples = load_audio(audio).samples
            bands = log_bands(np.concatenate([samples[start:end] for start, end in speech(samples)]))
            whole = [bands[at : at + PIECE_BANDS] for at in range(0, len(bands) - PIECE_BANDS + 1, PIECE_BANDS)]
            if whole:
                found += [Piece(f"{folder.name}/{voice}", name, one) for one in raw_embeddings(torch.stack(whole))]
    return found


def mean_of(some: list[Piece]) -> np.ndarray:
    by_voice = defaultdict(list)
    for piece in some:
        by_voice[piece.voice].append(piece.embedding)
    return np.mean([np.mean(one, 0) for one in by_voice.values()], 0)


def equal_error(some: list[Piece], mean: np.ndarray) -> float:
    """How often two pieces of different clips are taken for one voice, at the threshold at which one voice is taken for
    two as often."""
    embeddings = np.stack([piece.embedding for piece in some]) - mean
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    one, other = np.triu_indices(len(some), 1)
    voices, clips = (np.array([getattr(piece, name) for piece in some]) for name in ("voice", "clip"))
    likeness = (embeddings @ embeddings.T)[one, other]
    same = np.sort(likeness[(voices[one] == voices[other]) & (clips[one] != clips[other])])
    different = np.sort(likeness[voices[one] != voices[other]])
    at = np.quantile(likeness, np.linspace(0, 1, 2000))
    missed = np.searchsorted(same, at) / len(same)
    mistaken = 1 - np.searchsorted(different, at) / len(different)
    return float(missed[np.abs(missed - mistaken).argmin()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=Path, metavar="DATA_SET")
    parser.add_argument("--out", type=Path, default=MODELS / MEAN, metavar="FILE")
    options = parser.parse_args()
    every = [piece for folder in options.data for piece in pieces(folder)]
    voices = sorted({piece.voice for piece in every})
    random.Random(1).shuffle(voices)
    print(f"{len(every)} pieces of {len(voices)} voices\n\n"
          f"| mean of | tried on | without | with {CENTRED:g} of it | with all |\n|" + " --- |" * 5)
    for number in (0, 1):
        learned = [piece for piece in every if piece.voice in voices[number::2]]
        tried = [piece for piece in every if piece.voice in voices[1 - number :: 2]]
        rates = " | ".join(f"{equal_error(tried, share * mean_of(learned)):.1%}" for share in (0.0, CENTRED, 1.0))
        print(f"| {len(voices[number::2])} voices | {len(voices[1 - number :: 2])} others | {rates} |")
    save_file({"mean": torch.from_numpy(mean_of(every).astype(np.float32))}, options.out)
    print(options.out)


if __name__ == "__main__":
    main()
