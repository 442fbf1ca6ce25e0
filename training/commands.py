"""The commands of this project as child processes, for what gives several of them one after the other.

A child that is killed or runs out of memory takes nobody with it, and each command goes on where it was stopped.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import training
from shared.system.processes import Child, Limits, network, running

ROOT = Path(training.__file__).parents[1]
# Of what a child gets from us: where models and caches are, and how many threads it may use.
PASSED_ON = ("HOME", "USERPROFILE", "HF_HOME", "HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "XDG_CACHE_HOME",
             "WHISPER_SPACES_CACHE", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "PYTHONPATH")
ANY = 1 << 50  # bytes: training may use what there is


def started(words: Sequence[str], place: Path, cancel: threading.Event | None = None) -> AbstractContextManager[Child]:
    """`python -m WORDS` in the folder `place`, for the length of a `with` block. Raises OSError if it cannot start."""
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH"))))
    return running([sys.executable, "-m", *words], Limits(memory=ANY, written=ANY), cancel=cancel, cwd=place,
                   extra=kept | network() | {"PYTHONUNBUFFERED": "1"})


def followed(child: Child, say: Callable[[str], None]) -> tuple[int, str]:
    """Pass on each line that the child prints until it ends; its exit code and what it wrote to standard error."""
    assert child.process.stdout is not None
    for line in child.process.stdout:
        if text := line.decode("utf-8", "replace").strip():
            say(text)
    return child.process.wait(), child.messages()


def problem(messages: str, program: str, code: int) -> str:
    """Why a command failed: its own message, or the last line it wrote to standard error."""
    lines = [line.strip() for line in messages.replace("\r", "\n").splitlines() if line.strip()]
    own = [line for line in lines if line.startswith(f"{program}: ")]
    if own:
        return own[-1].removeprefix(f"{program}: ")
    if code < 0:
        return f"it was ended by signal {-code}, as the system does where memory runs out"
    return lines[-1] if lines else f"it ended with code {code}"
