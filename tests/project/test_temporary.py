"""shared.system.temporary: one folder for a process's temporary files, gone with it, also after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from paths import ROOT

CODE = """
import sys, time
from shared.system.temporary import temporary_folder, temporary_root
with temporary_folder("job-") as folder:
    (folder / "cookies.txt").write_text("secret")
    print(temporary_root(), flush=True)
    {then}
"""


def started(tmp: Path, then: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", CODE.format(then=then)], stdout=subprocess.PIPE, text=True, cwd=ROOT,
                            env=os.environ | {"TMPDIR": str(tmp)})


def test_what_a_killed_process_left_is_removed_by_the_next_and_nobody_elses(tmp_path):
    killed, running = started(tmp_path, "time.sleep(600)"), started(tmp_path, "time.sleep(601)")
    try:
        left, kept = (Path(process.stdout.readline().strip()) for process in (killed, running))
        assert left.stat().st_mode & 0o777 == 0o700
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert list(left.rglob("cookies.txt"))
        other = started(tmp_path, "pass")
        own = Path(other.stdout.readline().strip())
        assert other.wait(60) == 0
        assert not left.exists() and not own.exists() and list(kept.rglob("cookies.txt"))
    finally:
        killed.kill()
        running.kill()


def test_a_temporary_folder_that_cannot_be_written_is_an_error(tmp_path):
    done = subprocess.run([sys.executable, "-c", "import tempfile; tempfile.tempdir = '/proc/nowhere'\n"
                           "from shared.system.temporary import temporary_root; temporary_root()"],
                          cwd=ROOT, capture_output=True, text=True)
    assert "UserError" in done.stderr and "TMPDIR" in done.stderr
