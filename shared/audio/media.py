"""What a media file says of itself: its audio tracks, its clock and its length, read once and passed on.

Enters: a path of whatever a person may have. Leaves: a `MediaInfo`. Nothing is decoded here.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shared.audio.ffmpeg import (
    LIMITS,
    MEMORY_BYTES,
    PROBE_SECONDS,
    Decoding,
    ffmpeg_executable,
    probe_command,
    without_noise,
    without_program,
)
from shared.audio.not_media import what_it_is
from shared.audio.plain_wav import PlainWav, plain_wav
from shared.audio.recent import Recent
from shared.audio.structure import Structure, structure
from shared.audio.waveform import SAMPLE_RATE
from shared.errors import TruncatedAudio, UserError
from shared.system import processes
from shared.units import spoken_time

MIN_SAMPLE_RATE = 1000  # Hz: below it there is no speech, and one byte becomes seconds of sound
MAX_CHANNELS = 64
MAX_LEAD_SECONDS = 600.0  # a file whose clock begins later than this is a piece of a broadcast: it begins at 0
MAX_LENGTH_SECONDS = 86_400.0  # silence between timestamps is filled up to here where a file names no length
MIN_BEYOND_SECONDS = 0.25  # sound after the end that a WAV header names: less is a leftover of some program
_ZERO_IS_FIXED = ("mov", "matroska")  # their clock begins at 0, others' at their first timestamp
_PROTECTED = ("enca", "drms", "aavd", "aaxc")  # sample entries of encrypted MP4, iTunes and Audible
_CHANNELS = {"mono": 1, "stereo": 2, "quad": 4, "hexagonal": 6, "octagonal": 8, "cube": 8, "hexadecagonal": 16,
             "downmix": 2, "binaural": 2}
FORMATS_HINT = "send WAV, MP3, M4A, FLAC, OGG, WEBM, MP4, MOV or MKV"
_headers = Recent["MediaInfo"](64)  # a request looks at a file before it waits, and reads it when its turn comes
_CLOCK = r"(\d+):(\d+):(\d+(?:\.\d+)?)"


@dataclass(frozen=True)
class Track:
    """One audio track of a file.

    Attributes:
        number: from 1, among the file's audio tracks.
        codec: ffmpeg's name of it.
        sample_rate: Hz, None if not known.
        channels: how many.
        layout: ffmpeg's name for them.
        default: the file marks it as the one to play.
        start: seconds on the file's clock, None if the header does not say.
        problem: why it cannot be decoded, None if it can.
    """

    number: int
    codec: str
    sample_rate: int | None
    channels: int
    layout: str
    default: bool
    start: float | None = None
    problem: str | None = None

    @property
    def decodable(self) -> bool:
        """Whether ffmpeg can decode it."""
        return self.problem is None


@dataclass(frozen=True)
class MediaInfo:
    """A media file's header.

    Attributes:
        path: of the file.
        container: ffmpeg's name of it.
        duration: seconds from 0 on the file's clock to its end, None where the header does not say.
        exact: whether that is so; False where ffmpeg estimated it from the bit rate.
        tracks: audio tracks, in the file's order.
        has_video: whether there are moving pictures.
        zero: the timestamp, in seconds, that the clock calls 0.
        first: the first timestamp of all tracks, in seconds.
        structure: what the container's sizes say.
        plain: where its samples lie, of a file that is read without ffmpeg.
    """

    path: Path
    container: str
    duration: float | None
    exact: bool
    tracks: tuple[Track, ...]
    has_video: bool
    zero: float = 0.0
    first: float = 0.0
    structure: Structure = field(default_factory=Structure)
    plain: PlainWav | None = None

    @property
    def has_audio(self) -> bool:
        """Whether there is an audio track."""
        return bool(self.tracks)

    @property
    def ignores_length(self) -> bool:
        """Whether a WAV file is read to its end, whatever its header says."""
        return self.container == "wav" and (self.structure.endless or self.structure.beyond >= MIN_BEYOND_SECONDS)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the reader: what the header says that is not so."""
        if self.structure.beyond >= MIN_BEYOND_SECONDS:
            return (f"The header of {self.path.name} names {spoken_time(self.structure.beyond)} less than there is: "
                    "all of it was read.",)
        return ()

    def decoding(self, track: Track, start: float = 0.0, limit: float | None = None) -> Decoding:
        """How to decode a part of a track.

        Args:
            track: one of `tracks`.
            start: seconds on the file's clock.
            limit: seconds from there; None: to the end.

        Returns:
            What ffmpeg is asked for.
        """
        last = self.duration + 2.0 if self.duration is not None and self.exact else MAX_LENGTH_SECONDS
        return Decoding(self.path, track.number - 1, track.channels, start, limit, self.zero, self.first,
                        max(last, start), (("ignore_length", "1"),) if self.ignores_length else ())


def probe(path: str | os.PathLike, *, max_bytes: int | None = None) -> MediaInfo:
    """Read the header of a media file (imageio-ffmpeg brings no ffprobe, so this reads what `ffmpeg -i` prints).

    Args:
        path: a file on this machine.
        max_bytes: refuse a larger one.

    Returns:
        Tracks, clock and length; nothing is decoded.

    Raises:
        UserError: missing, empty, too large, not to be read, not media, or names other files.
    """
    path = checked_path(path, max_bytes)
    return _headers.get(path, _probed)


def _probed(path: Path) -> MediaInfo:
    if (plain := plain_wav(path)) is not None:
        track = Track(1, "pcm_s16le", SAMPLE_RATE, 1, "mono", False)
        return MediaInfo(path, "wav", plain.duration, True, (track,), False, plain=plain)
    shape = structure(path)
    options = [{"ignore_length": "1"}] if _reads_on(path, shape) else None
    done = processes.run(probe_command([path], options), processes.Limits(memory=MEMORY_BYTES, seconds=PROBE_SECONDS))
    if done.ended_by == "time":
        raise UserError("The file's header could not be read in time", got=path.name, limit=f"{PROBE_SECONDS} s",
                        hint="convert it to WAV, MP3 or MP4 and try again")
    if "Input #0" not in done.messages:
        if _may_not_open(done.messages) and without_program(ffmpeg_executable()):
            return _probed(path)
        raise explain(done.messages, path, done.code)
    return _parsed(done.messages, path, shape)


def probe_many(paths: Sequence[Path]) -> list[MediaInfo | None]:
    """The headers of several files, read by one process; None for all if one of them cannot be read."""
    shapes = [structure(path) for path in paths]
    options = [{"ignore_length": "1"} if _reads_on(path, shape) else {}
               for path, shape in zip(paths, shapes, strict=True)]
    done = processes.run(probe_command(list(paths), options), LIMITS)
    blocks = re.split(r"^(?=Input #\d+, )", done.messages, flags=re.M)
    if len(blocks) != len(paths) + 1:
        return [None] * len(paths)
    # What ffmpeg says before a header belongs to that file: "Estimating duration" comes first.
    before = [blocks[0], *(_tail_notes(block) for block in blocks[1:-1])]
    return [_parsed(f"{note}\n{block}", path, shape)
            for note, block, path, shape in zip(before, blocks[1:], paths, shapes, strict=True)]


def _tail_notes(block: str) -> str:
    return "\n".join(line for line in block.splitlines() if line.startswith("["))


def checked_path(path: str | os.PathLike, max_bytes: int | None = None) -> Path:
    """The absolute path of a file that is there, not empty, not too large and may be read. Raises UserError."""
    path = Path(path).absolute()
    try:
        state = path.stat()
        if stat.S_ISDIR(state.st_mode):
            raise UserError("This is a folder, not a recording", got=path.name, hint="name a file in it")
        if not stat.S_ISREG(state.st_mode):
            raise UserError("This is not a file", got=path.name, hint="save the sound to a file first")
        with path.open("rb"):
            pass
    except PermissionError:
        raise UserError("The file may not be read", got=f"no permission for {path.name}",
                        hint="give yourself the right to read it, or copy it to another place") from None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            raise UserError("There is no such file", got=path.name, hint="check the name") from None
        raise UserError("The file cannot be read", got=f"{path.name}: {error.strerror}",
                        hint="check the disk or the network drive it is on") from None
    if state.st_size == 0:
        raise UserError("The file is empty", got=f"{path.name}, 0 bytes", hint="record or export it again")
    if max_bytes is not None and state.st_size > max_bytes:
        raise UserError("The file is too large", got=f"{state.st_size / 1e6:.0f} MB", limit=f"{max_bytes / 1e6:.0f} MB",
                        hint="send its sound only (MP3 or M4A), or a shorter part")
    return path


def _may_not_open(messages: str) -> bool:
    """Whether ffmpeg says that it cannot open a file which this process has opened before."""
    return re.search(r"(Permission denied|No such file or directory|Operation not permitted)\s*$", messages.strip()
                     ) is not None


def _reads_on(path: Path, shape: Structure) -> bool:
    if not (shape.endless or shape.beyond >= MIN_BEYOND_SECONDS):
        return False
    with path.open("rb") as file:
        head = file.read(12)
    return head[8:12] == b"WAVE"  # only this demuxer has the option, and refuses to start without knowing it


def _parsed(text: str, path: Path, shape: Structure) -> MediaInfo:
    """ffmpeg's description of one input. Its own lines begin with two blanks (four before 4.4), a file's with more."""
    container = match[1] if (match := re.search(r"^Input #\d+, (\S+),", text, re.M)) else ""
    first = float(match[1]) if (match := re.search(r"^  Duration: .*start: (-?[\d.]+)", text, re.M)) else 0.0
    fixed = container.startswith(_ZERO_IS_FIXED) and 0 <= first <= MAX_LEAD_SECONDS
    zero = 0.0 if fixed else first
    length = _seconds(match) if (match := re.search(rf"^  Duration: {_CLOCK}", text, re.M)) else None
    if length is not None and container.startswith("mov"):
        length += first - zero  # its length counts from the first timestamp, Matroska's from 0
    elif length is not None and container.startswith("matroska") and zero and length > zero:
        length -= zero
    is_longer = container.startswith("wav") and shape.beyond >= MIN_BEYOND_SECONDS
    if length is not None and is_longer:
        length += shape.beyond
    # Listed by programme where there are several: a stream may come twice, and not in the order by which it is chosen.
    streams = {int(number): (kind, line) for number, kind, line in re.findall(
        r"^ {2}(?: {2})?Stream #\d+:(\d+)\S*: (Audio|Video|\w+): ?(.*)$", text, re.M)}
    lines = [streams[number] for number in sorted(streams)]
    tracks = [_track(number, line, zero, shape.protected)
              for number, line in enumerate((line for kind, line in lines if kind == "Audio"), 1)]
    exact = not ("Estimating duration" in text or shape.endless or is_longer or container.startswith("asf"))
    pictures = [line for kind, line in lines if kind == "Video" and "(attached pic)" not in line]
    return MediaInfo(path, container.partition(",")[0] if container.startswith("wav") else container, length, exact,
                     tuple(tracks), bool(pictures), zero, first, shape)


def _track(number: int, line: str, zero: float, is_protected: bool) -> Track:
    fields = [field.strip() for field in line.split(",")]
    codec = re.match(r"[\w.]*", line)[0]  # type: ignore[index]
    rate = next((int(field[:-3]) for field in fields if re.fullmatch(r"\d+ Hz", field)), None)
    at = next((n for n, field in enumerate(fields) if re.fullmatch(r"\d+ Hz", field)), None)
    layout = fields[at + 1] if at is not None and at + 1 < len(fields) else "mono"
    channels = _n_channels(layout)
    start = float(match[1]) - zero if (match := re.search(r", start (-?[\d.]+)", line)) else None
    problem = None
    if is_protected or any(f"({name} /" in line for name in _PROTECTED):
        problem = "it is protected against copying (DRM)"
    elif codec in ("none", "unknown", ""):
        problem = "its codec is not known"
    elif rate is not None and rate < MIN_SAMPLE_RATE:
        problem = f"its sample rate is {rate} Hz; at least {MIN_SAMPLE_RATE} Hz are needed"
    elif channels > MAX_CHANNELS:
        problem = f"it has {channels} channels; at most {MAX_CHANNELS} are read"
    return Track(number, codec, rate, channels, layout, "(default)" in line, start, problem)


def _n_channels(layout: str) -> int:
    """
    >>> [_n_channels(name) for name in ("mono", "5.1(side)", "10 channels (FL+FR)", "7.1.4", "ambisonic 1")]
    [1, 6, 10, 12, 4]
    """
    if match := re.match(r"(\d+) channels", layout):
        return int(match[1])
    if match := re.match(r"ambisonic (\d+)", layout):
        return (int(match[1]) + 1) ** 2
    name = layout.partition("(")[0].strip()
    if re.fullmatch(r"\d+(\.\d+)+", name):
        return sum(int(part) for part in name.split("."))
    return _CHANNELS.get(name, 2)


def _seconds(match: re.Match[str]) -> float:
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])


def explain(messages: str, path: Path, code: int = 1) -> UserError:
    """Turn ffmpeg's complaint into one of ours."""
    text = without_noise(messages)
    low = text.lower()
    if _is_playlist(path):
        return UserError("This file is a playlist or names other media, which are not opened", got=path.name,
                         hint="send the sound itself")
    if (found := what_it_is(path)) is not None:
        return UserError("This is not a sound or video file we can read", got=f"{path.name}, which is {found[0]}",
                         hint=found[1])
    if "format not on whitelist" in low:
        return UserError("This is not a sound or video file we can read", got=path.name, hint=FORMATS_HINT)
    if "matches no streams" in low or "does not contain any stream" in low:
        return UserError("There is no sound in this file", got=path.name, hint="choose a file with an audio track")
    if "moov atom not found" in low or "end of file" in low or "partial file" in low:
        return TruncatedAudio("The file is cut off: its index is missing", got=path.name,
                              hint="fetch or export it again")
    if _may_not_open(text):
        return UserError("ffmpeg may not read this file, though this program may", got=path.name,
                         hint="install an ffmpeg that is no snap or sandbox, or copy the file to another place")
    if "cannot allocate memory" in low or "out of memory" in low:
        return UserError("The file takes too much memory to decode", got=path.name,
                         limit=f"{MEMORY_BYTES >> 20} MB", hint="convert it to WAV, MP3 or M4A and try again")
    if "encrypted" in low or "drm" in low or "activation_bytes" in low or "decryption" in low:
        return protected(path.name)
    if code < 0:
        return UserError("ffmpeg crashed on this file", got=f"{path.name} (signal {-code})",
                         hint="convert it to WAV, MP3 or M4A, or install a newer ffmpeg")
    reason = next((line for line in reversed(text.strip().splitlines()) if line.strip()), "no reason given")
    return UserError("This is not a sound or video file we can read",
                     got=f"{path.name} ({reason.replace(str(path.parent) + os.sep, '')[-120:]})",
                     hint=FORMATS_HINT)


def _is_playlist(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(512).lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    return head.startswith((b"#extm3u", b"ffconcat", b"v=0", b"[playlist]", b"<asx", b"<?wpl", b"<smil", b"rtsptext")
                           ) or b"<mpd" in head or b"<playlist" in head


def protected(name: str) -> UserError:
    return UserError("The recording is protected against copying (DRM), so it cannot be decoded", got=name,
                     hint="use a copy without protection")
