"""`transcribe live` as a person runs it: raw sound on its standard input, Ctrl-C; another process where it matters."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import transcribe_here
from paths import ROOT
from speech import clips, joined

from shared.transcript import Transcript
from shared.wer import word_errors

CLIP = clips("it")[1]
SAMPLES = joined([clip.path for clip in clips("it")[:2]], pause=0.8).samples
REFERENCE = " ".join(clip.text for clip in clips("it")[:2])
PCM = (SAMPLES * 32767).astype("<i2").tobytes()
ROUGHLY = 0.3  # of 23 words: what is tested is the command; where live text is cut, and so a word, hangs on time
MODEL = ("--model", "embedded:whisper-base-it")
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "shared.cli", "live", *map(str, arguments)]


def live(*arguments: str | Path, cwd: Path, stdin: bytes = PCM) -> subprocess.CompletedProcess:
    return subprocess.run(command(*arguments), cwd=cwd, capture_output=True, input=stdin, env=ENVIRONMENT, timeout=300)


def test_lines_with_times_and_files_at_the_end(tmp_path):
    done = live("--stdin", *MODEL, "--output", "said.srt", "--output", "said.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stdout.decode().splitlines()
    assert len(lines) > 1 and all(re.match(r"\[00:00:\d\d\.\d{3} → 00:00:\d\d\.\d{3}\] \S", line) for line in lines)
    text = " ".join(line.split("] ", 1)[1] for line in lines)
    assert word_errors(REFERENCE, text, "it").wer <= ROUGHLY
    written = Transcript.from_dict(json.loads((tmp_path / "said.json").read_text()))
    assert written.text == text and written.words
    assert written.duration == pytest.approx(len(SAMPLES) / 16_000), "not a sample is lost"
    assert "-->" in (tmp_path / "said.srt").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["said.json", "said.srt"]


def test_json_for_machines_and_an_odd_last_byte(tmp_path):
    done = transcribe_here("live", "--stdin", *MODEL, "--json", "--quiet", "--language", "Italian", cwd=tmp_path,
                           stdin=PCM + b"\1")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert word_errors(REFERENCE, " ".join(row["text"] for row in rows), "it").wer <= ROUGHLY
    assert all(row["words"] and row["start"] <= row["end"] for row in rows)


def test_no_speech(tmp_path):
    done = transcribe_here("live", "--stdin", *MODEL, "--output", "said.txt", cwd=tmp_path, stdin=bytes(96_000))
    assert done.returncode == 0 and done.stdout == "" and (tmp_path / "said.txt").read_text() == ""


def test_text_comes_while_somebody_speaks_and_ctrl_c_keeps_it(tmp_path):
    """A pipe that stays open, as a microphone's does: text before its end, all of it after Ctrl-C."""
    with subprocess.Popen(command("--stdin", *MODEL, "--output", "said.txt"), cwd=tmp_path, env=ENVIRONMENT,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while b"Listening" not in process.stderr.readline():
            assert process.poll() is None
        process.stdin.write(PCM + bytes(32_000))
        process.stdin.flush()
        first = process.stdout.readline().decode()
        assert "Grazie" in first and process.poll() is None
        process.stdin.write(PCM)
        process.stdin.flush()
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read().decode()
        assert process.wait(timeout=120) == 0, process.stderr.read().decode()
        process.stdin.close()
    written = (tmp_path / "said.txt").read_text()
    assert word_errors(f"{REFERENCE} {REFERENCE}", written, "it").wer <= ROUGHLY
    assert written.split() == re.sub(r"\[.*?\] ", "", first + rest).split()


def test_on_a_terminal_what_may_change_is_dimmed_and_written_over(tmp_path):
    ours, theirs = pty.openpty()
    environment = ENVIRONMENT | {"COLUMNS": "60", "LINES": "24"}
    process = subprocess.Popen(command("--stdin", *MODEL), cwd=tmp_path, env=environment, stdin=subprocess.PIPE,
                               stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    while b"Listening" not in process.stderr.readline():
        assert process.poll() is None
    for i in range(0, len(PCM), 16_000):  # half a second at a time, a little faster than life
        process.stdin.write(PCM[i : i + 16_000])
        process.stdin.flush()
        time.sleep(0.35)
    process.stdin.close()
    written = b""
    while True:
        try:
            data = os.read(ours, 65_536)
        except OSError:  # Linux says so where a terminal's other end is closed
            break
        if not data:
            break
        written += data
    assert process.wait(timeout=60) == 0
    process.stderr.close()
    os.close(ours)
    text = written.decode()
    assert "\x1b[2m" in text and "\x1b[K" in text
    lines = on_screen(text)
    assert word_errors(REFERENCE, " ".join(lines), "it").wer <= ROUGHLY
    assert max(map(len, lines)) < 60


def on_screen(text: str) -> list[str]:
    """What a terminal shows in the end: of the control codes, those this program uses."""
    lines, column = [""], 0
    for part in re.findall(r"\x1b\[(?:\d+)?[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
        if part == "\n":
            lines.append("")
            column = 0
        elif part == "\r":
            column = 0
        elif part == "\x1b[K":
            lines[-1] = lines[-1][:column]
        elif part.startswith("\x1b[") and part.endswith("C"):
            column += int(part[2:-1])
        elif part.startswith("\x1b["):
            assert part in ("\x1b[2m", "\x1b[0m")
        else:
            lines[-1] = lines[-1][:column].ljust(column) + part + lines[-1][column + len(part) :]
            column += len(part)
    return [line for line in lines if line]


def test_one_bad_file_costs_no_other_and_the_reader_may_leave(tmp_path):
    """docs/live.md: all text up to then is written, whatever becomes of the screen or of another file."""
    (tmp_path / "bad.srt").mkdir()
    (tmp_path / "pcm").write_bytes(PCM)
    line = '"$@" --stdin --output bad.srt --output good.txt --language it < pcm | head -c 1'
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line, "bash", *command(*MODEL)], cwd=tmp_path,
                          capture_output=True, env=ENVIRONMENT, timeout=300)
    messages = [line for line in done.stderr.decode().splitlines() if "bad.srt is a folder" in line]
    assert done.returncode == 1 and len(messages) == 1 and "Traceback" not in done.stderr.decode()
    assert done.stderr.decode().count("bad.srt: ") == 2, "before the work, and at the end"
    assert word_errors(REFERENCE, (tmp_path / "good.txt").read_text(), "it").wer <= ROUGHLY


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_text_is_in_the_file_while_it_comes_and_after_the_terminal_is_closed(tmp_path, number):
    with subprocess.Popen(command("--stdin", *MODEL, "--output", "said.txt", "--language", "it"), cwd=tmp_path,
                          env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          preexec_fn=lambda: signal.signal(number, signal.SIG_DFL)  # nohup would have it ignored
                          ) as process:
        process.stdin.write(PCM + bytes(64_000))
        process.stdin.flush()
        first = process.stdout.readline().decode()
        until = time.monotonic() + 60
        while not (tmp_path / "said.txt").exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert (tmp_path / "said.txt").read_text().split()[0] in first
        process.stdout.close()
        process.stderr.close()
        process.send_signal(number)
        assert process.wait(timeout=120) == 0
        process.stdin.close()
    assert word_errors(REFERENCE, (tmp_path / "said.txt").read_text(), "it").wer <= ROUGHLY
    assert [path.name for path in tmp_path.iterdir()] == ["said.txt"]


@pytest.mark.parametrize("arguments, message", [
    (["--stdin", "--output", "said.doc"], "no such format"),
    (["--stdin", "--output", "no/where.srt"], "no folder no"),
    (["--stdin", "--language", "klingon"], "no such language"), (["--stdin", "--model", "what"], "names no checkpoint"),
])
def test_mistakes_are_one_line(tmp_path, arguments, message):
    done = transcribe_here("live", *arguments, cwd=tmp_path, stdin=b"")
    assert done.returncode == 2 and done.stdout == ""
    assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_without_a_microphone_it_says_what_to_do(tmp_path):
    """Whichever is missing on this machine: the package, the library, or a microphone."""
    done = transcribe_here("live", *MODEL, cwd=tmp_path)
    assert done.returncode == 2 and "icrophone" in done.stderr and "What to do" in done.stderr


def test_a_file_named_live_is_still_a_file(tmp_path):
    (tmp_path / "live").write_bytes(CLIP.path.read_bytes())
    done = transcribe_here("./live", *MODEL, "--quiet", cwd=tmp_path)
    assert word_errors(CLIP.text, done.stdout, "it").wer <= 0.3


def test_help(tmp_path):
    text = transcribe_here("live", "--help", cwd=tmp_path).stdout
    for option in ("--stdin", "--microphone", "--output", "--language", "--task", "--model", "--engine", "--json"):
        assert option in text
