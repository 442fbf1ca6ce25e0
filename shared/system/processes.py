"""Every child process is started here: a clean environment, limits, and an end that includes its own children.

Enters: a command. Leaves: what it wrote. Knows nothing of ffmpeg, YouTube or files.

A child inherits no variable but those that name paths and the locale, so no token reaches it. Its memory and the size
of what it writes are limited by the kernel where it can be done from outside (Linux); elsewhere only time is limited.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

try:
    import fcntl
    import resource
except ImportError:  # Windows
    fcntl = resource = None  # type: ignore[assignment]

PASSED_ON = frozenset({
    "PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT",
    "WINDIR", "COMSPEC", "PATHEXT",
})  # and LC_*
# What a program that goes to the network itself needs beside it; for `extra`.
NETWORK = ("SSL_CERT_FILE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
MEGABYTE = 1 << 20
POLL_SECONDS = 0.1
PIPE_BYTES = 1 << 20  # Linux: sixteen times the usual, so that a child waits less often for us


@dataclass(frozen=True)
class Limits:
    """What a child may use.

    memory: bytes of its own (heap and stacks, not the program's code). written: bytes of any file it writes, its
    messages included. seconds: of wall-clock time, None for no limit. stalled: seconds without using the processor
    and without waiting for its reader.
    """

    memory: int = 512 * MEGABYTE
    written: int = 64 * MEGABYTE
    seconds: float | None = None
    stalled: float | None = None


@dataclass
class Child:
    """A running child. `ended_by`: why it was killed ("time", "stalled" or "cancelled"), None if it was not."""

    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    ended_by: str | None = None
    _done: threading.Event = field(default_factory=threading.Event)

    def kill(self, reason: str | None = None) -> None:
        """End it and what it started."""
        self.ended_by = self.ended_by or reason
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()

    def messages(self, at_most: int = MEGABYTE) -> str:
        """What it wrote to stderr so far: the last `at_most` bytes."""
        size = os.fstat(self.errors.fileno()).st_size
        start = max(0, size - at_most)
        if hasattr(os, "pread"):  # the child writes at the same offset: it must not be moved
            data = os.pread(self.errors.fileno(), at_most, start)
        else:
            self.errors.seek(start)
            data = self.errors.read(at_most)
        return data.decode("utf-8", "replace")


@dataclass(frozen=True)
class Finished:
    """code: exit status, negative for a signal. ended_by: as in `Child`."""

    code: int
    output: bytes
    messages: str
    ended_by: str | None


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that a child gets: paths and the locale, and `extra`."""
    kept = {name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith("LC_")}
    return kept | dict(extra or {})


def network() -> dict[str, str]:
    """The variables of NETWORK that are set here."""
    return {name: os.environ[name] for name in NETWORK if name in os.environ}


@contextlib.contextmanager
def running(
    command: Sequence[str], limits: Limits = Limits(), *, cancel: threading.Event | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL, stdout: int | IO[bytes] = subprocess.PIPE, cwd: Path | None = None,
    extra: Mapping[str, str] | None = None,
) -> Iterator[Child]:
    """A child process for the length of a `with` block; it and what it started are gone afterwards.

    Args:
        command: program and arguments; no shell reads them.
        limits: see `Limits`.
        cancel: set from another thread, ends the child.
        stdin, stdout: as for subprocess.Popen.
        cwd: its working folder.
        extra: variables it gets beside those of `environment`.

    Raises:
        OSError: the program cannot be started.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(list(command), stdin=stdin, stdout=stdout, stderr=errors, cwd=cwd,
                                   env=environment(extra), start_new_session=os.name != "nt")
        _widen(process)
        _limit(process.pid, limits)
        child = Child(process, errors)
        watcher = threading.Thread(target=_watch, args=(child, limits, cancel), daemon=True)
        watcher.start()
        try:
            yield child
        finally:
            child._done.set()
            child.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            process.wait()
            watcher.join()


def run(command: Sequence[str], limits: Limits = Limits(), *, cancel: threading.Event | None = None,
        cwd: Path | None = None, extra: Mapping[str, str] | None = None) -> Finished:
    """Run a command to its end and return what it wrote; arguments and errors as in `running`."""
    with tempfile.TemporaryFile() as out:
        with running(command, limits, cancel=cancel, stdout=out, cwd=cwd, extra=extra) as child:
            code = child.process.wait()
            messages = child.messages()
        out.seek(0)
        return Finished(code, out.read(), messages, child.ended_by)


@contextlib.contextmanager
def own_memory_limit(more: int) -> Iterator[None]:
    """Within the block this process gets at most `more` bytes beside what it has: beyond, MemoryError. Linux only.

    For a command that does one thing; in a server it would hit everybody's work.
    """
    try:
        used = next(int(line.split()[1]) << 10 for line in Path("/proc/self/status").read_text().splitlines()
                    if line.startswith("VmData"))
        before = resource.getrlimit(resource.RLIMIT_DATA)
    except (OSError, StopIteration, AttributeError):
        yield
        return
    unlimited = before[0] == resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_DATA, (used + more if unlimited else min(before[0], used + more), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _limit(pid: int, limits: Limits) -> None:
    """Set from outside right after the start: code between fork and exec is not safe in a process with threads."""
    if not hasattr(resource, "prlimit"):
        return
    for kind, bound in ((resource.RLIMIT_DATA, limits.memory), (resource.RLIMIT_FSIZE, limits.written),
                        (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(OSError, ValueError):  # gone already, or a lower limit holds for all of us
            resource.prlimit(pid, kind, (bound, bound))


def _widen(process: subprocess.Popen[bytes]) -> None:
    """Not Popen's own `pipesize`, which fails where a user's pipes have used up their share."""
    if fcntl is None or not hasattr(fcntl, "F_SETPIPE_SZ"):
        return
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _watch(child: Child, limits: Limits, cancel: threading.Event | None) -> None:
    """Kill the child when it is cancelled, takes too long, or makes no progress."""
    begun = since = time.monotonic()
    last_cpu = -1.0
    while not child._done.wait(POLL_SECONDS):
        if child.process.poll() is not None:
            return  # it ended by itself; what it wrote may wait for its reader as long as it likes
        now = time.monotonic()
        if cancel is not None and cancel.is_set():
            return child.kill("cancelled")
        if limits.seconds is not None and now - begun > limits.seconds:
            return child.kill("time")
        if limits.stalled is not None:
            cpu = _cpu_seconds(child.process.pid)
            if cpu != last_cpu or _waits_for_its_reader(child.process.pid):
                last_cpu, since = cpu, now
            elif now - since > limits.stalled:
                return child.kill("stalled")


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:  # not Linux, or already gone: then only cancel and the limit of time hold
        return time.monotonic()
    return float(fields[11]) + float(fields[12])


def _waits_for_its_reader(pid: int) -> bool:
    """Whether any of its threads is blocked in a write to a pipe that we do not read fast enough."""
    try:
        return any("pipe_write" in (task / "wchan").read_text() for task in Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return False
