"""A folder in which sentences are read aloud, one recording each: `0001.wav` with its text in `0001.txt`.

It is what the feature pipeline's `folder` source reads as it stands. `sentences.txt` in it lists what is to be read.
Knows nothing of pages and of training.
"""

from __future__ import annotations

import threading
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.audio import SAMPLE_RATE, AudioSource, load_audio
from shared.errors import UserError
from shared.system.files import whole_file, write_text
from shared.tables import decoded
from shared.transcript import Segment

LIST = "sentences.txt"
MAX_SENTENCES, MAX_LETTERS = 5000, 300  # a longer sentence is not read in one breath
MIN_SECONDS, MAX_SECONDS = 0.3, 30.0  # of a recording; Whisper reads no more than 30 s at once
HEADER_BYTES = 44  # of the WAV files that are written here
QUIET_DBFS, CLIPPED_SHARE = -50.0, 0.01  # the loudest tenth of a second; samples at full scale


@dataclass(frozen=True)
class Sentence:
    """number: from 1, which is also the recording's name. seconds: of the recording, None if there is none."""

    number: int
    text: str
    seconds: float | None = None


class Recordings:
    """The folder. Methods may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        """folder: is made when the first sentence is kept."""
        self.folder = folder
        self._lock = threading.Lock()

    def sentences(self) -> list[Sentence]:
        """All that are listed, in order, each with the length of its recording."""
        texts = self._listed()
        return [Sentence(number, text, self._seconds(number)) for number, text in enumerate(texts, 1)]

    def add(self, texts: Sequence[str]) -> int:
        """List further sentences; those that are listed already are left out. Returns how many are new.

        Raises UserError: there is none, one is too long, or there are too many.
        """
        cleaned = [" ".join(text.split()) for text in texts]
        wanted = list(dict.fromkeys(text for text in cleaned if text))
        if not wanted:
            raise UserError("There is no sentence yet", hint="write one on each line, or choose a text file")
        longest = max(wanted, key=len)
        if len(longest) > MAX_LETTERS:
            raise UserError("A sentence is too long to be read at once", got=f"{len(longest)} letters: {longest[:60]}…",
                            limit=f"{MAX_LETTERS} letters", hint="put each sentence on a line of its own")
        with self._lock:
            listed = self._listed()
            new = [text for text in wanted if text not in set(listed)]
            if len(listed) + len(new) > MAX_SENTENCES:
                raise UserError("There are too many sentences", got=len(listed) + len(new), limit=MAX_SENTENCES,
                                hint="record these first, and go on in another folder")
            if new:
                self._write_list([*listed, *new])
        return len(new)

    def keep(self, number: int, recording: str | Path) -> float:
        """Take a recording for a sentence, in place of an earlier one. Returns its seconds.

        number: of the sentence. recording: path of a media file.
        Raises UserError: it is too short, too long, silent or overdriven; nothing is changed then.
        """
        samples = load_audio(recording).samples
        _check(samples)
        with self._lock:
            text = self._listed()[number - 1]
            self._write(number, _pcm(samples), text)
        return len(samples) / SAMPLE_RATE

    def keep_segments(self, recording: str | Path, segments: Sequence[Segment]) -> tuple[int, int]:
        """Take the lines of a corrected transcript as sentences, each with its part of the recording.

        A part that is there already gets the line's text in place of its own, so that lines may be corrected and taken
        again.

        Args:
            recording: path of a media file of any length.
            segments: lines with their times in it.

        Returns:
            How many lines were taken, and how many left out: without words, shorter than 0.3 s or longer than 30 s.

        Raises:
            UserError: the recording cannot be read, or there are too many sentences; nothing is changed then.
        """
        usable = [segment for segment in segments if segment.text.strip()
                  and MIN_SECONDS <= segment.end - segment.start <= MAX_SECONDS]
        with self._lock:
            listed = self._listed()
            if len(listed) + len(usable) > MAX_SENTENCES:
                raise UserError("There are too many sentences", got=len(listed) + len(usable), limit=MAX_SENTENCES,
                                hint="train on those that are there, and go on in another folder")
            n_taken = 0
            for segment, part in _parts(recording, sorted(usable, key=lambda one: one.start)):
                if len(part) < MIN_SECONDS * SAMPLE_RATE:  # the recording ends before
                    continue
                text, wave_bytes = " ".join(segment.text.split()), _pcm(part)
                number = self._same_sound(wave_bytes) or len(listed) + 1
                listed[number - 1 : number] = [text]
                self._write_list(listed)
                self._write(number, wave_bytes, text)
                n_taken += 1
        return n_taken, len(segments) - n_taken

    def _same_sound(self, samples: bytes) -> int | None:
        """The number of a recording with just these samples."""
        for path in self.folder.glob("*.wav"):
            if path.stat().st_size == len(samples) + HEADER_BYTES and path.read_bytes()[HEADER_BYTES:] == samples:
                return int(path.stem)
        return None

    def forget(self, number: int) -> None:
        """Remove a sentence's recording; the sentence stays to be read."""
        with self._lock:
            for suffix in (".txt", ".wav"):
                self._path(number, suffix).unlink(missing_ok=True)

    def _listed(self) -> list[str]:
        path = self.folder / LIST
        return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []

    def _write_list(self, texts: Sequence[str]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / LIST, "".join(f"{text}\n" for text in texts))

    def _write(self, number: int, samples: bytes, text: str) -> None:
        """The sound first: a recording without its text is not taken for one with an empty text."""
        with whole_file(self._path(number, ".wav")) as draft, wave.open(str(draft), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            file.writeframes(samples)
        write_text(self._path(number, ".txt"), f"{text}\n")

    def _path(self, number: int, suffix: str) -> Path:
        return self.folder / f"{number:04d}{suffix}"

    def _seconds(self, number: int) -> float | None:
        path = self._path(number, ".wav")
        if not path.is_file() or not self._path(number, ".txt").is_file():
            return None
        return max(0.0, (path.stat().st_size - HEADER_BYTES) / 2 / SAMPLE_RATE)  # 16-bit samples


def lines_of(path: Path, language: str) -> list[str]:
    """Sentences of a text file, one on each line. Raises UserError: it is no text."""
    return decoded(path.read_bytes(), path.name, language).splitlines()


def _pcm(samples: np.ndarray) -> bytes:
    """Samples in [-1, 1] as 16-bit integers."""
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def _parts(recording: str | Path, segments: Sequence[Segment]) -> Iterator[tuple[Segment, np.ndarray]]:
    """Each segment with its samples. segments: by their start. In memory is what one of them needs."""
    waiting, held, first = list(segments), np.zeros(0, np.float32), 0  # `first`: number of the sample held[0]
    for block in AudioSource(recording):
        if not waiting:
            return
        held = np.concatenate([held, block])
        while waiting and round(waiting[0].end * SAMPLE_RATE) <= first + len(held):
            yield waiting[0], _cut(waiting.pop(0), held, first)
        needed = round(waiting[0].start * SAMPLE_RATE) - first if waiting else len(held)
        n_gone = min(max(needed, 0), len(held))
        held, first = held[n_gone:], first + n_gone
    for segment in waiting:
        yield segment, _cut(segment, held, first)


def _cut(segment: Segment, held: np.ndarray, first: int) -> np.ndarray:
    start, end = (round(at * SAMPLE_RATE) - first for at in (segment.start, segment.end))
    return held[max(start, 0) : max(end, 0)]


def _check(samples: np.ndarray) -> None:
    seconds = len(samples) / SAMPLE_RATE
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise UserError("The recording is too short" if seconds < MIN_SECONDS else "The recording is too long",
                        got=f"{seconds:.1f} s", limit=f"{MIN_SECONDS:g} to {MAX_SECONDS:g} s", hint="record it again")
    tenth = SAMPLE_RATE // 10
    frames = samples[: len(samples) // tenth * tenth].reshape(-1, tenth).astype(np.float64)
    loudest = 20 * np.log10(max(float(np.sqrt((frames**2).mean(axis=1)).max()), 1e-7))
    if loudest < QUIET_DBFS:
        raise UserError("Nothing can be heard in the recording", got=f"{loudest:.0f} dBFS at its loudest",
                        limit=f"{QUIET_DBFS:.0f} dBFS", hint="check the microphone, and record it again")
    if float((np.abs(samples) >= 0.999).mean()) > CLIPPED_SHARE:
        raise UserError("The recording is overdriven", got=f"more than {CLIPPED_SHARE:.0%} of it at full scale",
                        hint="turn the microphone down or move away from it, and record it again")
