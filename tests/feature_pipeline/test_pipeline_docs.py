"""Every command of docs/features.md, run as it stands on a folder of real recordings laid out as the page says."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from paths import ROOT
from speech import clips

from feature_pipeline import build, transcribe
from feature_pipeline.config import load

PAGE = (ROOT / "docs/features.md").read_text(encoding="utf-8")
COMMANDS = dict(re.findall(r"<!-- test: (.+?) -->\n    python -m (.+)\n", PAGE))
SPEAKERS = ("anna", "bo", "carl")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """The repository's folder as a newcomer has it, but for what the commands write."""
    (tmp_path / "feature_pipeline").symlink_to(ROOT / "feature_pipeline")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def recordings(home: Path, layout: str) -> None:
    folder = home / "recordings"
    table = [("file_name", "text", "speaker")]
    for clip, speaker in zip(clips("en"), SPEAKERS, strict=True):
        path = folder / speaker / clip.path.name
        path.parent.mkdir(parents=True)
        shutil.copy(clip.path, path)
        table.append((f"{speaker}/{path.name}", clip.text, speaker))
        if layout == "text":
            path.with_suffix(".txt").write_text(clip.text, encoding="utf-8")
        elif layout == "subtitles":
            path.with_suffix(".srt").write_text(f"1\n00:00:00,000 --> 00:00:03,000\n{clip.text}\n", encoding="utf-8")
    if layout == "table":
        with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(table)


def run(name: str, **replace: str) -> Path:
    words = shlex.split(COMMANDS[name])
    for old, new in replace.items():
        words = [word.replace(old, new) for word in words]
    module = {"feature_pipeline.build": build, "feature_pipeline.transcribe": transcribe}[words[0]]
    assert module.main([*words[1:], "workers=1"]) == 0
    return Path("data/my-recordings")


def rows(out: Path) -> dict:
    return json.loads((out / "manifest.json").read_text())["sources"][0]


def test_every_command_of_the_page_is_tested():
    assert PAGE.count("    python -m feature_pipeline") - 1 == len(COMMANDS)  # the first shows the form of all


def test_text_beside_each_clip(home, capsys):
    recordings(home, "text")
    out = run("a text file beside each clip")
    assert rows(out)["rows_kept"] == 3
    assert f"report: {(out / 'report.html').absolute()}" in capsys.readouterr().out


@pytest.mark.parametrize("layout", ["table", "subtitles"])
def test_a_table_or_subtitles(layout, home):
    recordings(home, layout)
    assert rows(run("a table"))["rows_kept"] == 3
    run("a limit")
    run("a zip")
    assert (home / "my-recordings.zip").stat().st_size > 50_000


def test_the_hub(home, hub, capsys):
    recordings(home, "table")
    run("the Hub", USER="tester")
    assert "pushed to tester/my-recordings@" in capsys.readouterr().out


def test_labels_and_verdicts(home):
    recordings(home, "table")
    out = run("labels")
    page = (out / "labels.html").read_text()
    assert page.count("<li data-id=") == 3
    names = re.findall(r'<li data-id="(.+?)"', page)
    (home / "my-recordings.verdicts.csv").write_text(f"id,verdict,text\n{names[0]},drop,\n")
    assert rows(run("verdicts"))["rows_kept"] == 2


def test_an_archive(home):
    recordings(home, "none")
    (home / "recordings/anna/broken.mp3").write_text("no sound")
    run("an archive")
    lines = [json.loads(line) for line in Path("data/my-recordings/transcripts.jsonl").read_text().splitlines()]
    texts = {line["id"].rsplit("/", 1)[-1]: line.get("text", "").lower() for line in lines}
    assert "cold" in texts["en_austen-0890.ogg"] and "amiable" in texts["en_austen-0930.flac"]
    assert [line["id"] for line in lines if "error" in line] == ["mine/anna/broken.mp3"]
    assert all(line["segments"][0]["end"] <= line["duration"] + 0.5 for line in lines if "segments" in line)


def test_the_page_names_every_config_and_every_setting_it_mentions_exists():
    for path in (ROOT / "feature_pipeline/configs").glob("*.yaml"):
        assert path.stem in PAGE or f"{path.stem.rsplit('-', 1)[0]}-" in PAGE, path.name
    config = load(ROOT / "feature_pipeline/configs/my-recordings.yaml", ["label_check.listed=5"])
    for name in re.findall(r"`((?:clean|split|output|label_check)\.\w+)", PAGE):
        part, key = name.split(".")
        assert hasattr(getattr(config, part), key), name
