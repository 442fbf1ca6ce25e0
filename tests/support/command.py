"""The command line as a person runs it: another process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from paths import ROOT


def transcribe(*arguments: str | Path, cwd: Path, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "shared.cli", *map(str, arguments)], cwd=cwd, capture_output=True,
                          input=stdin, env=os.environ | {"PYTHONPATH": str(ROOT)} | env, timeout=600)
