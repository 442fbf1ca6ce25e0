"""How every command of this project ends: one form of message and one set of exit codes.

    0    all was done
    1    some of the inputs failed; the others are done
    2    nothing was done, for a reason that the person can put right: one line on standard error says it
    130  stopped by Ctrl-C (128 + the signal's number for other signals)
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from shared.errors import Cancelled, UserError

DONE, SOME_FAILED, USER_ERROR = 0, 1, 2
STOPPED = "stopped; the same command goes on from there"
# What the system refuses that a person can change: rights, a full disk, a read-only place.
MENDABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


class Signalled(KeyboardInterrupt):
    """The process was asked to end by a signal other than Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def reported(program: str, work: Callable[[], int | None], *, stopped: str = STOPPED) -> int:
    """Run a command and report how it ended.

    Args:
        program: the name that messages begin with.
        work: does everything; returns the exit code, None for 0.
        stopped: what to say after Ctrl-C.

    Returns:
        The exit code, see above. Exceptions that are faults of the program pass through.
    """
    _print_anything()
    try:
        code = work() or DONE
        sys.stdout.flush()
        return code
    except UserError as error:
        tell(f"{program}: {error}")
        return USER_ERROR
    except (KeyboardInterrupt, Cancelled) as error:
        tell(f"\n{program}: {stopped}")
        return 128 + (error.number if isinstance(error, Signalled) else signal.SIGINT)
    except BrokenPipeError:
        no_more_output()
        return SOME_FAILED
    except OSError as error:
        if error.errno not in MENDABLE:
            raise
        tell(f"{program}: {UserError('The system refused', got=system_words(error), hint='check rights and space')}")
        no_more_output()  # where that is what was refused, it must not be tried again at exit
        return USER_ERROR


def system_words(error: OSError) -> str:
    """A system error for a person: 'Permission denied: /x/y'."""
    name = error.filename2 or error.filename
    return f"{error.strerror or error}" + (f": {os.fsdecode(name)}" if isinstance(name, str | bytes) else "")


def tell(message: str) -> None:
    """A message on standard error, on one line; nothing happens where nobody can read it any more."""
    lead = "\n" if message.startswith("\n") else ""
    with contextlib.suppress(OSError, ValueError):  # the terminal is gone, or the stream is closed
        print(lead + " ".join(message.split()), file=sys.stderr, flush=True)


def no_more_output() -> None:
    """The reader of standard output has left: what is still buffered must not fail a second time at exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP end the program as Ctrl-C does, so that temporary files go.

    A signal that is ignored (`nohup`) stays ignored. Outside the main thread nothing is changed.
    """
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []

    def end(number: int, frame: FrameType | None) -> None:
        raise Signalled(number)

    before = {number: signal.signal(number, end) for number in numbers if signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_anything() -> None:
    """Letters that the encoding of the terminal lacks, and file names that are no text, are written as \\x…

    A stream that was closed before the start (`>&-`) takes everything and keeps nothing.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
