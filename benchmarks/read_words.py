"""Word times in running speech, against the phone labels of a corpus of read Russian.

    apt-get download festvox-ru && dpkg -x festvox-ru_*.deb FESTVOX
    python -m benchmarks.read_words FESTVOX --peer ENV/bin/python

Enters: Debian's festvox-ru unpacked: 620 sentences of one man, with a label for each phone. The labels have one phone
a letter, nearly, so each word's phones are found by aligning its letters with them; sentences in which that leaves a
doubt are not used. Leaves: how far starts and ends of words are from the labels, in milliseconds, and how far the
labels themselves are from the sound: beside a pause the level tells where speech begins and ends, and at every phone
border the spectrum changes most where the border is.

The text is given, so that nothing but alignment is measured; faster-whisper's word times come from its own alignment
of the same text, in its own environment (--peer). Choices were made on the sentences of `--half tune`.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.word_times import Sequence as Spoken
from benchmarks.word_times import ours, peers
from shared.audio import SAMPLE_RATE, load_audio
from shared.audio.features import log_mel
from shared.checkpoint import Checkpoint
from shared.errors import UserError
from shared.inference import Transcriber
from shared.inference.word_borders import by_sound

VOICE = "usr/share/festival/voices/russian/msu_ru_nsh_clunits"
SENTENCE = re.compile(r'^\(\s*(\S+)\s+"(.*)"\s*\)', re.M)
WORD = re.compile("[а-яё]+")
PAUSE = "pau"
VOWELS, PALATAL, SILENT = "аоуыэеёюяи", "еёюяи", "ьъ"
# Consonants and the first letters of their phones' names, devoiced or voiced by their neighbours.
PHONES = {"б": "bp", "в": "vf", "г": "gkvh", "д": "dt", "ж": "zs", "з": "zs", "к": "kgh", "л": "l", "м": "m", "н": "n",
          "п": "pb", "р": "r", "с": "sz", "т": "td", "ф": "fv", "х": "hg", "ц": "ct", "ч": "cs", "ш": "sz", "щ": "sz",
          "й": "j"}
DOUBT = 1.0  # cost of an alignment of letters and phones from which a sentence is left out
UNLIKE = 3.0
BESIDE_PAUSE = 0.08  # seconds of a pause that is long enough to be heard as one
BELOW_DB = 30.0  # under the loudest 10 ms of a sentence is silence, as in `word_times`
FRAME = SAMPLE_RATE // 100


@dataclass(frozen=True)
class Sentence:
    """name: of its files. spoken: words, samples and (start, end) of each word. phones: (end in seconds, name)."""

    name: str
    spoken: Spoken
    phones: tuple[tuple[float, str], ...]

    @property
    def starts_after_pause(self) -> np.ndarray:
        """For each word, whether a pause is before it."""
        spans = np.array(self.spoken.spans)
        return np.append(np.inf, spans[1:, 0] - spans[:-1, 1]) >= BESIDE_PAUSE

    @property
    def ends_before_pause(self) -> np.ndarray:
        """For each word, whether a pause is after it."""
        return np.append(self.starts_after_pause[1:], True)


def sentences(folder: Path) -> Iterator[Sentence]:
    """Those whose words are found in the labels without a doubt, always in the same order."""
    voice = folder / VOICE
    if not (voice / "lab").is_dir():
        raise UserError("This is no unpacked festvox-ru", got=folder, hint="dpkg -x festvox-ru_*.deb FOLDER")
    for name, text in SENTENCE.findall((voice / "etc/txt.done.data").read_text(encoding="utf-8")):
        text = text.replace("+", "").lower()  # marks of stress
        words = WORD.findall(text)
        lines = [line.split() for line in (voice / "lab" / f"{name}.lab").read_text().splitlines()[1:]]
        phones = [(float(end), phone) for end, _, phone in lines]
        cost, owners = aligned(words, [phone for _, phone in phones if phone != PAUSE])
        if cost >= DOUBT or re.search(r"\w-\w|[0-9a-z]", text) or set(owners) != set(range(len(words))):
            continue
        samples = load_audio(voice / "wav" / f"{name}.wav").samples
        spans = _spans(phones, owners)
        yield Sentence(name, Spoken("ru", tuple(words), samples, spans, between=" "), tuple(phones))


def aligned(words: Sequence[str], phones: Sequence[str]) -> tuple[float, list[int]]:
    """The least cost of pairing letters with phones, and the number of the word that each phone belongs to."""
    letters = [(number, letter) for number, word in enumerate(words) for letter in word]
    n, m = len(letters), len(phones)
    costs = np.full((n + 1, m + 1), np.inf)
    costs[0, 0] = 0.0
    came = np.zeros((n + 1, m + 1), np.int8)  # 0: both, 1: a letter without a phone, 2: a phone without a letter
    for i in range(n + 1):
        for j in range(m + 1):
            ways = (
                costs[i - 1, j - 1] + _unlike(letters[i - 1][1], phones[j - 1]) if i and j else np.inf,
                costs[i - 1, j] + (0.0 if letters[i - 1][1] in SILENT else 1.0) if i else np.inf,
                costs[i, j - 1] + _extra(letters[i][1] if i < n else "", phones[j - 1]) if j else np.inf)
            if i or j:
                came[i, j] = int(np.argmin(ways))
                costs[i, j] = ways[came[i, j]]
    owners, i, j = [0] * m, n, m
    while j:
        if came[i, j] == 1:
            i -= 1
            continue
        j -= 1
        i -= came[i, j + 1] == 0
        owners[j] = letters[min(i, n - 1)][0]
    return float(costs[n, m]), owners


def _unlike(letter: str, phone: str) -> float:
    if letter in VOWELS:
        return 0.0 if phone[0] in "aeiouy" else UNLIKE
    if letter in SILENT:
        return 1.0 if phone == "j" else UNLIKE
    return 0.0 if phone[0] in PHONES[letter] else UNLIKE


def _extra(letter_after: str, phone: str) -> float:
    """A phone without a letter: "j" is heard before a vowel that is written as one letter."""
    return 0.1 if phone == "j" and letter_after and letter_after in PALATAL else 1.0


def _spans(phones: Sequence[tuple[float, str]], owners: Sequence[int]) -> tuple[tuple[float, float], ...]:
    """From the start of each word's first phone to the end of its last."""
    found: dict[int, tuple[float, float]] = {}
    number = iter(owners)
    for (start, _), (end, phone) in zip([(0.0, PAUSE), *phones], phones, strict=False):
        if phone != PAUSE:
            word = next(number)
            found[word] = (found.get(word, (start, end))[0], end)
    return tuple(found[word] for word in sorted(found))


def label_errors(some: Sequence[Sentence]) -> dict[str, float]:
    """How far the labels are from the sound: beside pauses by the level, everywhere by the spectrum.

    Positive: the label is late. In milliseconds; the spectrum's is the shift at which the labels fit the changes best.
    """
    starts, ends, shifts = [], [], np.arange(-10, 11)
    change = np.zeros(len(shifts))
    for one in some:
        samples = one.spoken.samples
        n_frames = len(samples) // FRAME
        level = 10 * np.log10(np.square(samples[: n_frames * FRAME]).reshape(-1, FRAME).mean(1) + 1e-10)
        loud = np.flatnonzero(level > level.max() - BELOW_DB) / 100
        for (start, end), after, before in zip(one.spoken.spans, one.starts_after_pause, one.ends_before_pause,
                                               strict=True):
            inside = loud[(loud > start - BESIDE_PAUSE) & (loud < end + BESIDE_PAUSE)]
            if len(inside):
                starts += [start - inside[0]] if after else []
                ends += [end - inside[-1] - 0.01] if before else []
        mel = log_mel(samples, 80)
        flux = np.append(0.0, np.sqrt(np.square(np.diff(mel, axis=1)).sum(0)))
        at = np.array([round(100 * end) for end, _ in one.phones[:-1]])
        for place, shift in enumerate(shifts):
            change[place] += flux[np.clip(at + shift, 0, len(flux) - 1)].sum()
    return {"starts_median": 1000 * float(np.median(starts)), "starts_mean_size": 1000 * float(np.mean(np.abs(starts))),
            "ends_median": 1000 * float(np.median(ends)), "ends_mean_size": 1000 * float(np.mean(np.abs(ends))),
            "spectrum": -10.0 * float(shifts[change.argmax()])}


def errors(some: Sequence[Sentence], found: Sequence[Sequence[tuple[float, float]]]) -> dict[str, float]:
    """In milliseconds; `bias`: median with its sign, positive where the program is late. A sentence whose words do not
    match one to one counts as failed and is left out."""
    sides: dict[str, list[float]] = {"start": [], "end": [], "at_pause": [], "inner": []}
    failed = 0
    for one, spans in zip(some, found, strict=True):
        if len(spans) != len(one.spoken.spans):
            failed += 1
            continue
        difference = 1000 * (np.array(spans) - np.array(one.spoken.spans))
        paused = np.stack([one.starts_after_pause, one.ends_before_pause], axis=1)
        for name, values in (("start", difference[:, 0]), ("end", difference[:, 1]), ("at_pause", difference[paused]),
                             ("inner", difference[~paused])):
            sides[name] += values.tolist()
    sides["all"] = sides["start"] + sides["end"]
    return {"words": len(sides["start"]), "failed": failed, **{
        f"{name}_{label}": float(of(np.array(values))) for name, values in sides.items() for label, of in (
            ("mean", lambda v: np.abs(v).mean()), ("median", lambda v: np.median(np.abs(v))), ("bias", np.median))}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("festvox", type=Path, help="the package unpacked")
    parser.add_argument("--sentences", type=int, default=60, metavar="N")
    parser.add_argument("--half", choices=("tune", "report"), default="report")
    parser.add_argument("--checkpoint", default="embedded:whisper-base")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--peer", metavar="PYTHON", help="of an environment with faster-whisper")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON, with every word's times")
    given = parser.parse_args()
    usable = list(sentences(given.festvox))
    some = usable[given.half == "report" :: 2][: given.sentences]
    print(f"{len(usable)} sentences can be used; {len(some)} of the half '{given.half}'. Labels against the sound, ms: "
          + ", ".join(f"{name} {value:.0f}" for name, value in label_errors(some).items()), flush=True)
    transcriber = Transcriber(Checkpoint.parse(given.checkpoint), engine=given.engine)
    alone = [ours(transcriber, one.spoken, by_sound=False) for one in some]
    found = {transcriber.engine.name: [by_sound(spans, one.spoken.samples) if spans else []
                                       for spans, one in zip(alone, some, strict=True)], "attention alone": alone}
    if given.peer:
        found["faster-whisper"] = [[(start, end) for start, end in spans]
                                   for spans in peers(given.peer, [one.spoken for one in some])]
    print("| | words | starts, mean | median | bias | ends, mean | median | bias | both, mean | median "
          "| beside a pause, mean | within speech, mean | failed |\n|" + " --- |" * 13)
    for name, spans in found.items():
        row = errors(some, spans)
        kinds = [f"{kind}_{label}" for kind in ("start", "end") for label in ("mean", "median", "bias")]
        print(f"| {name} | {row['words']} | " + " | ".join(f"{row[kind]:.0f}" for kind in (
            *kinds, "all_mean", "all_median", "at_pause_mean", "inner_mean")) + f" | {row['failed']} |")
    if given.out:
        given.out.write_text(json.dumps({"half": given.half, "names": [one.name for one in some],
                                         "labels": [one.spoken.spans for one in some], "found": found}))


if __name__ == "__main__":
    main()
