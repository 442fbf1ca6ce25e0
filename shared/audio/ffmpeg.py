"""The ffmpeg process: found, guarded, watched and ended.

It may open the one file it is given and nothing else. Knows nothing of what a file promises or of its faults.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import ffmpeg

from shared.audio.waveform import SAMPLE_RATE

STALL_SECONDS = 60  # an ffmpeg that writes nothing for so long is hung on a damaged file
# Self-contained containers only. Left out on purpose: hls, dash, concat, image2, sdp, rtp, lavfi: whatever names
# another file or address. ffmpeg compares any of a demuxer's comma-separated names with this list.
CONTAINERS = (
    "wav,w64,aiff,caf,au,voc,mp3,aac,loas,flac,ogg,mov,mp4,m4a,3gp,matroska,webm,avi,asf,flv,mpegts,mpeg,"
    "g722,gsm,amr,amrnb,amrwb,alaw,mulaw,ac3,eac3,dts,wv,ape,tta,mpc,mpc8,tak,dsf,oma,rm,nut,mxf"
)


@functools.cache
def ffmpeg_executable() -> str:
    """The ffmpeg on the PATH, else the one in the imageio-ffmpeg wheel."""
    found = shutil.which("ffmpeg")
    if found:
        return found
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()


def guards() -> list[str]:
    return ["-protocol_whitelist", "file", "-format_whitelist", CONTAINERS]


@contextlib.contextmanager
def running(path: Path, start: float, limit: float | None, cancel: threading.Event | None):
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
