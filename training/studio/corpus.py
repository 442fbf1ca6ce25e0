"""A folder in which sentences are read aloud, one recording each: `0001.wav` with its text in `0001.txt`.

It is what the feature pipeline's `folder` source reads as it stands. `sentences.txt` in it lists what is to be read.
Knows nothing of pages and of training.
"""

from __future__ import annotations

import threading
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.audio import SAMPLE_RATE, load_audio
from shared.errors import UserError
from shared.system.files import whole_file, write_text
from shared.tables import decoded
from shared.transcript import Segment

LIST = "sentences.txt"
MAX_SENTENCES, MAX_LETTERS = 5000, 300  # a longer sentence is not read in one breath
MIN_SECONDS, MAX_SECONDS = 0.3, 30.0  # of a recording; Whisper reads no more than 30 s at once
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
            self._write(number, samples, text)
        return len(samples) / SAMPLE_RATE

    def keep_segments(self, recording: str | Path, segments: Sequence[Segment]) -> int:
        """Take each segment of a corrected transcript as a sentence with its part of the recording.

        Returns how many were taken: empty ones, and those longer than 30 s, are left out.
        """
        samples, taken = load_audio(recording).samples, 0
        for segment in segments:
            text = " ".join(segment.text.split())
            part = samples[int(segment.start * SAMPLE_RATE) : int(segment.end * SAMPLE_RATE)]
            if not text or not MIN_SECONDS <= len(part) / SAMPLE_RATE <= MAX_SECONDS:
                continue
            with self._lock:
                listed = self._listed()
                self._write_list([*listed, text])
                self._write(len(listed) + 1, part, text)
            taken += 1
        return taken

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

    def _write(self, number: int, samples: np.ndarray, text: str) -> None:
        """The sound first: a recording without its text is not taken for one with an empty text."""
        with whole_file(self._path(number, ".wav")) as draft, wave.open(str(draft), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
        write_text(self._path(number, ".txt"), f"{text}\n")

    def _path(self, number: int, suffix: str) -> Path:
        return self.folder / f"{number:04d}{suffix}"

    def _seconds(self, number: int) -> float | None:
        path = self._path(number, ".wav")
        if not path.is_file() or not self._path(number, ".txt").is_file():
            return None
        return max(0.0, (path.stat().st_size - 44) / 2 / SAMPLE_RATE)  # 16-bit samples after a header of 44 bytes


def lines_of(path: Path, language: str) -> list[str]:
    """Sentences of a text file, one on each line. Raises UserError: it is no text."""
    return decoded(path.read_bytes(), path.name, language).splitlines()


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
