"""How well the word times of `shared.inference.word_times` hit where words begin and end.

    python -m benchmarks.word_times SOUNDS --peer ENV/bin/python --out benchmarks/results/word-times.json

Enters: SOUNDS, a folder with Debian's Asterisk prompts unpacked (asterisk-core-sounds-{en,it,es,ru}-g722). Single-word
prompts (digits and letters) are trimmed to their speech by energy and joined, eight at a time, with gaps of 0 to 50 ms:
so short that speech detection cannot give the answer away, and the place of each word is known to the sample. White
noise fills the gaps. Where a prompt begins and ends is itself found by energy, so borders corrected by the sound
(`shared.inference.word_times` does so) have an advantage here that they do not have in running speech; "attention
alone" has not.
Leaves: median and 90th percentile of the errors of starts and ends, in milliseconds, for each engine, language and
half. The text is given, so that every word counts and nothing but alignment is measured; faster-whisper's word
times come from its own alignment of the same text, in its own environment (--peer).

Choices were made on even-numbered sequences; `report` is the odd-numbered ones. `read_words` has running speech.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.audio import SAMPLE_RATE, load_audio
from shared.audio.features import N_FRAMES_FULL, log_mel, pad_or_trim
from shared.checkpoint import Checkpoint
from shared.checkpoint.embedded import embedded_base
from shared.engines import ENGINES
from shared.inference import Transcriber
from shared.inference.word_times import Row, align_words

VOICES = {"en": "en_US_f_Allison", "it": "it_IT_m_Carlo", "es": "es_MX_f_Allison", "ru": "ru_RU_f_IvrvoiceRU"}
DIGITS = {
    "en": "zero one two three four five six seven eight nine ten eleven twelve",
    "it": "zero uno due tre quattro cinque sei sette otto nove dieci undici dodici",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce",
    "ru": "ноль один два три четыре пять шесть семь восемь девять десять одиннадцать двенадцать",
}
LETTERS = "abcdefghijklmnopqrstuvwxyz"  # the Russian set names Latin letters too, but not all of them
N_WORDS = 8
MAX_GAP = 0.05
NOISE_DB = 40  # under the loudest 10 ms of all: a room, so that gaps are not digital silence
BELOW_DB = 30  # under the loudest 10 ms of a prompt is silence
FRAME = SAMPLE_RATE // 100


@dataclass(frozen=True)
class Sequence:
    """samples: float32 (n_samples,). spans: (start, end) of each word in seconds. between: words in the text."""

    language: str
    words: tuple[str, ...]
    samples: np.ndarray
    spans: tuple[tuple[float, float], ...]
    between: str = ", "

    @property
    def text(self) -> str:
        """As the model would write it."""
        return f" {self.between.join(self.words)}."


def trimmed(path: Path) -> np.ndarray:
    samples = load_audio(path).samples
    n_frames = len(samples) // FRAME
    level = 10 * np.log10(np.square(samples[: n_frames * FRAME]).reshape(-1, FRAME).mean(1) + 1e-10)
    loud = np.flatnonzero(level > level.max() - BELOW_DB)
    return samples[loud[0] * FRAME : (loud[-1] + 1) * FRAME]


def sequences(sounds: Path, language: str, n: int, noise_db: float = NOISE_DB) -> list[Sequence]:
    """Always the same ones: half a second of silence, eight words, half a second."""
    folder = next(sounds.rglob(VOICES[language]))
    prompts = {word: folder / "digits" / f"{number}.g722" for number, word in enumerate(DIGITS[language].split())}
    letters = {letter.upper(): folder / "letters" / f"{letter}.g722" for letter in LETTERS}
    kinds = [{word: trimmed(path) for word, path in kind.items() if path.is_file()} for kind in (prompts, letters)]
    kinds = [kind for kind in kinds if len(kind) >= N_WORDS and not (language == "ru" and "A" in kind)]
    made = []
    for number in range(n):
        draw = random.Random(f"{language} {number}")
        kind = kinds[number // 2 % len(kinds)]
        words, parts, at = draw.sample(list(kind), N_WORDS), [np.zeros(SAMPLE_RATE // 2)], SAMPLE_RATE // 2
        spans: list[tuple[float, float]] = []
        for word in words:
            gap = int(draw.uniform(0, MAX_GAP) * SAMPLE_RATE) if spans else 0
            parts += [np.zeros(gap), kind[word]]
            spans.append(((at + gap) / SAMPLE_RATE, (at + gap + len(kind[word])) / SAMPLE_RATE))
            at += gap + len(kind[word])
        samples = np.concatenate([*parts, np.zeros(SAMPLE_RATE // 2)])
        loudest = np.sqrt(np.square(samples[: len(samples) // FRAME * FRAME]).reshape(-1, FRAME).mean(1).max())
        samples += np.random.default_rng(number).normal(0, loudest * 10 ** (-noise_db / 20), len(samples))
        samples = samples.astype(np.float32)
        made.append(Sequence(language, tuple(words), samples, tuple(spans)))
    return made


def ours(transcriber: Transcriber, one: Sequence, by_sound: bool = True) -> list[tuple[float, float]]:
    """Start and end of each word; empty if the alignment failed."""
    engine, tokens = transcriber.engine, transcriber.tokens
    states = engine.encode([pad_or_trim(log_mel(one.samples, engine.n_mels), N_FRAMES_FULL)])
    prompt = tokens.prompt(one.language, "transcribe", timestamps=True, initial_prompt=None)
    ids = tokens.encode(one.text)
    found = align_words(engine, tokens, Row(states, 0, prompt), [ids], len(one.samples) / SAMPLE_RATE, one.language,
                        one.samples if by_sound else None)
    return [(word.start, word.end) for word in found[0]]


def peers(python: str, made: list[Sequence]) -> list[list[tuple[float, float]]]:
    """The same from faster-whisper, in its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        for number, one in enumerate(made):
            np.save(Path(folder, f"{number}.npy"), one.samples)
        Path(folder, "texts.json").write_text(json.dumps(
            [{"language": one.language, "text": one.text} for one in made]))
        script = Path(__file__).with_name("word_times_peer.py")
        ran = subprocess.run([python, str(script), str(embedded_base()), folder], check=True, capture_output=True)
        return json.loads(ran.stdout)


def errors(made: list[Sequence], found: list[list[tuple[float, float]]]) -> dict:
    """In milliseconds. A sequence whose words do not match one to one counts as failed and is left out."""
    starts, ends, failed = [], [], 0
    for one, spans in zip(made, found, strict=True):
        if len(spans) != len(one.spans):
            failed += 1
            continue
        difference = 1000 * np.abs(np.array(spans) - np.array(one.spans))
        starts += difference[:, 0].tolist()
        ends += difference[:, 1].tolist()
    both = starts + ends
    return {"words": len(starts), "failed": failed, **{
        f"{name}_{label}": float(np.quantile(values, at)) if values else float("nan")
        for name, values in (("start", starts), ("end", ends), ("all", both))
        for label, at in (("median", 0.5), ("p90", 0.9))}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", type=Path)
    parser.add_argument("--languages", nargs="+", default=list(VOICES), choices=list(VOICES))
    parser.add_argument("--engines", nargs="+", default=[name for name in ENGINES if name != "auto"])
    parser.add_argument("--sequences", type=int, default=24, metavar="N", help="of each language")
    parser.add_argument("--noise-db", type=float, default=NOISE_DB, help="white noise, so far under the loudest 10 ms")
    parser.add_argument("--half", choices=("tune", "report"), default="report")
    parser.add_argument("--peer", metavar="PYTHON", help="of an environment with faster-whisper")
    parser.add_argument("--out", type=Path, metavar="FILE")
    options = parser.parse_args()
    made = {code: sequences(options.sounds, code, options.sequences, options.noise_db)[options.half == "report" :: 2]
            for code in options.languages}
    found: dict[str, dict[str, list]] = {}
    for name in options.engines:
        transcriber = Transcriber(Checkpoint.parse("embedded:whisper-base"), engine=name)
        for label, by_sound in ((name, True), (f"{name}, attention alone", False)):
            found[label] = {code: [ours(transcriber, one, by_sound) for one in some] for code, some in made.items()}
    if options.peer:
        found["faster-whisper"] = {code: peers(options.peer, some) for code, some in made.items()}
    rows = []
    print("| | language | words | start ms, median | p90 | end ms, median | p90 | both, median | p90 | failed |\n|"
          + " --- |" * 10)
    for name, by_language in found.items():
        for code in [*made, "all"]:
            some = made.get(code) or [one for part in made.values() for one in part]
            spans = by_language.get(code) or [one for part in by_language.values() for one in part]
            row = {"engine": name, "language": code, **errors(some, spans)}
            rows.append(row)
            print(f"| {name} | {code} | {row['words']} | " + " | ".join(
                f"{row[f'{kind}_{at}']:.0f}" for kind in ("start", "end", "all") for at in ("median", "p90"))
                + f" | {row['failed']} |", flush=True)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"half": options.half, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
