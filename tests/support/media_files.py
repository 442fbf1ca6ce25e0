"""Small media files for the tests, made by ffmpeg."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from shared.audio import SAMPLE_RATE, ffmpeg_executable

TONE = "sine=frequency=440:sample_rate=16000:duration=3"  # a file begins with sound and ends with it
QUIET = "anullsrc=r=16000:cl=mono:d=3"
PICTURE = "testsrc=size=32x32:rate=25:duration={}"


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run([ffmpeg_executable(), "-v", "error", "-y", *map(str, arguments)], check=True, timeout=120)


def sources(*filters: str) -> list[str]:
    return [part for one in filters for part in ("-f", "lavfi", "-i", one)]


def late(path: Path, *options: str, seconds: float = 5, picture: float | None = 10) -> Path:
    """A file whose tone begins `seconds` after the picture, or after the clock's zero if there is no picture."""
    given = sources(PICTURE.format(picture)) if picture else []
    maps = ["-map", "0", "-map", "1"] if picture else []
    ffmpeg(*given, "-itsoffset", seconds, *sources(TONE), *maps, *options, path)
    return path


def sounding(samples: np.ndarray, level: float = 0.02) -> list[tuple[float, float]]:
    """(start, end) of each stretch of sound, in seconds, to a tenth."""
    n_frames = len(samples) // (SAMPLE_RATE // 10)
    loud = np.abs(samples[: n_frames * (SAMPLE_RATE // 10)]).reshape(n_frames, -1).max(axis=1) > level
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(int), [0]])))
    return [(first / 10, last / 10) for first, last in zip(edges[::2], edges[1::2], strict=True)]
