"""How well `shared.diarization` tells who spoke when, on conversations joined from real voices.

    python -m benchmarks.speakers data/fillets-cs data/fillets-nl --out benchmarks/results/speakers.json
    python -m benchmarks.speakers data/asterisk-it+data/asterisk-en+data/asterisk-ru --voices 2 3

Enters: data sets that name the speaker of each clip (feature_pipeline/configs/fillets-cs.yaml and others); joined by
+ they count as one corpus. Leaves: the diarization error rate of pyannote.metrics (collar 0.25 s, overlap counted)
for each number of voices, that number found and given. The voices of a conversation come from one corpus; their order
is drawn at random, pauses are 0.1 to 1 s, one change of speaker in six overlaps by 0.2 to 0.8 s. What is speech in a
clip is found by its energy, not by the detector that is measured.

Thresholds were chosen on `--half tune`, the voices named in TUNE; none of them is in `--half report`, which is the
default. Needs pyannote.metrics (`pip install -e '.[test]'`).
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
from pyannote.core import Annotation, Segment
from pyannote.metrics.diarization import DiarizationErrorRate

from shared.audio import SAMPLE_RATE, Waveform, load_audio
from shared.audio.windows import windows
from shared.diarization import Diarizer, Turn
from shared.errors import UserError

COLLAR = 0.25
ENOUGH_SECONDS = 25  # of clips that a voice must have
TUNE = ("cs-small", "cs-statue", "cs-linuxer1", "cs-viking1", "cs-parrot")
# Fish Fillets names a voice by the font of its subtitles. Colours are shared by characters of many levels. The two
# fish are in every level; another name in another level need not be the same person: its longest level alone counts.
COLOURS = ("cs-white", "cs-yellow", "cs-cyan", "cs-lightgrey", "cs-darkgrey")
FISH = ("big", "small")
LEAST_LETTERS = 4  # of text per second of sound: a third of the usual; of less, most is humming or effects, not words
OVERLAPPED = 1 / 6
FRAME = SAMPLE_RATE // 100
BELOW_DB = 25  # under a clip's loudest 10 ms is silence
PAUSE_SECONDS = 0.3  # a longer silence within a clip is no speech


@dataclass(frozen=True)
class Clip:
    audio: bytes
    n_letters: int


@dataclass(frozen=True)
class Conversation:
    waveform: Waveform
    turns: tuple[Turn, ...]


def voices(corpus: str, half: str) -> dict[str, list[Clip]]:
    """The clips of each voice that has enough of them. corpus: folders joined by +. half: tune or report."""
    clips: dict[tuple[str, str], list[Clip]] = defaultdict(list)
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    for path in [path for folder in corpus.split("+") for path in sorted(Path(folder).glob("data/*.parquet"))]:
        for row in parquet.read_table(path, columns=["id", "audio", "text", "speaker", "duration"]).to_pylist():
            name = row["speaker"]
            if not name or name in COLOURS or (name in TUNE) != (half == "tune") or not 1.0 <= row["duration"] <= 12.0:
                continue
            data_set, level, *_ = row["id"].split("/")
            voice = (name, level if data_set.startswith("fillets") and name.split("-")[-1] not in FISH else "")
            clips[voice].append(Clip(row["audio"]["bytes"], sum(map(str.isalpha, row["text"]))))
            seconds[voice] += row["duration"]
    longest = {name: max((voice for voice in clips if voice[0] == name), key=seconds.__getitem__)
               for name in sorted({name for name, _ in clips})}
    return {name: clips[voice] for name, voice in longest.items() if seconds[voice] >= ENOUGH_SECONDS}


def speech(samples: np.ndarray) -> list[tuple[int, int]]:
    """Where a clip is loud, as samples; what parts by less than a pause is one stretch."""
    n_frames = len(samples) // FRAME
    level = 10 * np.log10(np.square(samples[: n_frames * FRAME]).reshape(-1, FRAME).mean(1) + 1e-10)
    loud = np.flatnonzero(level > level.max() - BELOW_DB)
    breaks = np.flatnonzero(np.diff(loud) > PAUSE_SECONDS * 100)
    first, last = loud[np.r_[0, breaks + 1]], loud[np.r_[breaks, len(loud) - 1]]
    return [(int(a) * FRAME, int(b + 1) * FRAME) for a, b in zip(first, last, strict=True)]


def drawn(clips: list[Clip], draw: random.Random) -> np.ndarray:
    """One of them that is mostly words, judged by its text and its energy, without the silence at both ends."""
    for _ in range(100):
        clip = draw.choice(clips)
        samples = load_audio(clip.audio).samples
        spans = speech(samples)
        if clip.n_letters >= LEAST_LETTERS * sum(end - start for start, end in spans) / SAMPLE_RATE:
            return samples[spans[0][0] : spans[-1][1]]
    raise UserError("Hardly a clip of this voice holds words", got=f"{len(clips)} clips",
                    limit=f"{LEAST_LETTERS} letters of text per second of sound", hint="leave the voice out")


def conversation(clips: dict[str, list[Clip]], n_turns: int, draw: random.Random) -> Conversation:
    """Voices in random order, each turn one or two clips, no two turns in a row of one voice unless there is one."""
    placed: list[tuple[int, np.ndarray, str]] = []
    names, at, speaker, overlap = list(clips), SAMPLE_RATE // 2, "", False
    order = draw.sample(names, len(names))  # everybody speaks
    for number in range(n_turns):
        others = [name for name in names if name != speaker] or names
        speaker = order[number] if number < len(order) else draw.choice(others)
        for _ in range(draw.choice((1, 1, 2))):
            samples = drawn(clips[speaker], draw)
            placed.append((at, samples, speaker))
            at += len(samples) + int(draw.uniform(0.1, 1.0) * SAMPLE_RATE)
        overlap = len(names) > 1 and draw.random() < OVERLAPPED
        if overlap:
            last, samples, _ = placed[-1]
            at = last + len(samples) - min(int(draw.uniform(0.2, 0.8) * SAMPLE_RATE), len(samples) // 2)
    mixed = np.zeros(max(start + len(samples) for start, samples, _ in placed) + SAMPLE_RATE // 2, dtype=np.float32)
    turns = []
    for start, samples, speaker in placed:
        mixed[start : start + len(samples)] += samples
        turns += [Turn((start + a) / SAMPLE_RATE, (start + b) / SAMPLE_RATE, speaker) for a, b in speech(samples)]
    return Conversation(Waveform(np.clip(mixed, -1, 1)), tuple(turns))


def conversations(corpora: list[str], n_voices: int, n: int, half: str, n_turns: int) -> list[Conversation]:
    """As many of them from each corpus that has enough voices, always the same ones."""
    able = [clips for clips in (voices(corpus, half) for corpus in corpora) if len(clips) >= n_voices]
    made = []
    for number in range(n if able else 0):
        draw = random.Random(f"{half} {n_voices} {number}")
        clips = able[number % len(able)]
        chosen = draw.sample(list(clips), n_voices)
        made.append(conversation({name: clips[name] for name in chosen}, n_turns, draw))
    return made


def diarize(waveform: Waveform) -> Diarizer:
    diarizer = Diarizer()
    for window in windows([waveform.samples]):
        diarizer.push(window)
    diarizer.turns()
    return diarizer


def annotation(turns: Iterable[Turn]) -> Annotation:
    made = Annotation()
    for number, turn in enumerate(turns):
        made[Segment(turn.start, turn.end), number] = turn.speaker
    return made


def measure(made: list[Conversation], diarizers: list[Diarizer], n_speakers: int | None) -> dict:
    metric = DiarizationErrorRate(collar=COLLAR, skip_overlap=False)
    counts = []
    for one, diarizer in zip(made, diarizers, strict=True):
        diarizer.n_speakers = n_speakers
        found = diarizer.turns()
        metric(annotation(one.turns), annotation(found))
        counts.append(len({turn.speaker for turn in found}))
    total = metric.accumulated_
    parts = {name: total[name] / total["total"] for name in ("missed detection", "false alarm", "confusion")}
    return {"der": abs(metric), **parts, "found": counts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="+", metavar="DATA_SET")
    parser.add_argument("--half", choices=("tune", "report"), default="report")
    parser.add_argument("--voices", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--conversations", type=int, default=12)
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON")
    options = parser.parse_args()
    rows = []
    print("| voices | number | DER | missed | false alarm | confusion | found | × real time |\n|" + " --- |" * 8)
    for n_voices in options.voices:
        made = conversations(options.corpora, n_voices, options.conversations, options.half, options.turns)
        begun = time.monotonic()
        diarizers = [diarize(one.waveform) for one in made]
        seconds, audio = time.monotonic() - begun, sum(one.waveform.duration for one in made)
        for given in (None, n_voices) if made else ():
            row = {"voices": n_voices, "given": given is not None, "minutes": audio / 60, "rtfx": audio / seconds,
                   **measure(made, diarizers, given)}
            rows.append(row)
            rates = " | ".join(f"{row[name]:.1%}" for name in ("der", "missed detection", "false alarm", "confusion"))
            print(f"| {n_voices} | {'given' if given else 'found'} | {rates} | {' '.join(map(str, row['found']))} | "
                  f"{row['rtfx']:.0f} |", flush=True)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"half": options.half, "collar": COLLAR, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
