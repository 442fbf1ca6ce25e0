"""Any media file in, 16 kHz mono float32 out, in bounded memory.

Enters: a path (or bytes) of whatever a person may have. Leaves: blocks of samples in [-1, 1].
Decoding is done by an ffmpeg process that may open that one file and nothing else. This module knows
nothing of speech, models or windows.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ffmpeg
import numpy as np

from shared.errors import Cancelled, TruncatedAudio, UserError

SAMPLE_RATE = 16_000  # Hz, what Whisper was trained on
BLOCK_SECONDS = 30  # how much one block of `stream_audio` holds
STALL_SECONDS = 60  # an ffmpeg that writes nothing for so long is hung on a damaged file

# Self-contained containers only. Left out on purpose: hls, dash, concat, image2, sdp, rtp, lavfi: whatever names
# another file or address. ffmpeg compares any of a demuxer's comma-separated names with this list.
CONTAINERS = (
    "wav,w64,aiff,caf,au,voc,mp3,aac,loas,flac,ogg,mov,mp4,m4a,3gp,matroska,webm,avi,asf,flv,mpegts,mpeg,"
    "g722,gsm,amr,amrnb,amrwb,alaw,mulaw,ac3,eac3,dts,wv,ape,tta,mpc,mpc8,tak,dsf,oma,rm,nut,mxf"
)


@dataclass(frozen=True, eq=False)
class Waveform:
    """Mono audio at SAMPLE_RATE: samples float32 (n_samples,) in [-1, 1]."""

    samples: np.ndarray

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True)
class MediaInfo:
    """What the container says of itself. `duration` is in seconds, None where the container does not say."""

    duration: float | None
    has_audio: bool
    has_video: bool


@functools.cache
def ffmpeg_executable() -> str:
    """The ffmpeg on the PATH, else the one in the imageio-ffmpeg wheel."""
    found = shutil.which("ffmpeg")
    if found:
        return found
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()


def probe(path: str | os.PathLike) -> MediaInfo:
    """Read the header of a media file (imageio-ffmpeg brings no ffprobe, so this reads `ffmpeg -i`).

    Raises UserError if the file is missing, empty, not media, or names other files.
    """
    path = _checked_path(path, max_bytes=None)
    command = [ffmpeg_executable(), "-hide_banner", "-nostdin", *_guards(), "-i", f"file:{path}"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=STALL_SECONDS)
    except subprocess.TimeoutExpired:
        raise UserError("The file's header could not be read in time", got=path.name, limit=f"{STALL_SECONDS} s",
                        todo="convert it to WAV, MP3 or MP4 and try again") from None
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
    with _ffmpeg(path, start, _time_limit(start, end, max_seconds), cancel) as (process, errors):
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
            "The file holds no sound", got=path.name, todo="record or export it again")
    heard = n_samples / SAMPLE_RATE
    _check_riff_size(path)
    # Container durations are rounded and may count encoder padding: only a clear gap counts as cut off.
    if wanted is not None and heard < wanted - max(1.0, 0.02 * wanted):
        raise TruncatedAudio("The file is cut off or damaged", got=f"{spoken_time(heard)} of sound in {path.name}",
                             limit=f"{spoken_time(wanted)} by its header", todo="fetch or export it again")


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


def spoken_time(seconds: float) -> str:
    """A length of time as people write it: '0.4 s', '2 min 05 s', '1 h 02 min'."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds != int(seconds) else f"{int(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _guards() -> list[str]:
    return ["-protocol_whitelist", "file", "-format_whitelist", CONTAINERS]


def _checked_path(path: str | os.PathLike, max_bytes: int | None) -> Path:
    path = Path(path).absolute()
    if not path.is_file():
        raise UserError("There is no such file", got=path.name, todo="check the name")
    size = path.stat().st_size
    if size == 0:
        raise UserError("The file is empty", got=f"{path.name}, 0 bytes", todo="record or export it again")
    if max_bytes is not None and size > max_bytes:
        raise UserError("The file is too large", got=f"{size / 1e6:.0f} MB", limit=f"{max_bytes / 1e6:.0f} MB",
                        todo="send its sound only (MP3 or M4A), or a shorter part")
    return path


def _wanted_seconds(info: MediaInfo, path: Path, start: float, end: float | None, max_seconds: float | None):
    """How many seconds the file's header promises for the part asked for; None if it does not say."""
    if not info.has_audio:
        raise UserError("There is no sound in this file", got=path.name, todo="choose a file with an audio track")
    if start < 0 or (end is not None and end <= start):
        raise UserError("The part to transcribe is empty", got=f"from {start:g} s to {end:g} s" if end is not None
                        else f"from {start:g} s", todo="choose an end after the start")
    if info.duration is None:
        return None
    if start and start >= info.duration:
        raise UserError("The start lies behind the end of the recording", got=spoken_time(start),
                        limit=spoken_time(info.duration), todo="choose an earlier start")
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
                             limit=f"{promised / 1e6:.2f} MB by its header", todo="fetch or export it again")


def _too_long(got: str, max_seconds: float) -> UserError:
    return UserError("The recording is too long", got=got, limit=spoken_time(max_seconds),
                     todo="cut it, or choose a part")


def _time_limit(start: float, end: float | None, max_seconds: float | None) -> float | None:
    """Seconds ffmpeg may write: one more than allowed, so that going over is noticed."""
    limits = [end - start] if end is not None else []
    if max_seconds is not None:
        limits.append(max_seconds + 1)
    return min(limits, default=None)


@contextlib.contextmanager
def _ffmpeg(path: Path, start: float, limit: float | None, cancel: threading.Event | None):
    """A running ffmpeg and the file its complaints go to; never outlives the block."""
    given = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
    if start:
        given["ss"] = f"{start:.3f}"
    wanted = {"map": "0:a:0", "format": "f32le", "acodec": "pcm_f32le", "ac": 1, "ar": SAMPLE_RATE}
    if limit is not None:
        wanted["t"] = f"{limit:.3f}"
    stream = ffmpeg.input(f"file:{path}", **given).output("pipe:", **wanted)
    command = stream.global_args("-hide_banner", "-nostdin", "-v", "error").compile(cmd=ffmpeg_executable())
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        done = threading.Event()
        watcher = threading.Thread(target=_watch, args=(process, done, cancel), daemon=True)
        watcher.start()
        try:
            yield process, errors
        finally:
            done.set()
            process.kill()
            process.stdout.close()
            process.wait()
            watcher.join()


def _watch(process: subprocess.Popen, done: threading.Event, cancel: threading.Event | None) -> None:
    """Kill ffmpeg when asked to, or when it makes no progress (it uses CPU, or waits for us, otherwise)."""
    last_cpu, since = -1.0, time.monotonic()
    while not done.wait(0.1):
        if cancel is not None and cancel.is_set():
            process.kill()
            return
        cpu = _cpu_seconds(process.pid)
        if cpu != last_cpu or _blocked_on_pipe(process.pid):
            last_cpu, since = cpu, time.monotonic()
        elif time.monotonic() - since > STALL_SECONDS:
            process.kill()
            return


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:  # not Linux, or already gone: then only cancel and the output limit bound it
        return time.monotonic()
    return float(fields[11]) + float(fields[12])


def _blocked_on_pipe(pid: int) -> bool:
    try:
        return "pipe_write" in Path(f"/proc/{pid}/wchan").read_text()
    except OSError:
        return False


@contextlib.contextmanager
def _spilled(data: bytes):
    """Bytes as a temporary file: containers with their index at the end need to seek."""
    if not data:
        raise UserError("The file is empty", got="0 bytes", todo="record or export it again")
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
                         todo="send the sound itself")
    if "matches no streams" in low or "does not contain any stream" in low:
        return UserError("There is no sound in this file", got=path.name, todo="choose a file with an audio track")
    if "moov atom not found" in low or "end of file" in low or "partial file" in low:
        return TruncatedAudio("The file is cut off: its index is missing", got=path.name,
                              todo="fetch or export it again")
    reason = next((line for line in reversed(text.strip().splitlines()) if line.strip()), "no reason given")
    return UserError("This is not a sound or video file we can read", got=f"{path.name} ({reason[-120:]})",
                     todo="send WAV, MP3, M4A, FLAC, OGG, WEBM, MP4, MOV or MKV")
