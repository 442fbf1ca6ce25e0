"""The ffmpeg program: which one, what it may open and which options decode a track on the file's own clock.

It may open the one file it is given and nothing else, and decode sound and nothing else: a picture in a file is never
decoded, whatever its size. Knows nothing of what a file promises or of its faults.
"""

from __future__ import annotations

import contextlib
import functools
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import ffmpeg

from shared.audio.waveform import SAMPLE_RATE
from shared.errors import UserError
from shared.system import processes

STALL_SECONDS = 60  # an ffmpeg that does nothing for so long is hung on a damaged file
PROBE_SECONDS = 60
MEMORY_BYTES = 512 << 20  # decoding one track takes about 30 MB
LIMITS = processes.Limits(memory=MEMORY_BYTES, stalled=STALL_SECONDS)

# Self-contained containers and the endings of their files. Left out on purpose: hls, dash, concat, image2, sdp, rtp,
# lavfi: whatever names another file or address. ffmpeg compares any of a demuxer's names with this list.
_SUFFIXES_OF = {
    "wav": "wav wave bwf rf64", "w64": "w64", "aiff": "aif aiff aifc aff", "caf": "caf", "au": "au snd", "voc": "voc",
    "mp3": "mp3 mp2 mp1 mpa m2a m3a mpga", "aac": "aac adts", "loas": "loas", "flac": "flac",
    "ogg": "ogg oga ogv ogx ogm opus spx",
    "mov": "mov mp4 m4a m4b m4r m4v m4p mp4v mpg4 aax 3gp 3gpp 3g2 3gp2 3gpp2 3ga mj2 f4v f4a qt mqv lrv psp ismv isma",
    "mp4": "", "m4a": "", "3gp": "",
    "matroska": "mkv mka mk3d webm weba", "webm": "", "avi": "avi divx xvid", "asf": "asf wma wmv dvr-ms", "flv": "flv",
    "mpegts": "ts m2t m2ts mts trp tod mpegts", "mpeg": "mpg mpeg mpe vob m2p", "g722": "g722 722", "gsm": "gsm",
    "amr": "amr", "amrnb": "", "amrwb": "awb", "alaw": "al alaw", "mulaw": "ul ulaw", "ac3": "ac3", "eac3": "eac3 ec3",
    "dts": "dts", "dtshd": "dtshd", "mlp": "mlp", "act": "act", "ilbc": "lbc", "iff": "iff 8svx", "ircam": "ircam sf",
    "wv": "wv", "ape": "ape apl mac", "tta": "tta", "mpc": "mpc mp+", "mpc8": "", "tak": "tak", "dsf": "dsf",
    "oma": "oma omg aa3", "rm": "rm ra rmvb", "nut": "nut", "mxf": "mxf", "dss": "dss ds2", "nistsphere": "nist sph",
    "sox": "sox", "qcp": "qcp", "truehd": "thd", "wtv": "wtv", "dv": "dv dif", "gxf": "gxf", "shn": "shn",
}
CONTAINERS = ",".join(_SUFFIXES_OF)
# Codecs of nearly all recordings. Some systems ship an ffmpeg without those that are, or were, under patents.
USUAL = ("aac", "ac3", "alac", "amrnb", "flac", "mp2", "mp3", "opus", "pcm_s16le", "vorbis", "wmav2")
_passed_over: set[str] = set()  # programs that run but may not open our files, as a snap's in /tmp
MEDIA_SUFFIXES = frozenset(f".{suffix}" for names in _SUFFIXES_OF.values() for suffix in names.split())


def ffmpeg_executable() -> str:
    """The ffmpeg on the PATH if it runs, else the one in the imageio-ffmpeg wheel.

    Returns:
        Its path.

    Raises:
        UserError: neither of them runs.
    """
    return _working().path


def without_program(path: str) -> bool:
    """From now on do without this ffmpeg, which may not open what we may; False if there is no other that runs."""
    _passed_over.add(path)
    _working.cache_clear()
    try:
        return _working().path != path
    except UserError:
        _passed_over.discard(path)
        _working.cache_clear()
        return False


def guards() -> dict[str, str]:
    """Options before an input: the file itself, self-contained containers, decoders of sound."""
    return {"protocol_whitelist": "file", "format_whitelist": CONTAINERS, "codec_whitelist": _working().decoders}


def probe_command(paths: list[Path], options: list[dict[str, str]] | None = None) -> list[str]:
    """A command that prints the headers of these files and decodes nothing. options: of each input."""
    command = [ffmpeg_executable(), "-hide_banner", "-nostdin"]
    for n, path in enumerate(paths):
        given = guards() | (options[n] if options else {})
        command += [part for name, value in given.items() for part in (f"-{name}", value)] + ["-i", f"file:{path}"]
    return command


@dataclass(frozen=True)
class Decoding:
    """How one track of one file is decoded: 16 kHz, float32, its own number of channels.

    track: position among the file's audio tracks, from 0. n_channels: what comes out, interleaved. start: seconds on
    the file's clock. limit: seconds at most, None for all. zero: the timestamp that the clock calls 0. first: the
    file's first timestamp, which ffmpeg counts a start from. last: seconds on the clock beyond which a jump of the
    timestamps is not believed. options: further ones of the input.
    """

    path: Path
    track: int
    n_channels: int
    start: float = 0.0
    limit: float | None = None
    zero: float = 0.0
    first: float = 0.0
    last: float = 86_400.0
    options: tuple[tuple[str, str], ...] = ()

    def input(self) -> ffmpeg.nodes.FilterableStream:
        given: dict[str, str] = guards() | dict(self.options)
        seek = self.start - (self.first - self.zero)
        if self.start > 0 and seek > 0:
            given["ss"] = f"{seek:.6f}"
        return ffmpeg.input(_as_letters(f"file:{self.path}"), **given)

    def output(self, stream: ffmpeg.nodes.FilterableStream, target: str) -> ffmpeg.nodes.OutputStream:
        wanted: dict[str, str | int] = {"format": "f32le", "acodec": "pcm_f32le", "ac": self.n_channels,
                                        "ar": SAMPLE_RATE, "af": self._on_the_clock()}
        if self.limit is not None:
            wanted["t"] = f"{self.limit:.6f}"
        return stream[f"a:{self.track}"].output(target, **wanted)

    def _on_the_clock(self) -> str:
        """A filter that puts silence where the timestamps say that nothing was recorded, and loses no sample.

        asetpts, for each frame: variable 0 its time after the start in samples, 1 the correction so far, 2 where the
        frame before ended, 3 the gap between them. Timestamps that run backwards (files joined end to end), or jump
        beyond `last`, are replaced by those that follow on; aresample would drop what overlaps otherwise.
        """
        moved, last = f"{self.zero + self.start:.6f}", f"{self.last - self.start:.3f}"
        clock = (f"st(0,if(isnan(PTS),ld(2),PTS-{moved}*SR+ld(1)));st(3,ld(0)-ld(2));"
                 f"if(lt(ld(3),-0.1*SR)+gt(ld(3),0.1*SR)*gt(ld(0),{last}*SR),st(1,ld(1)-ld(3));st(0,ld(2)));"
                 "st(2,ld(0)+NB_SAMPLES);ld(0)")
        return f"asetpts='{clock}',aresample={SAMPLE_RATE}:async=1:first_pts=0"


def decode_command(decoding: Decoding) -> list[str]:
    """The command that writes one track to stdout."""
    return command_of([decoding.output(decoding.input(), "pipe:")])


def command_of(outputs: list[ffmpeg.nodes.OutputStream]) -> list[str]:
    """The command that makes these outputs, each from its own input, with timestamps as they are in the file."""
    joined = outputs[0] if len(outputs) == 1 else ffmpeg.merge_outputs(*outputs)
    flags = ("-hide_banner", "-nostdin", "-y", "-v", "error", "-copyts")
    return [_as_bytes(word) for word in joined.global_args(*flags).compile(cmd=ffmpeg_executable())]


def _as_letters(name: str) -> str:
    """A file name whose bytes are no UTF-8, for ffmpeg-python, which takes text only: NUL and two digits a byte."""
    return re.sub("[\udc80-\udcff]", lambda found: f"\0{ord(found[0]) - 0xdc00:02x}", name)


def _as_bytes(word: str) -> str:
    """`_as_letters` undone. No name holds a NUL of its own."""
    return re.sub("\0([0-9a-f]{2})", lambda found: chr(0xdc00 + int(found[1], 16)), word)


def without_noise(messages: str) -> str:
    """ffmpeg's messages without those about pictures, which it does not decode here."""
    lines = messages.splitlines()
    noise = re.compile(r"Codec \(\w+\) not on whitelist|Failed to open codec in avformat_find_stream_info|"
                       r"Last message repeated|Could not find codec parameters for stream \d+ \(Video|"
                       r"Consider increasing the value for the 'analyzeduration'")
    return "\n".join(line for line in lines if not noise.search(line))


@dataclass(frozen=True)
class _Program:
    path: str
    decoders: str  # of sound, comma-separated

    @property
    def n_usual(self) -> int:
        names = self.decoders.split(",")
        return sum(any(name.removeprefix("lib").startswith(codec) for name in names) for codec in USUAL)


@functools.cache
def _working() -> _Program:
    """The first program that knows all USUAL codecs, else the one that knows most of them."""
    tried, found = [], []
    for path in _candidates():
        try:
            done = processes.run([path, "-hide_banner", "-v", "error", "-decoders"],
                                 processes.Limits(memory=MEMORY_BYTES, seconds=PROBE_SECONDS))
        except OSError as error:
            tried.append(f"{path}: {error.strerror}")
            continue
        names = re.findall(r"^ A\S{5} (\S+)", done.output.decode("utf-8", "replace"), re.M)
        decoders = [name for name in names if name != "="]
        if done.code == 0 and decoders:
            found.append(_Program(path, ",".join(decoders)))
            if found[-1].n_usual == len(USUAL):
                break
            continue
        tried.append(f"{path}: {done.messages.strip()[-200:] or f'ended with {done.code}'}")
    if found:
        return max(found, key=lambda program: program.n_usual)
    raise UserError("There is no ffmpeg that runs", got="; ".join(tried) or "none on the PATH, no imageio-ffmpeg",
                    hint="pip install imageio-ffmpeg, or install ffmpeg")


def _candidates() -> list[str]:
    """Programs to try, in order. imageio-ffmpeg gives what $IMAGEIO_FFMPEG_EXE names, whether or not it runs."""
    found = [path] if (path := shutil.which("ffmpeg")) else []
    with contextlib.suppress(ImportError, RuntimeError):  # not installed, or a wheel without a binary for this system
        import imageio_ffmpeg

        found.append(imageio_ffmpeg.get_ffmpeg_exe())
        found += map(str, sorted((Path(imageio_ffmpeg.__file__).parent / "binaries").glob("ffmpeg-*")))
    return [path for path in dict.fromkeys(found) if path not in _passed_over]
