"""What the peers are made to hear: real prompts, alone and joined, named in `sets.json` so that a run can be repeated.

    python -m benchmarks.peers.sets            # build the audio, check it against sets.json
    python -m benchmarks.peers.sets freeze     # choose anew and write sets.json (only when the data sets change)

Enters: the data sets `data/asterisk-en` and `data/asterisk-it` as feature_pipeline builds them. Leaves: 16-bit WAV
files under the cache and their references. *short*: prompts of 1–15 s, each a file. *long*: ten minutes of prompts one
after the other with 0.3–2 s between them, all under faint white noise. Training sees the train split alone, so nothing
here comes from there; `trained.json` keeps what it holds, for the test of that.
"""

from __future__ import annotations

import hashlib
import json
import sys
import wave
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from shared.audio import SAMPLE_RATE, load_audio
from shared.errors import UserError
from shared.system.cache import made_once
from shared.wer import normalise

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "data"
SEED = 7
SHORT_SECONDS = (1.0, 15.0)
LONG_SECONDS = 600.0
GAP_SECONDS = (0.3, 2.0)
NOISE_DBFS = -50.0  # of the white noise under a long recording
# name: (data set, splits, clips at most). Italian has 4 minutes of test clips, so its ten minutes take the validation
# clips too, which chose the checkpoint's step but trained nothing, and then test clips again, in another order.
SETS = {
    "short-en": ("asterisk-en", ("test",), 130), "short-it": ("asterisk-it", ("test",), 100),
    "long-en": ("asterisk-en", ("test",), None), "long-it": ("asterisk-it", ("test", "validation"), None),
}
SPLITS = ("test", "validation", "train")
TRAINED = ("asterisk-it",)  # the data sets that the shipped checkpoint learnt from


@dataclass(frozen=True)
class Clip:
    """One file to recognise. parts: the references of the prompts in it, in order."""

    id: str
    path: Path
    seconds: float
    parts: tuple[str, ...]

    @property
    def reference(self) -> str:
        return " ".join(self.parts)


@dataclass(frozen=True)
class BenchSet:
    name: str
    language: str
    clips: tuple[Clip, ...]

    @property
    def kind(self) -> str:
        return self.name.split("-")[0]

    @property
    def seconds(self) -> float:
        return sum(clip.seconds for clip in self.clips)


@dataclass(frozen=True, eq=False)
class Row:
    """One clip of a data set. samples: int16 (n_samples,). source: digest of its file as the corpus has it, since the
    last bit of decoded samples differs between processors and builds of ffmpeg."""

    id: str
    text: str
    samples: np.ndarray
    source: str


def bench_set(name: str, limit: int | None = None, data: Path = DATA) -> BenchSet:
    """One of SETS, or its first `limit` prompts, with its audio on disk.

    Raises UserError if the data sets differ from those of sets.json.
    """
    if name not in SETS:
        raise UserError("There is no such set", got=name, limit=", ".join(SETS), hint="choose one of those")
    listed = json.loads((HERE / "sets.json").read_text(encoding="utf-8"))[name]
    listed["clips"] = listed["clips"][:limit]
    language = listed["language"]
    # A clip is found in whatever split: the English list was chosen from a larger test split than the config's own.
    rows = {row.id: row for row in _rows(data / SETS[name][0], SPLITS, {clip["id"] for clip in listed["clips"]})}
    for clip in listed["clips"]:
        if clip["id"] not in rows or rows[clip["id"]].source != clip["source"]:
            raise UserError("The data set is not the one that the benchmark's list was made from", got=clip["id"],
                            hint=f"build it anew: make features FEATURES=feature_pipeline/configs/{SETS[name][0]}.yaml")
    chosen = [rows[clip["id"]] for clip in listed["clips"]]
    folder = made_once(f"bench-set-{name}-{digest(json.dumps(listed).encode())}", lambda to: _write(name, chosen, to))
    if name.startswith("short"):
        clips = tuple(Clip(row.id, folder / f"{n:03d}.wav", len(row.samples) / SAMPLE_RATE, (row.text,))
                      for n, row in enumerate(chosen))
    else:
        with wave.open(str(folder / "000.wav")) as file:
            seconds = file.getnframes() / SAMPLE_RATE
        clips = (Clip(name, folder / "000.wav", seconds, tuple(row.text for row in chosen)),)
    return BenchSet(name, language, clips)


def joined(clips: Sequence[np.ndarray], seed: int = SEED) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Clips (int16) in one recording with silence before, between and after, and noise under all of it.

    Returns int16 (n_samples,) and where each clip lies, as (first sample, sample after the last).
    """
    rng = np.random.default_rng(seed)
    gaps = [int(seconds * SAMPLE_RATE) for seconds in rng.uniform(*GAP_SECONDS, len(clips) + 1)]
    places, at = [], gaps[0]
    for clip, gap in zip(clips, gaps[1:], strict=True):
        places.append((at, at + len(clip)))
        at += len(clip) + gap
    sound = rng.normal(0.0, 32768 * 10 ** (NOISE_DBFS / 20), at)
    for (start, end), clip in zip(places, clips, strict=True):
        sound[start:end] += clip
    return np.clip(np.round(sound), -32768, 32767).astype(np.int16), places


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def sentence_digest(text: str, language: str) -> str:
    """The same for two texts whose words are the same; the lists in the repository name sentences by it."""
    return digest(normalise(text, language).encode())


def freeze(data: Path = DATA) -> None:
    """Choose the clips by a hash of seed and id, and write sets.json and trained.json.

    The present English list comes from asterisk-en built with `split.test=0.6`.
    """
    trained = {name: trained_rows(data / name) for name in TRAINED}
    learnt = {sentence for rows in trained.values() for sentence in rows["sentences"]}
    sets = {}
    for name, (data_set, splits, at_most) in SETS.items():
        language = data_set.split("-")[-1]
        rows = sorted(_rows(data / data_set, splits), key=lambda row: digest(f"{SEED} {name} {row.id}".encode()))
        # "Alpha." is a sentence of both languages.
        rows = [row for row in rows
                if _seconds(row) <= SHORT_SECONDS[1] and sentence_digest(row.text, language) not in learnt]
        if name.startswith("short"):
            rows = [row for row in rows if _seconds(row) >= SHORT_SECONDS[0]][:at_most]
        else:
            rows = _ten_minutes(rows)
        sets[name] = {
            "language": language, "seed": SEED, "seconds": round(sum(map(_seconds, rows)), 1),
            "words": sum(len(normalise(row.text, language).split()) for row in rows),
            "clips": [{"id": row.id, "source": row.source,
                       "sentence": sentence_digest(row.text, language)} for row in rows]}
    for file, content in (("sets.json", sets), ("trained.json", trained)):
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (HERE / file).write_text(text + "\n", encoding="utf-8")


def trained_rows(folder: Path) -> dict[str, list[str]]:
    """The ids and sentence digests of a data set's train split."""
    table = pq.ParquetDataset(sorted(folder.glob("data/train-*.parquet"))).read(columns=["id", "text", "language"])
    rows = table.to_pylist()
    return {"ids": sorted(row["id"] for row in rows),
            "sentences": sorted({sentence_digest(row["text"], row["language"]) for row in rows})}


def _seconds(row: Row) -> float:
    return len(row.samples) / SAMPLE_RATE


def _ten_minutes(rows: list[Row]) -> list[Row]:
    """As many rows as fill LONG_SECONDS with gaps of middling length; begins again, backwards, where they run out."""
    chosen, seconds = [], 0.0
    for row in rows + rows[::-1]:
        if seconds >= LONG_SECONDS:
            break
        chosen.append(row)
        seconds += _seconds(row) + sum(GAP_SECONDS) / 2
    return chosen


def _rows(folder: Path, splits: Iterable[str], wanted: set[str] | None = None) -> list[Row]:
    rows = []
    for split in splits:
        paths = sorted(folder.glob(f"data/{split}-*.parquet"))
        if not paths:
            raise UserError("The benchmark's data set is not there", got=folder,
                            hint=f"make features FEATURES=feature_pipeline/configs/{folder.name}.yaml")
        for row in pq.ParquetDataset(paths).read(columns=["id", "audio", "text"]).to_pylist():
            if wanted is None or row["id"] in wanted:
                source = row["audio"]["bytes"]
                samples = np.round(load_audio(source).samples * 32767).astype(np.int16)
                rows.append(Row(row["id"], row["text"], samples, digest(source)))
    return rows


def _write(name: str, rows: Sequence[Row], folder: Path) -> None:
    sounds = [row.samples for row in rows] if name.startswith("short") else [joined([row.samples for row in rows])[0]]
    for n, samples in enumerate(sounds):
        with wave.open(str(folder / f"{n:03d}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            file.writeframes(samples.astype("<i2").tobytes())


def main() -> None:
    if sys.argv[1:] == ["freeze"]:
        freeze()
    for name in SETS:
        made = bench_set(name)
        words = sum(len(normalise(clip.reference, made.language).split()) for clip in made.clips)
        print(f"{name}: {len(made.clips)} files, {made.seconds:.1f} s, {words} words, in {made.clips[0].path.parent}")


if __name__ == "__main__":
    main()
