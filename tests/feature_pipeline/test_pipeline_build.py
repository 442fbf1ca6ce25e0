"""A build from end to end on a small folder of real speech: what it writes, how it resumes, what it refuses."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import corpora
import pytest
import yaml
from datasets import Audio, load_dataset
from paths import ROOT

from feature_pipeline import workers
from feature_pipeline.build import build, main
from feature_pipeline.config import load
from shared.errors import UserError


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return corpora.folder(tmp_path_factory.mktemp("corpus"), n_rows=160)


def config_file(path: Path, corpus: Path, **more) -> Path:
    settings = {"name": "small", "workers": 1,
                "sources": [{"kind": "folder", "name": "mine", "path": str(corpus), "language": "en"}],
                "output": {"shard_mb": 2}, "clean": {"max_same_name": 0}, **more}
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def digests(out: Path) -> dict[str, str]:
    files = [*sorted((out / "data").glob("*")), out / "manifest.json", out / "README.md", out / "report.html"]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def built(corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    return build(load(config_file(folder / "small.yaml", corpus), [f"out={folder / 'out'}"]), say=lambda line: None)


def test_plain_datasets_reads_the_shards(built, corpus):
    data = load_dataset("parquet", data_files={split: str(built / f"data/{split}-*.parquet")
                                               for split in ("train", "validation", "test")}, cache_dir=built / "cache")
    data = data.cast_column("audio", Audio(decode=False))
    rows = {row["id"]: row for split in data.values() for row in split}
    assert list(data["train"].features) == ["id", "audio", "text", "language", "speaker", "duration", "source"]
    assert len(list((built / "data").glob("train-*"))) > 1  # shards of 2 MB
    row = rows["mine/clips/00007.wav"]
    assert row["audio"] == {"bytes": (corpus / "clips/00007.wav").read_bytes(), "path": "00007.wav"}
    assert (row["text"], row["speaker"], row["language"]) == (corpora.sentence(7), "voice-2", "en")
    assert row["duration"] == pytest.approx(1.0)


def test_manifest_accounts_for_every_row_and_byte(built):
    facts = json.loads((built / "manifest.json").read_text())
    kept = sum(split["rows"] for split in facts["splits"].values())
    assert kept + sum(drop["rows"] for drop in facts["drops"]) == facts["sources"][0]["rows"] == 160
    assert kept == sum(shard["rows"] for shard in facts["shards"])
    for shard in facts["shards"]:
        assert hashlib.sha256((built / shard["file"]).read_bytes()).hexdigest() == shard["sha256"]
    assert facts["sizes"]["ratio_to_source"] <= 1.05
    text = (built / "manifest.json").read_text() + (built / "README.md").read_text()
    assert str(built) not in text  # nothing of the machine it was made on


def test_card_is_what_the_hub_reads(built):
    text = (built / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front["language"] == ["en"]
    assert {item["split"] for item in front["configs"][0]["data_files"]} == {"train", "validation", "test"}


def test_personal_columns_leave_only_when_asked_for(built, corpus, tmp_path):
    assert "thirties" not in (built / "manifest.json").read_text()
    out = build(load(config_file(tmp_path / "c.yaml", corpus, keep=["age"]), [f"out={tmp_path / 'out'}"]),
                say=lambda line: None)
    data = load_dataset("parquet", data_files=str(out / "data/test-*.parquet"), split="train",
                        cache_dir=tmp_path / "cache")
    assert set(data["age"]) == {"thirties"}


def test_same_input_same_bytes_whatever_the_workers_and_the_place(built, corpus, tmp_path):
    out = build(load(config_file(tmp_path / "small.yaml", corpus), [f"out={tmp_path / 'elsewhere'}", "workers=2"]),
                say=lambda line: None)
    assert digests(out) == digests(built)


def test_nothing_is_done_twice_and_a_change_is_named(built, corpus, tmp_path):
    config = config_file(tmp_path / "small.yaml", corpus)
    messages: list[str] = []
    out = build(load(config, [f"out={tmp_path / 'out'}"]), say=messages.append)
    before = (out / "manifest.json").stat().st_mtime_ns
    build(load(config, [f"out={tmp_path / 'out'}"]), say=messages.append)
    assert "nothing has changed" in messages[-1] and (out / "manifest.json").stat().st_mtime_ns == before
    build(load(config, [f"out={tmp_path / 'out'}", "clean.max_seconds=20"]), say=messages.append)
    assert any("clean.max_seconds from 30.0 to 20" in line for line in messages)


@pytest.mark.parametrize(("n_long", "expected"), [
    (0, []), (2, ["dropped: 2 of 40 rows: too long (2)"]),
    (34, ["dropped: 34 of 40 rows: too long (34)",
          "note: more than half was dropped. The report has examples; where they are good, set the limit under "
          "`clean` that does not suit this corpus"]),
])
def test_what_was_dropped_is_told_and_more_loudly_where_it_is_most(n_long, expected, tmp_path):
    corpus = corpora.folder(tmp_path / "corpus", n_rows=40)
    for n in range(n_long):
        corpora.write_wav(corpus / f"clips/{n:05d}.wav", corpora.piece(n, 1.5))
    messages: list[str] = []
    config = config_file(tmp_path / "small.yaml", corpus)
    build(load(config, [f"out={tmp_path / 'out'}", "clean.max_seconds=1.2"]), say=messages.append)
    assert [line for line in messages if line.startswith(("dropped", "note"))] == expected


def test_a_changed_recording_starts_anew(tmp_path):
    corpus = corpora.folder(tmp_path / "corpus", n_rows=40)
    config = load(config_file(tmp_path / "small.yaml", corpus), [f"out={tmp_path / 'out'}"])
    before = digests(build(config, say=lambda line: None))
    corpora.write_wav(corpus / "clips/00003.wav", corpora.piece(1000))
    messages: list[str] = []
    after = digests(build(config, say=messages.append))
    assert any("sources.mine" in line for line in messages) and before != after


def names(folder: Path) -> set[str]:
    return {path for path, _, files in os.walk(folder) for path in (path, *(f"{path}/{name}" for name in files))}


def run_and_kill(command: list[str], out: Path, n_changes: int, delay: float) -> bool:
    """Start a build and kill it once so many files have come or gone; True if it had ended by itself."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    before, changes = names(out), 0
    while process.poll() is None and changes < n_changes:
        now = names(out)
        changes += len(now ^ before)
        before = now
        time.sleep(0.002)
    time.sleep(delay)
    process.kill()  # SIGKILL, to the build alone: its workers must notice by themselves
    return process.wait() != -signal.SIGKILL


def killed_often(corpus: Path, folder: Path, n_kills: int, seed: int) -> tuple[dict[str, str], int]:
    """Digests of a build that was killed again and again, at random distances, and how often it was."""
    config = config_file(folder / "small.yaml", corpus)
    command = [sys.executable, "-m", "feature_pipeline.build", str(config), f"out={folder / 'out'}", "workers=2"]
    chance, kills = random.Random(seed), 0
    while kills < n_kills and not run_and_kill(command, folder / "out", chance.randint(1, 4), chance.uniform(0, 0.03)):
        kills += 1
    assert main(command[3:]) == 0
    assert not [name for name in names(folder / "out") if name.endswith(".draft")]
    return digests(folder / "out"), kills


def test_killed_in_the_middle_it_goes_on_to_the_same_bytes(built, corpus, tmp_path):
    found, kills = killed_often(corpus, tmp_path, n_kills=3, seed=3)
    assert kills == 3
    assert found == digests(built)


@pytest.mark.slow
def test_killed_twenty_times_it_goes_on_to_the_same_bytes(tmp_path):
    """One build, killed 20 times on its way from the first listed row to the last file put in place."""
    corpus = corpora.folder(tmp_path / "corpus", n_rows=1200)
    whole = digests(build(load(config_file(tmp_path / "w.yaml", corpus), [f"out={tmp_path / 'whole'}"]),
                          say=lambda line: None))
    found, kills = killed_often(corpus, tmp_path, n_kills=20, seed=20)
    assert kills == 20
    assert found == whole


def test_stopped_by_hand_it_says_how_to_go_on(built, corpus, tmp_path):
    config = config_file(tmp_path / "small.yaml", corpus)
    command = [sys.executable, "-m", "feature_pipeline.build", str(config), f"out={tmp_path / 'out'}", "workers=2"]
    # A shell's background job, as a CI runner may be, hands "ignore SIGINT" down to its children: back to the default.
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    while not (tmp_path / "out/.build/listed/complete.json").exists():
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    messages = process.communicate()[1]
    assert process.returncode == 130 and "goes on" in messages and "Traceback" not in messages, messages
    assert main(command[3:]) == 0
    assert digests(tmp_path / "out") == digests(built)


def test_a_worker_that_is_ended_from_outside_is_an_error(tmp_path):
    with pytest.raises(UserError, match="want of memory"):
        list(workers.run(_die, [(tmp_path, tmp_path)] * 3, 2))


def _die(source: Path, target: Path) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def test_a_full_disk_is_an_error_and_loses_nothing(built, corpus, tmp_path):
    """RLIMIT_FSIZE stands for the disk: the write fails inside the kernel in the same place."""
    config = config_file(tmp_path / "small.yaml", corpus)
    command = [sys.executable, "-m", "feature_pipeline.build", str(config), f"out={tmp_path / 'out'}"]
    limit = 1_000_000  # less than a shard of 2 MB, more than any chunk (those refer to the files)

    def small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=small_disk)
    assert done.returncode == 2 and "The disk is full" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and not list(tmp_path.rglob("*.draft"))
    checked = sorted((tmp_path / "out/.build/checked").glob("*.parquet"))
    assert len(checked) == 3
    assert main([*command[3:], "workers=2"]) == 0
    assert digests(tmp_path / "out") == digests(built)


def test_two_builds_do_not_write_to_one_folder(built, corpus, tmp_path):
    from filelock import FileLock

    config = load(config_file(tmp_path / "small.yaml", corpus), [f"out={tmp_path / 'out'}"])
    (tmp_path / "out/.build").mkdir(parents=True)
    with FileLock(tmp_path / "out/.build/lock"), pytest.raises(UserError, match="Another build"):
        build(config, say=lambda line: None)


def test_an_unreadable_file_is_dropped_and_counted(tmp_path):
    corpus = corpora.folder(tmp_path / "corpus", n_rows=40)
    (corpus / "clips/00004.wav").write_bytes(b"not sound at all")
    (corpus / "clips/00005.wav").unlink()
    (corpus / "clips/00006.wav").write_bytes(b"")
    out = build(load(config_file(tmp_path / "small.yaml", corpus), [f"out={tmp_path / 'out'}"]), say=lambda line: None)
    drops = json.loads((out / "manifest.json").read_text())["drops"]
    (drop,) = [drop for drop in drops if drop["reason"] == "undecodable"]
    assert drop["rows"] == 3
    assert [example["id"] for example in drop["examples"]] == [f"mine/clips/0000{n}.wav" for n in (4, 5, 6)]


@pytest.mark.parametrize(("change", "message"), [
    ({"sauces": []}, r"unknown key.*sauces.*did you mean sources"),
    ({"clean": {"max_second": 3}}, r"unknown key.*max_second.*legal keys: min_seconds"),
    ({"clean": {"max_seconds": "long"}}, r"max_seconds must be a number"),
    ({"sources": [{"kind": "folder", "pat": "x", "language": "en"}]}, r"folder.* unknown key.*did you mean path"),
    ({"sources": [{"kind": "tape"}]}, r"unknown kind.*common_voice"),
    ({"sources": []}, "names no source"),
    ({"output": {"audio": "mp3"}}, "choose from original, flac, opus"),
    ({"verdicts": "missing.csv"}, "not there.*missing.csv"),
    ({"sources": [{"kind": "folder", "path": "/nowhere", "language": "en"}]}, "no such folder"),
])
def test_a_wrong_config_is_one_line_that_helps(change, message, corpus, tmp_path, capsys):
    config = config_file(tmp_path / "bad.yaml", corpus, **change)
    assert main([str(config), f"out={tmp_path / 'out'}"]) == 2
    assert re.search(message, capsys.readouterr().err, re.S)


def test_overrides_reach_every_key(corpus, tmp_path):
    config = load(config_file(tmp_path / "small.yaml", corpus),
                  ["clean.max_seconds=12", "sources.0.speaker_column=speaker", "split.by=[sentence]",
                   "label_check.listed=5"])
    assert config.clean.max_seconds == 12.0 and config.sources[0].corpus.speaker_column == "speaker"
    assert config.split.by == ("sentence",) and config.label_check.listed == 5
    with pytest.raises(UserError, match="key=value"):
        load(tmp_path / "small.yaml", ["clean.max_seconds"])


def test_every_shipped_config_is_legal():
    for path in sorted((ROOT / "feature_pipeline/configs").glob("*.yaml")):
        config = load(path)
        assert config.name == path.stem and config.out == f"data/{config.name}"


def test_a_column_to_keep_that_is_not_there_is_answered_with_those_that_are(corpus, tmp_path):
    config = load(config_file(tmp_path / "small.yaml", corpus, keep=["gender"]), [f"out={tmp_path / 'out'}"])
    with pytest.raises(UserError, match=r"no such column.*gender.*Limit: age"):
        build(config, say=lambda line: None)


def test_a_language_whisper_has_no_token_for_keeps_its_rows(tmp_path):
    """Uyghur, whose speech goes by Uzbek's token: the texts are judged by their own script."""
    corpus = corpora.folder(tmp_path / "corpus", n_rows=30)
    letters = "ياخشىمۇسىزبۈگۈنھاۋا"
    texts = [f"{letters[n % 12 :][:5]} {letters[n % 7 :][:6]} {letters[n % 5 :][:9]}" for n in range(30)]
    (corpus / "metadata.csv").write_text("file_name,text\n" + "".join(
        f"clips/{n:05d}.wav,{text}\n" for n, text in enumerate(texts)), encoding="utf-8")
    source = {"kind": "folder", "name": "mine", "path": str(corpus), "language": "uz", "text_language": "Uyghur"}
    config = load(config_file(tmp_path / "c.yaml", corpus, sources=[source]), [f"out={tmp_path / 'out'}"])
    facts = json.loads((build(config, say=lambda line: None) / "manifest.json").read_text())
    assert not [drop for drop in facts["drops"] if drop["reason"] == "wrong script"]
    assert facts["sources"][0]["rows_kept"] == 30 and facts["sources"][0]["text_language"] == "ug"
    assert facts["sources"][0]["languages"] == ["uz"]
