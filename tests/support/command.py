"""The command line: as another process, or in this one where the checkpoints stay loaded."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from paths import ROOT

from shared.cli import main


def transcribe(*arguments: str | Path, cwd: Path, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "shared.cli", *map(str, arguments)], cwd=cwd, capture_output=True,
                          input=stdin, env=os.environ | {"PYTHONPATH": str(ROOT)} | env, timeout=600)


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def transcribe_here(*arguments: str | Path, cwd: Path, stdin: bytes | None = None) -> Done:
    """`transcribe` called in this process: no seconds for a start, and the configured checkpoints are loaded once.

    stdin: what the command finds in its standard input; None leaves that of the tests.
    """
    out, err = io.StringIO(), io.StringIO()
    with (contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err),
          standard_input(stdin)):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return Done(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def standard_input(content: bytes | None) -> Iterator[None]:
    """A file in the place of this process's standard input, with a number of the system's as any has."""
    if content is None:
        yield
        return
    with tempfile.TemporaryFile() as file, pytest.MonkeyPatch.context() as patch:
        file.write(content)
        file.seek(0)
        patch.setattr(sys, "stdin", io.TextIOWrapper(file))
        yield
