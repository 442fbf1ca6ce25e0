"""The command line as a person runs it: another process, real recordings, real files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command import transcribe
from speech import clips

from shared.wer import word_errors

CLIP = clips("it")[1]


def test_one_file_prints_its_text(tmp_path):
    done = transcribe(CLIP.path, "--language", "Italian", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert word_errors(CLIP.text, done.stdout.decode(), "it").wer < 0.3
    assert done.stderr == b"" and list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two recordings at two depths, one without speech, one that is no recording, and a text file."""
    root = tmp_path_factory.mktemp("recordings")
    (root / "deep er").mkdir()
    shutil.copy(CLIP.path, root / "it's \"one\" 例.flac")
    shutil.copy(clips("ru")[0].path, root / "deep er" / "two.ogg")
    (root / "broken.mp3").write_text("not a recording")
    (root / "notes.txt").write_text("not audio")
    import wave

    with wave.open(str(root / "silence.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(32_000))
    return root


def test_a_folder_is_done_whole_then_resumed(folder, tmp_path):
    out = tmp_path / "out"
    done = transcribe(folder, "--format", "srt,txt", "--output", out, cwd=tmp_path)
    said = done.stderr.decode()
    assert done.returncode == 1 and "broken.mp3" in said and "not a sound" in said
    assert "notes.txt" not in said
    made = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    recordings = ("deep er/two.ogg", "it's \"one\" 例.flac", "silence.wav")
    assert made == [f"{name}.{kind}" for name in recordings for kind in ("srt", "txt")]
    assert (out / "silence.wav.txt").read_text() == ""
    assert "-->" in (out / "deep er" / "two.ogg.srt").read_text()

    (out / "silence.wav.txt").unlink()
    written = (out / "deep er" / "two.ogg.txt").stat().st_mtime_ns
    again = transcribe(folder, "--format", "srt,txt", "--output", out, cwd=tmp_path)
    assert "2 of 4 were finished before" in again.stderr.decode()
    assert (out / "silence.wav.txt").is_file()
    assert (out / "deep er" / "two.ogg.txt").stat().st_mtime_ns == written


def test_standard_input_and_json(tmp_path):
    options = ("--json", "--quiet", "--words", "--language", "it")
    done = transcribe("-", *options, cwd=tmp_path, stdin=CLIP.path.read_bytes())
    row = json.loads(done.stdout)
    assert row["language"] == "it" and row["seconds_of_work"] > 0 and row["segments"][0]["words"]
    assert word_errors(CLIP.text, row["text"], "it").wer < 0.3


def test_compare_counts_both_sides(tmp_path):
    (tmp_path / "said.txt").write_text(CLIP.text)
    done = transcribe(CLIP.path, "--compare", "said.txt", "--language", "it", "--json", "--quiet", cwd=tmp_path,
                      FINE_TUNED="embedded:whisper-base-it")
    base, tuned = json.loads(done.stdout)
    assert (base["side"], tuned["side"]) == ("base", "fine-tuned")
    for row in (base, tuned):
        assert row["wer"] == pytest.approx(word_errors(CLIP.text, row["text"], "it").wer)
    assert tuned["checkpoint"] == "embedded:whisper-base-it"


@pytest.mark.parametrize("arguments, said", [
    (["nothing.wav"], "no such file"), (["no*thing"], "no such file"),
    ([CLIP.path, "--format", "docx"], "no such format"),
    ([CLIP.path, "--language", "klingon"], "no such language"), ([CLIP.path, "--model", "what"], "names no checkpoint"),
])
def test_mistakes_are_one_line(tmp_path, arguments, said):
    done = transcribe(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == b""
    assert said in done.stderr.decode() and len(done.stderr.decode().strip().splitlines()) == 1


def test_help_names_every_option(tmp_path):
    text = transcribe("--help", cwd=tmp_path).stdout.decode()
    for option in ("--language", "--task", "--format", "--output", "--words", "--model", "--engine", "--compute-type",
                   "--beam-size", "--vad-onset", "--initial-prompt", "--json", "--compare"):
        assert option in text
