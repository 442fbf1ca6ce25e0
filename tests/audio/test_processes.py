"""Child processes: a clean environment, limits, and an end that includes their own children."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from media_files import TONE, ffmpeg, sources
from paths import ROOT

from shared.audio import stream_audio
from shared.system import processes
from shared.system.processes import Limits

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits from outside are Linux's")


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def test_no_token_reaches_a_child(monkeypatch):
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "HUGGING_FACE_HUB_TOKEN", "LC_TIME"):
        monkeypatch.setenv(name, "secret")
    done = processes.run(python("import os; print(sorted(os.environ))"), extra={"OWN": "1"})
    names = set(eval(done.output))
    assert done.code == 0 and {"OWN", "LC_TIME", "PATH"} <= names
    assert names <= processes.PASSED_ON | {"OWN", "LC_CTYPE"} | {name for name in names if name.startswith("LC_")}


@LINUX
def test_memory_is_limited():
    done = processes.run(python("import time; time.sleep(0.3); x = bytearray(300 << 20); print(len(x))"),
                         Limits(memory=128 << 20))
    assert done.code != 0 and "MemoryError" in done.messages and done.output == b""


@LINUX
def test_what_it_writes_is_limited(tmp_path):
    code = "import sys, time; time.sleep(0.3)\nfor _ in range(200): sys.stderr.write('x' * 100_000)"
    done = processes.run(python(code), Limits(written=1 << 20))
    assert done.code != 0 and len(done.messages) <= 1 << 20


def test_time_is_limited_and_its_children_go_too(tmp_path):
    marker = tmp_path / "marker"
    grandchild = f"import time; time.sleep(3); open({str(marker)!r}, 'w')"
    code = (f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-S', '-c', {grandchild!r}]); "
            "time.sleep(60)")
    begun = time.monotonic()
    done = processes.run(python(code), Limits(seconds=1))
    assert done.ended_by == "time" and time.monotonic() - begun < 30
    time.sleep(3.5)
    assert not marker.exists()


def test_cancel_ends_it_at_once():
    cancel = threading.Event()
    threading.Timer(0.5, cancel.set).start()
    done = processes.run(python("import time; time.sleep(60)"), cancel=cancel)
    assert done.ended_by == "cancelled"


@LINUX
def test_one_that_does_nothing_is_ended_and_one_that_waits_for_us_is_not():
    assert processes.run(python("import time; time.sleep(60)"), Limits(stalled=1)).ended_by == "stalled"
    for size in (100_000, 5_000_000):  # one that ended before it was read, and one that a full pipe holds up
        with processes.running(python(f"import sys; sys.stdout.write('x' * {size})"), Limits(stalled=0.5)) as child:
            time.sleep(2)
            assert len(child.process.stdout.read()) == size and child.ended_by is None


def test_shared_starts_processes_nowhere_else():
    starts = re.compile(r"subprocess\.(run|Popen\(|call|check_output|check_call)|os\.(system|popen|fork|posix_spawn)\b")
    wrong = [str(path.relative_to(ROOT)) for path in (ROOT / "shared").rglob("*.py")
             if path.name != "processes.py" and starts.search(path.read_text(encoding="utf-8"))]
    assert wrong == []


def test_ffmpeg_inherits_no_token(tmp_path, monkeypatch):
    ffmpeg(*sources(TONE.replace("duration=3", "duration=900")), tmp_path / "long.flac")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    blocks = stream_audio(tmp_path / "long.flac")
    next(blocks)
    pids = subprocess.run(["pgrep", "-f", str(tmp_path / "long.flac")], capture_output=True, text=True).stdout.split()
    environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in pids if int(pid) != os.getpid()]
    blocks.close()
    assert environments and not any(b"hf_secret" in one for one in environments)


@LINUX
def test_a_program_may_limit_itself_for_a_while():
    code = """
from shared.system.processes import own_memory_limit
with own_memory_limit(100 << 20):
    bytes(50 << 20)
    try:
        bytes(200 << 20)
    except MemoryError:
        print("refused")
print(len(bytes(200 << 20)))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout.split() == ["refused", str(200 << 20)]


def test_no_other_module_starts_a_child_by_itself():
    """Pools of Python's own workers aside, which run nothing that came from outside."""
    starts = re.compile(r"\bsubprocess\.(run|Popen|call|check_call|check_output|getoutput)\(|\bPopen\(|"
                        r"\bos\.(system|popen|spawn\w+|exec\w+|posix_spawnp?|fork)\(|create_subprocess_")
    found = {path.relative_to(ROOT).as_posix() for folder in ("shared", "feature_pipeline", "training", "spaces")
             for path in (ROOT / folder).rglob("*.py") if starts.search(path.read_text(encoding="utf-8"))}
    assert found == {"shared/system/processes.py"}


def test_apt_gets_no_token_and_its_last_words_are_reported(tmp_path, monkeypatch):
    from feature_pipeline.sources.debian import Debian
    from shared.errors import UserError

    (tmp_path / "bin").mkdir()
    apt = tmp_path / "bin" / "apt-get"
    apt.write_text('#!/bin/sh\necho "E: token=$HF_TOKEN proxy=$https_proxy" >&2\nexit 100\n')
    apt.chmod(0o755)
    for name, value in {"PATH": f"{apt.parent}:{os.environ['PATH']}", "HF_TOKEN": "secret", "https_proxy": "http://p:1",
                        "WHISPER_SPACES_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"could not fetch a package.*token= proxy=http://p:1"):
        next(Debian("asterisk", "it").rows())
