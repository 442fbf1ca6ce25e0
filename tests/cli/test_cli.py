"""The command line on real recordings and real files; as another process where that is what is tested."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import pytest
from command import transcribe, transcribe_here
from dictionaries import dictionary_of_clips
from paths import ROOT
from speech import clips

from shared.audio import ffmpeg_executable
from shared.cli import cache
from shared.cli import options as cli_options
from shared.cli.answering import Answering
from shared.wer import word_errors

CLIP = clips("it")[1]


def write_silence(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(32_000))


def test_one_file_prints_its_text(tmp_path):
    done = transcribe(CLIP.path, "--language", "Italian", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert word_errors(CLIP.text, done.stdout.decode(), "it").wer < 0.3
    assert done.stderr == b"" and list(tmp_path.iterdir()) == []


def test_hotwords_come_from_a_list_or_a_file(tmp_path):
    """Beside them a mistake in the list, told before anything is loaded."""
    clip, names = clips("en")[0], tmp_path / "names.txt"
    names.write_text("# of the book\nill-disposed\n")
    plain, *led = (transcribe_here(clip.path, "--language", "en", "--quiet", *more, cwd=tmp_path).stdout
                   for more in ((), ("--hotwords", "Gandalf, ill-disposed"), ("--hotwords", names)))
    assert "ill-disposed" not in plain and all("an ill-disposed young man" in text for text in led)
    for given, message in (("", "is empty"), ("names.lst", "no such file"), ("Gandalf, 7", "no letter")):
        done = transcribe_here(clip.path, "--hotwords", given, cwd=tmp_path)
        assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
    done = transcribe_here(clip.path, "--hotwords", "Gandalf", "--engine", "ctranslate2", cwd=tmp_path)
    assert done.returncode != 0 and "choose the engine torch" in done.stderr


def test_a_dictionary_is_named_by_language_or_by_its_file(tmp_path, monkeypatch):
    """Beside them one that is not there, told before anything is loaded."""
    (clip,) = clips("es")
    path = dictionary_of_clips(tmp_path, "es_XX", "es")
    monkeypatch.setenv("DICPATH", str(tmp_path))
    for given in ("es", path):
        done = transcribe_here(clip.path, "--language", "es", "--quiet", "--dictionary", given, cwd=tmp_path)
        assert word_errors(clip.text, done.stdout, "es").errors == 0, done.stderr
    for more, message in ((("--dictionary", "xx"), "No dictionary of that name"), (("--dictionary", ""), "is named"),
                          (("--dictionary", "es", "--engine", "ctranslate2"), "choose the engine torch"),
                          (("--dictionary", "es", "--language", "it"), "No dictionary of this language")):
        done = transcribe_here(clip.path, *more, cwd=tmp_path)
        assert done.returncode != 0 and message in done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two recordings at two depths, one without speech, one that is no recording, and a text file."""
    root = tmp_path_factory.mktemp("recordings")
    (root / "deep er").mkdir()
    shutil.copy(CLIP.path, root / "it's \"one\" 例.flac")
    shutil.copy(clips("ru")[0].path, root / "deep er" / "two.ogg")
    (root / "broken.mp3").write_text("not a recording")
    (root / "notes.txt").write_text("not audio")
    write_silence(root / "silence.wav")
    return root


def test_a_folder_is_done_whole_then_resumed(folder, tmp_path):
    out = tmp_path / "out"
    done = transcribe_here(folder, "--format", "srt,txt", "--output", out, cwd=tmp_path)
    assert done.returncode == 1 and "broken.mp3" in done.stderr and "not a sound" in done.stderr
    assert "notes.txt" not in done.stderr
    assert "silence.wav: No speech was found in 1 s of sound" in done.stderr
    made = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    recordings = ("deep er/two", "it's \"one\" 例", "silence")
    assert made == [f"{name}.{kind}" for name in recordings for kind in ("srt", "txt")]
    assert (out / "silence.txt").read_text() == ""
    assert "-->" in (out / "deep er" / "two.srt").read_text()

    (out / "silence.txt").unlink()
    written = (out / "deep er" / "two.txt").stat().st_mtime_ns
    again = transcribe_here(folder, "--format", "srt,txt", "--output", out, cwd=tmp_path)
    assert "2 of 4 were finished before" in again.stderr
    assert (out / "silence.txt").is_file()
    assert (out / "deep er" / "two.txt").stat().st_mtime_ns == written


def test_short_recordings_are_decoded_together_and_a_fault_of_all_is_nobodys(folder, tmp_path, monkeypatch):
    """The answers of a group, and those of each alone where the group has failed, are in the order of the inputs."""
    real, sizes = Answering.each, []

    def each(self, paths, *more):
        sizes.append(len(paths))
        yield from real(self, paths, *more)
        if len(sizes) > 1:
            raise MemoryError

    monkeypatch.setattr(Answering, "each", each)
    names = ["deep er/two.ogg", "silence.wav", "it's \"one\" 例.flac", "broken.mp3"]
    runs = [[json.loads(line) for line in transcribe_here(
        *(folder / name for name in names), "--json", cwd=tmp_path).stdout.splitlines()] for _ in range(2)]
    assert sizes == [3, 3]
    for rows in runs:
        assert [Path(row["input"]).name for row in rows] == [Path(name).name for name in names]
        assert [row.get("language") for row in rows[::2]] == ["ru", "it"] and "not a sound" in rows[3]["error"]
        assert word_errors(CLIP.text, rows[2]["text"], "it").wer < 0.3 and rows[1]["text"] == ""


def test_equal_names_from_two_folders_and_two_kinds_are_all_kept(tmp_path):
    """Two texts for two recordings, whatever they are called."""
    recordings = {"a/talk.flac": clips("it")[0], "b/talk.flac": CLIP, "b/talk.wav": None}
    for name, clip in recordings.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(clip.path, tmp_path / name) if clip else write_silence(tmp_path / name)
    done = transcribe_here("a/talk.flac", "b", "--language", "it", "--quiet", "--output", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    texts = {str(path.relative_to(tmp_path / "out")): path.read_text() for path in (tmp_path / "out").rglob("*.txt")}
    assert set(texts) == {"a/talk.txt", "b/talk.txt", "talk.wav.txt"}
    assert word_errors(CLIP.text, texts["b/talk.txt"], "it").wer < 0.3
    assert word_errors(clips("it")[0].text, texts["a/talk.txt"], "it").wer < 0.5


def test_standard_input_and_json(tmp_path):
    options = ("--json", "--quiet", "--words", "--language", "it")
    done = transcribe("-", *options, cwd=tmp_path, stdin=CLIP.path.read_bytes())
    row = json.loads(done.stdout)
    assert row["language"] == "it" and row["seconds_of_work"] > 0 and row["segments"][0]["words"]
    assert row["checkpoint"] == "embedded:whisper-base-it"
    assert word_errors(CLIP.text, row["text"], "it").wer < 0.3


def test_a_pipe_a_file_name_that_is_no_text_and_a_terminal_that_is_not_utf8(tmp_path):
    latin = os.fsdecode(b"caf\xe9.ogg")
    shutil.copy(clips("ru")[0].path, tmp_path / latin)
    command = [sys.executable, "-m", "shared.cli"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(["bash", "-c", '"$@" caf*.ogg <(cat caf*.ogg) --language ru --json --format txt', "bash",
                           *command], cwd=tmp_path, env=environment, capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr.decode()
    rows = [json.loads(line) for line in done.stdout.decode("ascii").splitlines()]
    assert rows[0]["input"] == latin and rows[1]["input"].startswith("/dev/fd/")
    for row in rows:
        assert word_errors(clips("ru")[0].text, row["text"], "ru").wer <= 0.5
    assert os.fsdecode(b"caf\xe9.txt") in os.listdir(tmp_path) and len(list(tmp_path.glob("pipe-*.txt"))) == 1


def test_the_reader_of_the_output_leaves_and_the_files_are_written(tmp_path):
    for name in ("one.flac", "two.flac"):
        shutil.copy(CLIP.path, tmp_path / name)
    done = subprocess.run(["bash", "-c", '"$@" . --json --format txt --quiet --language it | head -c 1', "bash",
                           sys.executable, "-m", "shared.cli"], cwd=tmp_path, capture_output=True, timeout=600,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.stdout == b"{" and done.stderr == b""
    assert [bool((tmp_path / name).read_text()) for name in ("one.txt", "two.txt")] == [True, True]


def test_the_pages_checkpoint_answers_and_is_named(tmp_path):
    english = clips("en")[0]
    done = transcribe_here(CLIP.path, english.path, "--json", cwd=tmp_path)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["checkpoint"] for row in rows] == ["embedded:whisper-base-it", "embedded:whisper-base"]
    assert "answered by whisper-base-it" in done.stderr
    assert "answered by whisper-base (comes with this program). The fine-tuned model was tuned for" in done.stderr


def test_either_of_the_configured_pair_may_be_named(tmp_path, monkeypatch):
    """Exactly that one answers, also in a language that it was not tuned for; a folder of such a name is ./base."""
    english = clips("en")[0]
    for name, answers in (("base", "embedded:whisper-base"), ("Fine-Tuned", "embedded:whisper-base-it")):
        done = transcribe_here(english.path, "--model", name, "--language", "en", "--json", cwd=tmp_path)
        assert json.loads(done.stdout)["checkpoint"] == answers
    for name, variable in (("base", "BASE"), ("fine-tuned", "FINE_TUNED")):
        monkeypatch.setenv(variable, "no such thing")
        done = transcribe_here(english.path, "--model", name, cwd=tmp_path)
        assert done.returncode == 2 and done.stdout == ""
        assert f"No {name} checkpoint is configured. Got: {variable}=no such thing. What to do: set" in done.stderr
    (tmp_path / "base").mkdir()
    done = transcribe_here(english.path, "--model", "./base", cwd=tmp_path)
    assert "no config.json in base" in done.stderr


def test_one_of_several_audio_tracks(tmp_path):
    first, second = CLIP, clips("ru")[0]
    subprocess.run([ffmpeg_executable(), "-v", "error", "-i", first.path, "-i", second.path, "-map", "0:a", "-map",
                    "1:a", "-c:a", "flac", tmp_path / "two.mkv"], check=True)
    for model in ((), ("--model", "embedded:whisper-base")):
        done = transcribe_here("two.mkv", "--track", "2", "--language", "ru", "--quiet", *model, cwd=tmp_path)
        assert done.returncode == 0 and word_errors(second.text, done.stdout, "ru").wer <= 0.5
    done = transcribe_here("two.mkv", "--track", "3", "--quiet", cwd=tmp_path)
    assert done.returncode == 1 and "track" in done.stderr


def test_compare_counts_both_sides(tmp_path, monkeypatch):
    monkeypatch.setenv("FINE_TUNED", "embedded:whisper-base-it")
    (tmp_path / "reference.txt").write_text(CLIP.text)
    done = transcribe_here(CLIP.path, "--compare", "reference.txt", "--language", "it", "--json", "--quiet",
                           cwd=tmp_path)
    base, tuned = json.loads(done.stdout)
    assert (base["side"], tuned["side"]) == ("base", "fine-tuned")
    for row in (base, tuned):
        assert row["wer"] == pytest.approx(word_errors(CLIP.text, row["text"], "it").wer)
    assert tuned["checkpoint"] == "embedded:whisper-base-it"


def test_compare_takes_the_task_and_what_is_piped_into_it(tmp_path):
    (tmp_path / "reference.txt").write_text("Thank you.")
    done = transcribe_here("-", "--compare", "reference.txt", "--language", "it", "--task", "translate", "--json",
                           "--quiet", "--model", "embedded:whisper-base", cwd=tmp_path, stdin=CLIP.path.read_bytes())
    assert done.returncode == 0, done.stderr
    base, tuned = json.loads(done.stdout)
    assert base["text"] == tuned["text"] and word_errors(CLIP.text, base["text"], "it").wer > 0.5  # it is English


@pytest.mark.parametrize("arguments, message", [
    (["nothing.wav"], "no such file"), (["no*thing"], "no such file"), (["."], "No recordings were found"),
    ([CLIP.path, "--format", "doc"], "no such format"), ([CLIP.path, "--format", ""], "no such format"),
    ([CLIP.path, "--language", "klingon"], "no such language"), ([CLIP.path, "--model", "what"], "names no checkpoint"),
    ([CLIP.path, "--langage", "en"], "did you mean --language"), ([], "required: PATH"),
    ([CLIP.path, "--task", "sing"], "invalid choice"), ([CLIP.path, "--beam-size", "0"], "beam size"),
    ([CLIP.path, "--vad-onset", "nan"], "threshold"), ([CLIP.path, "--vad-onset", "1.5"], "threshold"),
    ([CLIP.path, "--speakers", "0"], "from 1"), ([CLIP.path, "--track", "0"], "from 1"),
    ([CLIP.path, "--compute-type", "int3"], "invalid choice"), ([CLIP.path, "--device", "tpu"], "invalid choice"),
    ([CLIP.path, "--output", CLIP.path], "is a file, not a folder"),
    ([CLIP.path, "--output", "x/talk.srt"], "--format srt --output x writes"), ([""], "An empty name"),
    ([CLIP.path, "--output", ""], "a variable of the shell may not be set"),
    ([CLIP.path, "--compare", "nothing.txt"], "no such reference"),
    ([CLIP.path, "--compare", "nothing.txt", "--words", "--output", "x"], "--words --output"),
    ([CLIP.path, CLIP.path, "--compare", "nothing.txt"], "one recording"),
    (["live", "--pause", "0"], "pause is out of range"), (["live", "--vad-onset", "0"], "threshold"),
])
def test_mistakes_are_one_line(tmp_path, arguments, message):
    done = transcribe_here(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("transcribe: ")
    assert list(tmp_path.iterdir()) == []


def test_help_version_and_mistakes_import_nothing_heavy(tmp_path):
    """What is told at once costs no seconds: not one of these libraries is imported for it."""
    wrong = [["--help"], ["--version"], ["live", "--help"], ["x", "--langage", "en"], ["x", "--format", "doc"],
             ["x", "--vad-onset", "7"], ["nothing.wav"], [str(CLIP.path), "--model", "no such"],
             [str(CLIP.path), "--output", str(CLIP.path)], ["x", "--compare", "y", "--words"],
             ["live", "--output", "x.doc"], ["serve", "--port", "0"], ["serve", "--host", "0.0.0.0"]]
    code = (f"import sys\nfrom shared.cli import main\nfor words in {wrong!r}:\n"
            "    try:\n        main(words)\n    except SystemExit as end:\n        print(end.code)\n"
            "print(sorted({'torch', 'transformers', 'gradio', 'huggingface_hub'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120,
                          env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
    lines = done.stdout.splitlines()
    assert [line for line in lines if line in ("0", "2")] == ["0"] * 3 + ["2"] * 10
    assert lines[-1] == "[]" and "transcribe 0." in done.stdout


@pytest.mark.parametrize("line, code, message", [
    ('"$@" - <&-', 1, b"Nothing is piped"), ('"$@" --version >&- 2>&-', 0, b""),
    (f'"$@" {CLIP.path} --quiet > /dev/full', 1, b"No space left"),
])
def test_closed_and_full_streams_end_in_no_traceback(tmp_path, line, code, message):
    done = subprocess.run(["bash", "-c", line, "bash", sys.executable, "-m", "shared.cli"], cwd=tmp_path, timeout=600,
                          capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr
    assert done.returncode == code and message in done.stderr


def test_without_a_home_the_place_for_the_cache_is_asked_for(tmp_path):
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("WHISPER_SPACES_CACHE", "XDG_CACHE_HOME")}
    done = subprocess.run([sys.executable, "-m", "shared.cli", str(CLIP.path)], cwd=tmp_path, capture_output=True,
                          env=environment | {"PYTHONPATH": str(ROOT), "HOME": "/dev/null"}, timeout=600)
    message = done.stderr.decode()
    assert done.returncode == 2 and len(message.splitlines()) == 1
    assert "cache cannot be written" in message and "WHISPER_SPACES_CACHE" in message


DOCUMENTED = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")


PARSERS = [cli_options.files_parser(), cli_options.live_parser(), cli_options.serve_parser(),
           cache.parser()]


@pytest.mark.parametrize("parser", PARSERS, ids=lambda one: one.prog)
def test_every_option_is_documented_and_helped(parser):
    section = DOCUMENTED.partition(f"## `{parser.prog}`\n")[2].partition("\n## ")[0]
    assert section
    for action in parser._actions:
        name = next((option for option in action.option_strings if option.startswith("--")), action.metavar)
        assert action.help and f"`{name}" in section, name
    known = {option for action in parser._actions for option in action.option_strings}
    assert {word for word in section.replace("`", " ").split() if re.fullmatch(r"--[a-z][a-z-]*", word)} <= known


def test_a_folder_that_is_gone_is_reported(tmp_path):
    """A library ended the process with a message of its own."""
    (tmp_path / "gone").mkdir()
    code = f"import os; os.chdir({str(tmp_path / 'gone')!r}); os.rmdir(os.getcwd()); " \
           "from shared.cli import main; main(['x.wav'])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                           env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert found.returncode == 2 and "folder in which this was started is gone" in found.stderr
