"""A peer in its own process, which works only when it is asked and sleeps while others run.

Enters: a System and a checkpoint. Leaves: texts, seconds and the peak of its memory. Knows nothing of scores.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers.convert import converted
from benchmarks.peers.envs import python_of
from benchmarks.peers.sets import BenchSet
from benchmarks.peers.systems import System
from shared.system.hardware import has_bfloat16

DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG, prctl(2)


class PeerFailed(Exception):
    """The peer's own last words."""


class Worker:
    """Raises NotInstalled, UserError and PeerFailed."""

    def __init__(self, system: System, checkpoint: str, threads: int) -> None:
        self.system = system
        self.model = converted(checkpoint, system.form)
        self.options = system.options | {"threads": threads}
        if self.options.get("precision") == "native":
            self.options["precision"] = "bf16" if has_bfloat16() else "f32"
        python = python_of(system.program)
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1",
                                    "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": ""}
        self._log = Path(tempfile.gettempdir(), f"bench-{os.getpid()}-{system.name}.log")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([str(python), str(system.worker)], stdin=subprocess.PIPE, stderr=log,
                                             stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment,
                                             preexec_fn=_die_with_parent)
        self.loaded = self._ask({"do": "load", "model": self.model, "options": self.options})
        self._pause()

    def run(self, bench: BenchSet, mode: str, tries: int) -> dict[str, Any]:
        """The answer of `protocol.serve`, with `peak_mb`: the most memory resident while it ran, weights included.

        tries: how often work is timed again while other processes take the CPU.
        """
        self._process.send_signal(signal.SIGCONT)
        status = Path(f"/proc/{self._process.pid}")
        (status / "clear_refs").write_text("5")  # the peak starts from what is resident now, proc(5)
        answer = self._ask({"do": "run", "clips": [str(clip.path) for clip in bench.clips], "mode": mode,
                            "language": bench.language, "words": self.system.words, "tries": tries})
        peak = next(line for line in (status / "status").read_text().splitlines() if line.startswith("VmHWM"))
        self._pause()
        return answer | {"peak_mb": round(int(peak.split()[1]) / 1024)}

    def close(self) -> None:
        self._process.send_signal(signal.SIGCONT)
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.unlink(missing_ok=True)

    def _pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)  # so that no thread pool spins beside the next one

    def _ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._process.wait()
            words = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            self._log.unlink(missing_ok=True)
            raise PeerFailed(words[-1][:300] if words else f"exit {self._process.returncode}")
        return json.loads(line)


def _die_with_parent() -> None:
    """Also when the parent is killed: a stopped process would stay for ever."""
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
