"""Parts of many files by two ffmpeg processes: one reads the headers, one decodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.audio.ffmpeg import STALL_SECONDS, command_of
from shared.audio.media import MIN_BEYOND_SECONDS, MediaInfo, Track, probe_many
from shared.audio.mixing import full_scale, to_mono
from shared.audio.waveform import SAMPLE_RATE, Waveform
from shared.system import processes

SHORT_BY_SECONDS = 0.5
BYTES_PER_CLIP = 128 << 20  # memory: ffmpeg runs some threads for each input and output
WRITTEN_BYTES = 4 << 30


@dataclass(frozen=True)
class Part:
    """Seconds `start` to `end` of a file."""

    path: Path
    start: float
    end: float


def load_parts(parts: Sequence[Part], folder: Path) -> list[Waveform | None]:
    """The samples that `load_audio` gives for each part; None where only `load_audio` can answer.

    That is a file with several tracks or more, or less, sound than its header says, and every file if ffmpeg
    complains, since it does not say about which. folder: where files may lie in between. Raises OSError when the disk
    is full.
    """
    if not parts:
        return []
    infos = probe_many([part.path for part in parts])
    chosen = {n: (part, info) for n, (part, info) in enumerate(zip(parts, infos, strict=True))
              if info is not None and _is_plain(info, part)}
    if not chosen:
        return [None] * len(parts)
    outputs = []
    for n, (part, info) in chosen.items():
        decoding = info.decoding(info.tracks[0], part.start, part.end - part.start)
        outputs.append(decoding.output(decoding.input(), f"file:{folder / f'{n}.f32'}"))
    limits = processes.Limits(memory=(8 + len(outputs)) * BYTES_PER_CLIP, written=WRITTEN_BYTES, stalled=STALL_SECONDS)
    done = processes.run(command_of(outputs), limits)
    found: list[Waveform | None] = [None] * len(parts)
    if done.code or done.messages.strip():
        return found
    for n, (part, info) in chosen.items():
        found[n] = _waveform(folder / f"{n}.f32", info.tracks[0], part, info)
    return found


def _is_plain(info: MediaInfo, part: Part) -> bool:
    """One track that can be decoded, of a file that is what its header says."""
    shape = info.structure
    return (len(info.tracks) == 1 and info.tracks[0].decodable and not info.has_video and not shape.missing
            and shape.beyond < MIN_BEYOND_SECONDS and (info.duration is None or part.start < info.duration))


def _waveform(path: Path, track: Track, part: Part, info: MediaInfo) -> Waveform | None:
    samples = np.fromfile(path, dtype="<f4").astype(np.float32, copy=False)
    samples = samples[: len(samples) // track.channels * track.channels].reshape(-1, track.channels)
    samples = np.nan_to_num(samples, copy=False, posinf=1.0, neginf=-1.0)
    samples /= full_scale(float(np.abs(samples).max(initial=0.0)))
    mono = np.clip(to_mono(samples, track.layout), -1.0, 1.0)
    path.unlink()
    wanted = part.end - part.start
    if info.duration is not None and info.exact:
        wanted = min(wanted, info.duration - part.start)
    short = info.exact and info.duration is not None and len(mono) < (wanted - SHORT_BY_SECONDS) * SAMPLE_RATE
    return Waveform(mono) if len(mono) and not short else None
