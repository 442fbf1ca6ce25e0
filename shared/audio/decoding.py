"""Any media file in, 16 kHz mono float32 out, in bounded memory, on the file's own clock.

Enters: a path, a `MediaInfo` (or bytes) of whatever a person may have. Leaves: blocks of samples in [-1, 1].
Decoding is done by an ffmpeg process that may open that one file and nothing else. This module knows
nothing of speech, models or windows.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import threading
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np

from shared.audio.ffmpeg import LIMITS, STALL_SECONDS, decode_command, without_noise
from shared.audio.media import MediaInfo, Track, checked_path, explain, probe, protected
from shared.audio.mixing import FRAME, MonoMixer, full_scale
from shared.audio.plain_wav import blocks_of
from shared.audio.waveform import SAMPLE_RATE, Waveform
from shared.errors import Cancelled, TruncatedAudio, UserError
from shared.system import processes
from shared.system.temporary import temporary_folder
from shared.units import spoken_time

BLOCK_SECONDS = 30  # how much one block of `stream_audio` holds
MAX_READ_BYTES = 16 << 20  # at once, of all channels
SILENT_BELOW = 1e-3  # -60 dBFS: a quieter track holds no speech
MIN_SOUND_SECONDS, SOUND_FRAME = 0.2, SAMPLE_RATE // 50  # a click or pop is shorter than any word
SHORT_BY_SECONDS = 0.5  # headers round and count what encoders pad with: only a clear gap counts as cut off
MediaSource = str | os.PathLike | MediaInfo


def stream_audio(
    source: MediaSource,
    *,
    start: float = 0.0,
    end: float | None = None,
    track: int | None = None,
    block_seconds: float = BLOCK_SECONDS,
    max_seconds: float | None = None,
    cancel: threading.Event | None = None,
) -> Generator[np.ndarray, None, None]:
    """Decode a file block by block.

    Times are those of the file's own clock: where a track begins later than the picture, or a recorder paused, there
    is silence. Channels are mixed to one without cancelling each other.

    Args:
        source: path of a media file, or its `MediaInfo` if it was read before.
        start, end: seconds of the part wanted; None for the end.
        track: which audio track, from 1; None takes the default one that can be decoded and has sound.
        block_seconds: length of all blocks but the last, in seconds.
        max_seconds: the longest part that is decoded, in seconds.
        cancel: set from another thread, ends ffmpeg at once.

    Returns:
        An iterator of float32 (n_samples,) in [-1, 1] at 16 kHz. Closing it ends ffmpeg.

    Raises:
        UserError: with the reason; TruncatedAudio comes after the last good block.
        Cancelled: `cancel` was set.
    """
    info = opened(source)
    chosen = chosen_track(info, track, cancel)[0]
    promised = _promised_seconds(info, start, end, max_seconds)
    n_samples = 0
    for block in _decoded(info, chosen, start, _time_limit(start, end, max_seconds), block_seconds, cancel):
        n_samples += len(block)
        if max_seconds is not None and n_samples > max_seconds * SAMPLE_RATE:
            raise _too_long(f"more than {spoken_time(max_seconds)}", max_seconds)
        yield block
    _check_whole(info, n_samples / SAMPLE_RATE, promised, end is not None and end - start)


def load_audio(
    source: MediaSource | bytes,
    *,
    start: float = 0.0,
    end: float | None = None,
    track: int | None = None,
    max_seconds: float | None = None,
    max_bytes: int | None = None,
    cancel: threading.Event | None = None,
) -> Waveform:
    """The whole file as one Waveform.

    Args:
        source: path of a media file, its `MediaInfo`, or the bytes of a file.
        start, end: seconds of the part wanted; None for the end.
        track: which audio track, from 1; None takes the default one that can be decoded and has sound.
        max_seconds: the longest part that is decoded, in seconds.
        max_bytes: the largest file that is read.
        cancel: set from another thread, ends ffmpeg at once.

    Returns:
        Samples at 16 kHz, mono.

    Raises:
        UserError: as in `stream_audio`; a file that is cut off is an error here.
        Cancelled: `cancel` was set.
    """
    with contextlib.ExitStack() as stack:
        if isinstance(source, bytes):
            source = stack.enter_context(_spilled(source))
        blocks = list(stream_audio(opened(source, max_bytes), start=start, end=end, track=track,
                                   max_seconds=max_seconds, cancel=cancel))
    return Waveform(np.concatenate(blocks) if len(blocks) != 1 else blocks[0])


def opened(source: MediaSource, max_bytes: int | None = None) -> MediaInfo:
    """The header of a file, read unless it was read before; `max_bytes` holds either way. Raises UserError."""
    if not isinstance(source, MediaInfo):
        return probe(source, max_bytes=max_bytes)
    checked_path(source.path, max_bytes)
    return source


def chosen_track(info: MediaInfo, wanted: int | None = None, cancel: threading.Event | None = None
                 ) -> tuple[Track, str | None]:
    """Which audio track to take, and a sentence about it where the file has several and none was asked for.

    Args:
        info: of the file.
        wanted: number of a track, from 1. None: the default track if it can be decoded and has sound, else the first
            that does.
        cancel: as in `stream_audio`.

    Raises:
        UserError: there is no audio track, no such one, or none that can be decoded.
    """
    tracks, name = info.tracks, info.path.name
    if not tracks:
        raise UserError("There is no sound in this file", got=name, hint="choose a file with an audio track")
    if wanted is not None:
        if not 1 <= wanted <= len(tracks):
            raise UserError("There is no such audio track", got=f"track {wanted} of {name}",
                            limit="1" if len(tracks) == 1 else f"1 to {len(tracks)}", hint="choose another track")
        return _usable(tracks[wanted - 1], name), None
    if len(tracks) == 1:
        return _usable(tracks[0], name), None
    usable = sorted((track for track in tracks if track.decodable), key=lambda track: not track.default)
    if not usable:
        return _usable(tracks[0], name), None
    taken = next((track for track in usable if _has_sound(info, track, cancel)), None)
    if taken is None:
        return usable[0], f"{name} has {len(tracks)} audio tracks, and all of them are silent."
    passed_over = [track for track in tracks if not track.decodable] + usable[: usable.index(taken)]
    why = "; ".join(f"track {track.number} {'is silent' if track.decodable else f'cannot be decoded: {track.problem}'}"
                    for track in sorted(passed_over, key=lambda track: track.number))
    return taken, f"{name} has {len(tracks)} audio tracks; track {taken.number} was taken{f' ({why})' if why else ''}."


def _usable(track: Track, name: str) -> Track:
    if track.decodable:
        return track
    if "DRM" in str(track.problem):
        raise protected(name)
    raise UserError("The sound cannot be decoded", got=f"track {track.number} of {name}: {track.problem}",
                    hint="convert it to WAV, MP3 or M4A, or choose another track")


@functools.lru_cache(maxsize=64)
def _is_silent(info: MediaInfo, track: Track, changed: int) -> bool:
    """Whether a track holds no sound but clicks or a constant. A track with sound answers within its first seconds.

    changed: part of the key.
    """
    n_left = round(MIN_SOUND_SECONDS * SAMPLE_RATE / SOUND_FRAME)
    with contextlib.suppress(UserError), contextlib.closing(_decoded(info, track, 0.0, None, 1.0, None)) as blocks:
        for block in blocks:
            frames = block[: len(block) // SOUND_FRAME * SOUND_FRAME].reshape(-1, SOUND_FRAME)
            n_left -= int(np.count_nonzero(np.ptp(frames, axis=1) / 2 >= SILENT_BELOW))
            if n_left <= 0:
                return False
    return True


def _has_sound(info: MediaInfo, track: Track, cancel: threading.Event | None) -> bool:
    if cancel is not None and cancel.is_set():
        raise Cancelled
    return not _is_silent(info, track, info.path.stat().st_mtime_ns)


def _decoded(info: MediaInfo, track: Track, start: float, limit: float | None, block_seconds: float,
             cancel: threading.Event | None) -> Generator[np.ndarray, None, None]:
    """The blocks of one track. Raises UserError if nothing comes out, Cancelled."""
    n_samples, n_block = 0, int(block_seconds * SAMPLE_RATE)
    with contextlib.ExitStack() as stack:
        child = None
        if info.plain is not None:
            blocks = blocks_of(info.plain, info.path, start, limit, n_block)
        else:
            command = decode_command(info.decoding(track, start, limit))
            child = stack.enter_context(processes.running(command, LIMITS, cancel=cancel))
            blocks = _blocks(child, track, n_block)
        for block in blocks:
            if cancel is not None and cancel.is_set():
                raise Cancelled
            n_samples += len(block)
            yield block
        code = child.process.wait() if child is not None else 0
        messages, ended_by = (child.messages(), child.ended_by) if child is not None else ("", None)
    if cancel is not None and cancel.is_set():
        raise Cancelled
    done = spoken_time(n_samples / SAMPLE_RATE)
    if ended_by == "stalled":
        raise UserError("Decoding stopped making progress", got=f"{info.path.name}, {done} decoded",
                        limit=f"{STALL_SECONDS} s", hint="convert it to WAV, MP3 or MP4 and try again")
    if code < 0:
        raise TruncatedAudio("Decoding ended before the file did", hint="convert it to WAV or MP3 and try again",
                             got=f"{done} of {info.path.name}, then signal {-code}")
    if n_samples == 0 and start > 0 and code == 0:
        raise UserError("There is no sound after the start", got=f"{info.path.name} from {spoken_time(start)} on",
                        hint="choose an earlier start, or a part with sound")
    if n_samples == 0:
        raise explain(messages, info.path, code) if code or without_noise(messages).strip() else UserError(
            "The file holds no sound", got=info.path.name, hint="record or export it again")


def _blocks(child: processes.Child, track: Track, n_block: int) -> Iterator[np.ndarray]:
    """What ffmpeg writes, mixed to one channel second by second, in blocks of n_block samples."""
    mixer = MonoMixer(track.channels, track.layout)
    sample_bytes = 4 * track.channels
    n_frames = max(1, min(n_block // FRAME, MAX_READ_BYTES // (FRAME * sample_bytes)))
    parts: list[np.ndarray] = []
    n_held, scale = 0, 1.0
    stdout = child.process.stdout
    assert stdout is not None
    while raw := stdout.read(n_frames * FRAME * sample_bytes):
        samples = np.frombuffer(raw[: len(raw) // sample_bytes * sample_bytes], dtype="<f4").astype(np.float32)
        np.nan_to_num(samples, copy=False, posinf=1.0, neginf=-1.0)
        scale = max(scale, full_scale(float(np.abs(samples).max(initial=0.0))))
        samples /= scale
        frames = samples.reshape(-1, track.channels)
        parts += [mixer.push(frames[first : first + FRAME]) for first in range(0, len(frames), FRAME)]
        n_held += len(frames)
        if n_held >= n_block:
            held = np.clip(np.concatenate(parts), -1.0, 1.0)
            for first in range(0, n_held - n_block + 1, n_block):
                yield held[first : first + n_block]
            parts = [held[n_held // n_block * n_block :]]
            n_held = len(parts[0])
    if n_held:
        yield np.clip(np.concatenate(parts), -1.0, 1.0)


def _promised_seconds(info: MediaInfo, start: float, end: float | None, max_seconds: float | None) -> float | None:
    """How long the part asked for should be by the file's header; None if the header does not say exactly."""
    if start < 0 or (end is not None and end <= start):
        raise UserError("The part to transcribe is empty", got=f"from {start:g} s to {end:g} s" if end is not None
                        else f"from {start:g} s", hint="choose an end after the start")
    if info.duration is None or not info.exact:
        return None
    if start and start >= info.duration:
        raise UserError("The start lies behind the end of the recording", got=spoken_time(start),
                        limit=spoken_time(info.duration), hint="choose an earlier start")
    wanted = min(end if end is not None else math.inf, info.duration) - start
    if max_seconds is not None and wanted > max_seconds:
        raise _too_long(spoken_time(wanted), max_seconds)
    return wanted


def _check_whole(info: MediaInfo, decoded: float, promised: float | None, part: float | bool) -> None:
    """Raise TruncatedAudio if the file ends before its header says. part: seconds asked for, False for all."""
    if part and decoded >= part - 0.05:
        return  # all that was asked for is there
    if info.structure.missing:
        size = info.path.stat().st_size
        raise TruncatedAudio("The file is cut off", got=f"{size / 1e6:.2f} MB in {info.path.name}",
                             limit=f"{(size + info.structure.missing) / 1e6:.2f} MB by its header",
                             hint="fetch or export it again")
    # A video's length says nothing about its sound's.
    alone = len(info.tracks) == 1 and not info.has_video
    if alone and promised is not None and decoded < promised - SHORT_BY_SECONDS:
        raise TruncatedAudio("The file is cut off or damaged",
                             got=f"{spoken_time(decoded)} of sound in {info.path.name}",
                             limit=f"{spoken_time(promised)} by its header", hint="fetch or export it again")


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
def _spilled(data: bytes) -> Iterator[Path]:
    """Bytes as a temporary file: containers with their index at the end need to seek."""
    if not data:
        raise UserError("The file is empty", got="0 bytes", hint="record or export it again")
    with temporary_folder("audio-") as folder:
        (folder / "audio").write_bytes(data)
        yield folder / "audio"
