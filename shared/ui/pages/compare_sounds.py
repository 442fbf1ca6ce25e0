"""The sound of a test set's clips as the page plays it: 16 kHz WAV in the results' folder, for an hour as they are."""

from __future__ import annotations

import dataclasses
import wave
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from shared.audio import SAMPLE_RATE, Waveform
from shared.testset import Clip, ClipSet

MAX_BYTES = 150_000_000  # in all; clips that come later have no player


class Sounds:
    """Players of clips by id. Clips of one id have none, so that none plays another's sound."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._room = folder, MAX_BYTES
        self._paths: dict[str, Path | None] = {}
        self._current: str | None = None

    def of(self, clips: ClipSet) -> ClipSet:
        """The same clips; which of them is being read is known from here on."""
        return dataclasses.replace(clips, clips=self._watched(iter(clips.clips)))

    def keep(self, waveform: Waveform) -> None:
        """Of the clip that is being read, unless it is kept already."""
        name, size = self._current, 2 * len(waveform.samples)
        if name is None or size > self._room:
            return
        self._current = None
        if name in self._paths:
            self._remove(name)
            return
        path = self._folder / f"{len(self._paths)}.wav"
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
            file.writeframes((np.clip(waveform.samples, -1, 1) * 32767).astype("<i2").tobytes())
        self._paths[name] = path
        self._room -= size

    def only(self, names: Collection[str]) -> dict[str, Path]:
        """The files of these clips; the others are deleted."""
        for name in self._paths.keys() - set(names):
            self._remove(name)
        return {name: path for name, path in self._paths.items() if path is not None}

    def _watched(self, clips: Iterator[Clip]) -> Iterator[Clip]:
        for clip in clips:
            self._current = clip.id
            yield clip

    def _remove(self, name: str) -> None:
        path = self._paths[name]
        if path is not None:
            path.unlink(missing_ok=True)
        self._paths[name] = None
