"""Any media file in, 16 kHz mono float32 out, in bounded memory.

Enters: a path (or bytes) of whatever a person may have. Leaves: blocks of samples in [-1, 1].
Decoding is done by an ffmpeg process that may open that one file and nothing else. This module knows
nothing of speech, models or windows.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.audio.ffmpeg import STALL_SECONDS, ffmpeg_executable, guards, running
from shared.audio.waveform import SAMPLE_RATE, Waveform
from shared.errors import Cancelled, TruncatedAudio, UserError
from shared.units import spoken_time

BLOCK_SECONDS = 30  # how much one block of `stream_audio` holds


@dataclass(frozen=True)
class MediaInfo:
    """What the container says of itself. `duration` is in seconds, None where the container does not say."""

    duration: float | None
    has_audio: bool
    has_video: bool


def probe(path: str | os.PathLike) -> MediaInfo:
    """Read the header of a media file (imageio-ffmpeg brings no ffprobe, so this reads `ffmpeg -i`).

    Raises UserError if the file is missing, empty, not media, or names other files.
    """
    path = _checked_path(path, max_bytes=None)
    command = [ffmpeg_executable(), "-hide_banner", "-nostdin", *guards(), "-i", f"file:{path}"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=STALL_SECONDS)
    except subprocess.TimeoutExpired:
        raise UserError("The file's header could not be read in time", got=path.name, limit=f"{STALL_SECONDS} s",
                        hint="convert it to WAV, MP3 or MP4 and try again") from None
    text = done.stderr.decode("utf-8", "replace")
    if "Input #0" not in text:
        raise _explain(text, path)
    match = re.search(r"Duration: (\d+):(\d+):(\d+\.\d+)", text)
    duration = int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]) if match else None
    streams = re.findall(r"Stream #0:\d+.*?: (Audio|Video)", text)
    return MediaInfo(duration, "Audio" in streams, "Video" in streams)


def stream_audio(
    path: str | os.PathLike,
    *,
    start: float = 0.0,
    end: float | None = None,
    block_seconds: float = BLOCK_SECONDS,
    max_seconds: float | None = None,
    max_bytes: int | None = None,
    cancel: threading.Event | None = None,
) -> Iterator[np.ndarray]:
    """Decode a file block by block: float32 (n_samples,) each, all but the last of `block_seconds`.

    start, end: seconds of the part wanted. max_seconds, max_bytes: limits for that part and for the file.
    cancel: set from another thread, ends ffmpeg at once and raises Cancelled.
    Closing the generator ends ffmpeg too. Raises UserError with the reason; TruncatedAudio comes after the
    last good block.
    """
    path = _checked_path(path, max_bytes)
    info = probe(path)
    wanted = _wanted_seconds(info, path, start, end, max_seconds)
    n_bytes = int(block_seconds * SAMPLE_RATE) * 4
    n_samples = 0
    with running(path, start, _time_limit(start, end, max_seconds), cancel) as (process, errors):
        while raw := process.stdout.read(n_bytes):
            if cancel is not None and cancel.is_set():
                raise Cancelled
            block = np.frombuffer(raw[: len(raw) // 4 * 4], dtype="<f4").astype(np.float32)
            n_samples += len(block)
            if max_seconds is not None and n_samples > max_seconds * SAMPLE_RATE:
                raise _too_long(f"more than {spoken_time(max_seconds)}", max_seconds)
            yield np.clip(np.nan_to_num(block, copy=False), -1.0, 1.0)
        code = process.wait()
        errors.seek(0)
        text = errors.read().decode("utf-8", "replace")
    if cancel is not None and cancel.is_set():
        raise Cancelled
    if n_samples == 0:
        raise _explain(text, path) if code or text.strip() else UserError(
            "The file holds no sound", got=path.name, hint="record or export it again")
    heard = n_samples / SAMPLE_RATE
    _check_riff_size(path)
    # Container durations are rounded and may count encoder padding: only a clear gap counts as cut off.
    if wanted is not None and heard < wanted - max(1.0, 0.02 * wanted):
        raise TruncatedAudio("The file is cut off or damaged", got=f"{spoken_time(heard)} of sound in {path.name}",
                             limit=f"{spoken_time(wanted)} by its header", hint="fetch or export it again")


def load_audio(
    source: str | os.PathLike | bytes,
    *,
    start: float = 0.0,
    end: float | None = None,
    max_seconds: float | None = None,
    max_bytes: int | None = None,
    cancel: threading.Event | None = None,
) -> Waveform:
    """The whole file (or bytes of a file) as one Waveform; arguments and errors as in `stream_audio`."""
    with contextlib.ExitStack() as stack:
        if isinstance(source, bytes):
            source = stack.enter_context(_spilled(source))
        blocks = list(stream_audio(source, start=start, end=end, max_seconds=max_seconds, max_bytes=max_bytes,
                                   cancel=cancel))
    return Waveform(np.concatenate(blocks) if len(blocks) != 1 else blocks[0])


def _checked_path(path: str | os.PathLike, max_bytes: int | None) -> Path:
    path = Path(path).absolute()
    if not path.is_file():
        raise UserError("There is no such file", got=path.name, hint="check the name")
    size = path.stat().st_size
    if size == 0:
        raise UserError("The file is empty", got=f"{path.name}, 0 bytes", hint="record or export it again")
    if max_bytes is not None and size > max_bytes:
        raise UserError("The file is too large", got=f"{size / 1e6:.0f} MB", limit=f"{max_bytes / 1e6:.0f} MB",
                        hint="send its sound only (MP3 or M4A), or a shorter part")
    return path


def _wanted_seconds(info: MediaInfo, path: Path, start: float, end: float | None, max_seconds: float | None):
    """How many seconds the file's header promises for the part asked for; None if it does not say."""
    if not info.has_audio:
        raise UserError("There is no sound in this file", got=path.name, hint="choose a file with an audio track")
    if start < 0 or (end is not None and end <= start):
        raise UserError("The part to transcribe is empty", got=f"from {start:g} s to {end:g} s" if end is not None
                        else f"from {start:g} s", hint="choose an end after the start")
    if info.duration is None:
        return None
    if start and start >= info.duration:
        raise UserError("The start lies behind the end of the recording", got=spoken_time(start),
                        limit=spoken_time(info.duration), hint="choose an earlier start")
    wanted = min(end if end is not None else math.inf, info.duration) - start
    if max_seconds is not None and wanted > max_seconds:
        raise _too_long(spoken_time(wanted), max_seconds)
    return wanted


def _check_riff_size(path: Path) -> None:
    """WAV: ffmpeg takes the length from the file's size, so compare with what the header promised (RIFF, bytes 4-7)."""
    with path.open("rb") as file:
        head = file.read(8)
    promised = int.from_bytes(head[4:8], "little") + 8
    size = path.stat().st_size
    streamed = promised >= 0xFFFFFF00 or promised <= 8  # a recorder that could not go back to fill it in
    if head[:4] == b"RIFF" and not streamed and size < promised - 8:
        raise TruncatedAudio("The file is cut off", got=f"{size / 1e6:.2f} MB in {path.name}",
                             limit=f"{promised / 1e6:.2f} MB by its header", hint="fetch or export it again")


def _too_long(got: str, max_seconds: float) -> UserError:
    return UserError("The recording is too long", got=got, limit=spoken_time(max_seconds),
                     hint="cut it, or choose a part")


def _time_limit(start: float, end: float | None, max_seconds: float | None) -> float | None:
    """Seconds ffmpeg may write: one more than allowed, so that going over is noticed."""
    limits = [end - start] if end is not None else []
    if max_seconds is not None:
        limits.append(max_seconds + 1)
    return min(limits, default=None)


@contextlib.contextmanager
def _spilled(data: bytes):
    """Bytes as a temporary file: containers with their index at the end need to seek."""
    if not data:
        raise UserError("The file is empty", got="0 bytes", hint="record or export it again")
    handle, name = tempfile.mkstemp(prefix="audio-")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
        yield name
    finally:
        os.unlink(name)


def _explain(text: str, path: Path) -> UserError:
    """Turn ffmpeg's complaint into one of ours."""
    low = text.lower()
    if "whitelist" in low:
        return UserError("This file is a playlist or names other media, which are not opened", got=path.name,
                         hint="send the sound itself")
    if "matches no streams" in low or "does not contain any stream" in low:
        return UserError("There is no sound in this file", got=path.name, hint="choose a file with an audio track")
    if "moov atom not found" in low or "end of file" in low or "partial file" in low:
        return TruncatedAudio("The file is cut off: its index is missing", got=path.name,
                              hint="fetch or export it again")
    reason = next((line for line in reversed(text.strip().splitlines()) if line.strip()), "no reason given")
    return UserError("This is not a sound or video file we can read", got=f"{path.name} ({reason[-120:]})",
                     hint="send WAV, MP3, M4A, FLAC, OGG, WEBM, MP4, MOV or MKV")
