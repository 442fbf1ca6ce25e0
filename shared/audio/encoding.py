"""Waveforms out as files: FLAC, Opus or MP3 for data sets, MP3 for a page's player."""

from __future__ import annotations

import errno
import subprocess
import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from shared.audio.decoding import MediaSource, stream_audio
from shared.audio.ffmpeg import STALL_SECONDS, ffmpeg_executable
from shared.audio.waveform import SAMPLE_RATE, Waveform
from shared.errors import TruncatedAudio
from shared.system import processes

BYTES_PER_CLIP = 64 << 20  # memory: ffmpeg runs some threads for each input and output
WRITTEN_BYTES = 4 << 30
PLAYER_KBPS = 48
_CODECS = {"flac": ("flac", "-c:a flac -sample_fmt s16"), "mp3": ("mp3", "-c:a libmp3lame"),
           "opus": ("ogg", "-c:a libopus -application voip")}
_RAW = ("-f", "f32le", "-ar", str(SAMPLE_RATE), "-ac", "1")


def encode(waveforms: Sequence[Waveform], kind: str, kbps: int, folder: Path) -> list[bytes]:
    """Each waveform as one file's bytes, 16 kHz mono, the same in every run.

    Args:
        waveforms: what to encode; all by one process.
        kind: "flac", "opus" (in Ogg) or "mp3".
        kbps: bit rate of "opus" and "mp3", in kbit/s.
        folder: where files may lie in between.

    Returns:
        The files' bytes, in the order of the waveforms.

    Raises:
        OSError: the disk is full, or ffmpeg failed.
    """
    suffix, codec = _CODECS[kind]
    rate = [] if kind == "flac" else ["-b:a", f"{kbps}k"]
    command = [ffmpeg_executable(), "-hide_banner", "-nostdin", "-v", "error", "-y"]
    for n, waveform in enumerate(waveforms):
        (folder / f"{n}.f32").write_bytes(waveform.samples.astype("<f4").tobytes())
        command += [*_RAW, "-i", f"file:{folder / f'{n}.f32'}"]
    for n in range(len(waveforms)):
        command += ["-map", f"{n}:a:0", *codec.split(), *rate, "-fflags", "+bitexact", "-flags:a", "+bitexact",
                    "-map_metadata", "-1", f"file:{folder / f'{n}.{suffix}'}"]
    limits = processes.Limits(memory=(8 + len(waveforms)) * BYTES_PER_CLIP, written=WRITTEN_BYTES,
                              stalled=STALL_SECONDS)
    done = processes.run(command, limits)
    if done.code:
        full = errno.ENOSPC if "No space left" in done.messages else errno.EIO
        raise OSError(full, f"ffmpeg could not encode to {kind}: {done.messages.strip()[-300:]}")
    return [(folder / f"{n}.{suffix}").read_bytes() for n in range(len(waveforms))]


def write_mp3(source: MediaSource, target: Path, *, start: float = 0.0, end: float | None = None,
              track: int | None = None, cancel: threading.Event | None = None) -> bool:
    """A part of any media file as MP3, mono 16 kHz: what every browser plays. Block by block, so of any length.

    A file that is cut off gives what there is of it.

    Args:
        source: path of a media file, or its `MediaInfo`.
        target: the file to write.
        start, end: seconds of the part wanted; None for the end.
        track: which audio track, from 1; None takes the default one.
        cancel: set from another thread, ends ffmpeg at once.

    Returns:
        False, and no file, if the encoder failed.

    Raises:
        UserError: the source cannot be read.
        Cancelled: `cancel` was set.
    """
    command = [ffmpeg_executable(), "-hide_banner", "-loglevel", "error", "-y", *_RAW, "-i", "pipe:0", "-b:a",
               f"{PLAYER_KBPS}k", "-f", "mp3", f"file:{target}"]
    written = False
    try:
        with processes.running(command, processes.Limits(written=WRITTEN_BYTES), cancel=cancel, stdin=subprocess.PIPE,
                               stdout=subprocess.DEVNULL) as child:
            pipe = child.process.stdin
            assert pipe is not None
            with suppress(TruncatedAudio, BrokenPipeError), closing(
                    stream_audio(source, start=start, end=end, track=track, cancel=cancel)) as blocks:
                for block in blocks:
                    pipe.write(block.astype("<f4").tobytes())
            with suppress(BrokenPipeError):
                pipe.close()
            with suppress(subprocess.TimeoutExpired):
                written = child.process.wait(timeout=STALL_SECONDS) == 0
        return written
    finally:
        if not written:
            target.unlink(missing_ok=True)

