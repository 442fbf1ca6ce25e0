"""Small corpora in the layouts that people and publishers use, made on the spot from the clips of tests/data."""

from __future__ import annotations

import functools
import io
import tarfile
import wave
from pathlib import Path

import numpy as np
from speech import clips

from shared.audio import SAMPLE_RATE, load_audio

WORDS = ("river", "window", "garden", "morning", "letter", "winter", "doctor", "silver", "yellow", "thunder", "paper",
         "basket", "corner", "finger", "market", "pencil", "summer", "ticket", "velvet", "wonder")


@functools.cache
def speech() -> np.ndarray:
    """The clips one after the other: some 45 s of samples."""
    return np.concatenate([load_audio(clip.path).samples for clip in clips()])


def piece(number: int, seconds: float = 1.0) -> np.ndarray:
    """A stretch of speech, another one for every number."""
    start = (number * 3001) % (len(speech()) - int(seconds * SAMPLE_RATE))
    return speech()[start : start + int(seconds * SAMPLE_RATE)]


def sentence(number: int) -> str:
    """Three words in a sentence, another one for every number below 8000."""
    a, b, c = number % 20, number // 20 % 20, number // 400 % 20
    return f"The {WORDS[a]} {WORDS[b]} {WORDS[c]}."


def write_wav(path: Path, samples: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wav(samples))
    return path


def wav(samples: np.ndarray) -> bytes:
    """16-bit mono WAV at 16 kHz."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def folder(root: Path, n_rows: int, n_speakers: int = 5, seconds: float = 1.0) -> Path:
    """Clips with a metadata.csv: file_name, text, speaker, age."""
    lines = ["file_name,text,speaker,age"]
    for n in range(n_rows):
        write_wav(root / f"clips/{n:05d}.wav", piece(n, seconds))
        lines.append(f"clips/{n:05d}.wav,{sentence(n)},voice-{n % n_speakers},thirties")
    (root / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def deb(path: Path, files: dict[str, bytes]) -> Path:
    """A Debian package with these files, as deb(5) has it: an ar archive of three members."""
    def packed(entries: dict[str, bytes]) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:xz") as tar:
            for name, data in entries.items():
                member = tarfile.TarInfo(f"./{name}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        return buffer.getvalue()

    parts = {"debian-binary": b"2.0\n", "control.tar.xz": packed({"control": b"Package: x\n"}),
             "data.tar.xz": packed(files)}
    with path.open("wb") as out:
        out.write(b"!<arch>\n")
        for name, data in parts.items():
            out.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode())
            out.write(data + b"\n" * (len(data) % 2))
    return path
