"""Text invented where nobody speaks: noise, music, applause, breath, ringing and babble, alone and around speech.

    python -m benchmarks.silence --out benchmarks/results/silence.json

Enters: nothing but tests/data; all sounds are synthesised from a seed. Alone: 20 s of each kind. Around speech: the
English clips of tests/data with 6 s before, between and after them, and the noise under all of it at 20, 5 and -5 dB
(mean power of the clips over that of the noise). Leaves, for each program on the same weights, greedy, the language
given: words per minute where there are none, and WER of the speech.

Babble is five of the clips at once, backwards: it sounds like people and holds no word. "no VAD" is ours with a speech
threshold that nothing is under.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from shared.audio import SAMPLE_RATE, Waveform, load_audio
from shared.checkpoint import Checkpoint, files
from shared.inference import Transcriber
from shared.wer import normalise, pooled, word_errors

DATA = Path(__file__).parents[1] / "tests" / "data"
ALONE_SECONDS, GAP_SECONDS = 20.0, 6.0
SNR_DB = (20, 5, -5)
LEVEL = 0.05  # root mean square of a noise alone: about as loud as speech
NEVER_SILENT = 1e-6  # a speech threshold that every moment is over
LANGUAGE = "en"


def white(n: int, draw: np.random.Generator) -> np.ndarray:
    return draw.normal(size=n)


def pink(n: int, draw: np.random.Generator) -> np.ndarray:
    """The same power in each octave."""
    spectrum = np.fft.rfft(draw.normal(size=n))
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), n)


def hum(n: int, draw: np.random.Generator) -> np.ndarray:
    """Mains at 50 Hz with its harmonics, a little noise."""
    return sum(_tone(n, 50.0 * k) / k for k in range(1, 12)) + 0.02 * draw.normal(size=n)


def music(n: int, draw: np.random.Generator) -> np.ndarray:
    """Chords of three notes with four harmonics, half a second each, each dying away."""
    sound = np.zeros(n)
    step = SAMPLE_RATE // 2
    for start in range(0, n, step):
        length = min(step, n - start)
        root = 110.0 * 2 ** (draw.choice([0, 3, 5, 7, 8, 10]) / 12)
        chord = sum(_tone(length, root * 2 ** (note / 12) * k) / k for note in (0, 4, 7) for k in (1, 2, 3, 4))
        sound[start : start + length] = chord * np.exp(-3.0 * np.arange(length) / step)
    return sound


def applause(n: int, draw: np.random.Generator) -> np.ndarray:
    """Two hundred claps a second, each 5 ms of noise."""
    claps = np.zeros(n)
    claps[draw.integers(0, n, int(200 * n / SAMPLE_RATE))] = draw.uniform(0.2, 1.0, int(200 * n / SAMPLE_RATE))
    clap = draw.normal(size=800) * np.exp(-np.arange(800) / 80)
    return np.convolve(claps, clap)[:n]


def breath(n: int, draw: np.random.Generator) -> np.ndarray:
    """Noise around 1 kHz that comes and goes every three seconds."""
    spectrum = np.fft.rfft(draw.normal(size=n))
    hertz = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)
    sound = np.fft.irfft(spectrum * np.exp(-(((hertz - 1000) / 600) ** 2)), n)
    return sound * np.maximum(0, np.sin(2 * np.pi * np.arange(n) / (3 * SAMPLE_RATE))) ** 2


def ringing(n: int, draw: np.random.Generator) -> np.ndarray:
    """440 and 480 Hz, two seconds in six, as in North America."""
    rings = (np.arange(n) / SAMPLE_RATE) % 6 < 2
    return (_tone(n, 440) + _tone(n, 480)) * rings + 0.001 * draw.normal(size=n)


def babble(n: int, draw: np.random.Generator) -> np.ndarray:
    voices = [load_audio(path).samples[::-1] for path in sorted(DATA.glob("*_*.*")) if path.suffix != ".csv"]
    some = [np.roll(np.resize(voices[k], n), draw.integers(n)) for k in draw.permutation(len(voices))[:5]]
    return np.sum(some, axis=0)


NOISES: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    one.__name__: one for one in (white, pink, hum, music, applause, breath, ringing, babble)}


def _tone(n: int, hertz: float) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(n) / SAMPLE_RATE)


def noise(kind: str, n: int, seed: int = 0) -> np.ndarray:
    """float32 (n,), root mean square 1, always the same."""
    sound = NOISES[kind](n, np.random.default_rng([seed, *kind.encode()]))
    return (sound / np.sqrt(np.mean(np.square(sound)))).astype(np.float32)


def around_speech(kind: str, snr_db: float) -> tuple[np.ndarray, str]:
    """The English clips with gaps, noise under all of it; and what is spoken."""
    with (DATA / "clips.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["language"] == LANGUAGE]
    gap = np.zeros(int(GAP_SECONDS * SAMPLE_RATE), np.float32)
    clips = [load_audio(DATA / row["file"]).samples for row in rows]
    speech = np.concatenate([gap, *(part for clip in clips for part in (clip, gap))])
    power = np.sqrt(np.mean(np.square(np.concatenate(clips))))
    mixed = speech + noise(kind, len(speech)) * power * 10 ** (-snr_db / 20)
    return (mixed / max(1.0, np.abs(mixed).max())).astype(np.float32), " ".join(row["text"] for row in rows)


def ours(checkpoint: str, vad_onset: float) -> Callable[[np.ndarray], str]:
    transcriber = Transcriber(Checkpoint.parse(checkpoint))
    return lambda samples: transcriber.transcribe(Waveform(samples), language=LANGUAGE, vad_onset=vad_onset).text


def faster_whisper(checkpoint: str, vad: bool) -> Callable[[np.ndarray], str]:
    from faster_whisper import WhisperModel

    model = WhisperModel(str(files(Checkpoint.parse(checkpoint), "ctranslate2")[1]), device="cpu", compute_type="int8")
    return lambda samples: " ".join(segment.text.strip() for segment in model.transcribe(
        samples, language=LANGUAGE, beam_size=1, vad_filter=vad)[0])


def transformers(checkpoint: str) -> Callable[[np.ndarray], str]:
    """Stock Whisper: `generate` with timestamps, long audio window after window, no thresholds."""
    from transformers import pipeline

    recognise = pipeline("automatic-speech-recognition", str(files(Checkpoint.parse(checkpoint), "transformers")[1]))
    how = {"language": LANGUAGE, "task": "transcribe", "num_beams": 1}
    return lambda samples: recognise({"raw": samples, "sampling_rate": SAMPLE_RATE}, return_timestamps=True,
                                     generate_kwargs=how)["text"]


SYSTEMS: dict[str, Callable[[str], Callable[[np.ndarray], str]]] = {
    "ours": lambda checkpoint: ours(checkpoint, 0.5),
    "ours, no VAD": lambda checkpoint: ours(checkpoint, NEVER_SILENT),
    "faster-whisper, VAD": lambda checkpoint: faster_whisper(checkpoint, True),
    "faster-whisper": lambda checkpoint: faster_whisper(checkpoint, False),
    "transformers": transformers,
}


def measured(recognise: Callable[[np.ndarray], str], kinds: list[str], levels: list[int]) -> list[dict]:
    """A row for each sound: its text, words where there are none, errors of the speech."""
    rows = []
    for kind in kinds:
        samples = LEVEL * noise(kind, int(ALONE_SECONDS * SAMPLE_RATE))
        text = recognise(samples)
        rows.append({"kind": kind, "snr_db": None, "text": text, "words": len(normalise(text, LANGUAGE).split())})
        for snr_db in levels:
            samples, spoken = around_speech(kind, snr_db)
            text = recognise(samples)
            errors = word_errors(spoken, text, LANGUAGE)
            rows.append({"kind": kind, "snr_db": snr_db, "text": text, "insertions": errors.insertions,
                         "errors": errors.errors, "words": errors.reference_length, "spoken": spoken})
    return rows


def summary(rows: list[dict]) -> list[str]:
    """Words per minute of noise alone, how many kinds have any, WER at each level, insertions."""
    alone = [row for row in rows if row["snr_db"] is None]
    cells = [f"{60 * sum(row['words'] for row in alone) / (ALONE_SECONDS * len(alone)):.1f}",
             ", ".join(f"{row['kind']} {row['words']}" for row in alone if row["words"]) or "none"]
    for snr_db in SNR_DB:
        some = [row for row in rows if row["snr_db"] == snr_db]
        wer = pooled(word_errors(row["spoken"], row["text"], LANGUAGE) for row in some).wer if some else 0.0
        cells.append(f"{100 * wer:.1f} ({sum(row['insertions'] for row in some)})" if some else "")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="embedded:whisper-base")
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--kinds", nargs="+", choices=list(NOISES), default=list(NOISES))
    parser.add_argument("--levels", nargs="*", type=int, choices=SNR_DB, default=list(SNR_DB), metavar="DB")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON with every text")
    given = parser.parse_args()
    print("| | words a minute of noise | in 20 s of | " + " | ".join(f"WER at {snr} dB (inserted)" for snr in SNR_DB)
          + " | CPU s |\n|" + " --- |" * (4 + len(SNR_DB)))
    found = {}
    for name in given.systems:
        recognise = SYSTEMS[name](given.checkpoint)
        began = time.process_time()
        found[name] = measured(recognise, given.kinds, given.levels)
        print(f"| {name} | " + " | ".join(summary(found[name])) + f" | {time.process_time() - began:.0f} |", flush=True)
    if given.out:
        given.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
