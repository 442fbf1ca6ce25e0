"""One recipe for many languages: what is refused at once, and two from recordings to the table, killed between."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from paths import DATA, ROOT
from training_world import random_base

from shared.errors import UserError
from training.languages import load, outcomes, table
from training.languages.work import splits, work

SHIPPED = ROOT / "training/configs/languages.yaml"
CLIPS = {"it": ["it_priv-introsaved.flac", "it_vm-mailboxfull.flac", "it_vm-tmpexists.flac"],
         "en": ["en_austen-0880.flac", "en_austen-0890.ogg", "en_austen-0930.flac"],
         "es": ["es_pls-hold-while-try.ogg"]}


def recordings(folder: Path, files: list[str], splits: tuple[str, ...]) -> Path:
    folder.mkdir(parents=True)
    with (DATA / "clips.csv").open(encoding="utf-8") as file:
        texts = {row["file"]: row["text"] for row in csv.DictReader(file)}
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as out:
        lines = csv.writer(out)
        lines.writerow(["file_name", "text", "split"])
        for name, split in zip(files, splits, strict=True):
            shutil.copyfile(DATA / name, folder / name)
            lines.writerow([name, texts[name], split])
    return folder


@pytest.fixture
def recipe(tmp_path) -> Path:
    """Italian, a language without recordings, and English; for Italian also the recordings of another voice."""
    for language in ("it", "en"):
        recordings(tmp_path / "recordings" / language, CLIPS[language], ("train", "validation", "test"))
    recordings(tmp_path / "recordings/es", CLIPS["es"], ("test",))
    sources = [{"kind": "folder", "name": "clips", "path": str(tmp_path / "recordings"), "language": "es"}]
    data = {"name": "clips", "out": "data/es", "workers": 1, "split": {"by": "sentence"}, "sources": sources}
    sources[0]["path"] = str(tmp_path / "recordings/es")
    (tmp_path / "clips.yaml").write_text(yaml.safe_dump(data))
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump({
        "name": "two", "languages": ["it", "sv", "en"], "data": "clips.yaml", "min_steps": 2, "max_steps": 2,
        "data_options": ["name={data}-{language}", "out=data/{language}", "sources.0.language={language}",
                         f"sources.0.path={tmp_path / 'recordings'}/{{language}}"],
        "training": {"base": str(random_base(tmp_path / "base", writes="la")),
                     "method": {"kind": "lora", "lora_rank": 2},
                     "steps": {"batch_size": 1, "eval_steps": 2, "warmup": 0}},
        "evaluation": ["full_context=false"], "unseen": {"it": "clips.yaml"}}))
    return path


def start(recipe: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "training.languages", recipe.name, *options], cwd=recipe.parent,
                            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(there: Path, process: subprocess.Popen[str]) -> None:
    while not there.is_file():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_languages_killed_and_taken_up_again_and_one_that_is_broken(recipe, monkeypatch):
    folder = recipe.parent / "runs/two"
    first = start(recipe)
    wait_for(folder / "en.yaml", first)  # Italian is done, Swedish has failed, English is about to be trained
    wait_for(folder / ".child", first)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    (pid,) = [json.loads((folder / ".child").read_text())["pid"]] if (folder / ".child").is_file() else [None]
    scored = folder / "it/evaluation/scores.json"
    before = scored.stat().st_mtime_ns
    second = start(recipe)
    printed, errors = second.communicate()
    assert second.returncode == 1, printed + errors
    assert pid is None or not psutil.pid_exists(pid)  # what the killed one left running was ended
    assert "it: done already" in printed and scored.stat().st_mtime_ns == before
    assert "sv: failed, data set: " in printed and "Swedish (sv): failed, data set: " in printed
    monkeypatch.chdir(recipe.parent)
    found = outcomes(load(recipe.name))
    assert [(one.language, one.done, bool(one.problem)) for one in found] == [
        ("it", True, False), ("sv", False, True), ("en", True, False)]
    text = (folder / "table.md").read_text(encoding="utf-8")
    assert text.count("| Italian (it) |") == 2 and text.count("| English (en) |") == 1
    scores = json.loads(scored.read_text())
    assert f"{scores['systems']['base, canary']['wer']:.1f}" in text and "1 clips, 8 words" in text
    assert table(load(recipe.name), found) == text
    other = outcomes(load(recipe.name, ["passes=7"]))
    assert not any(one.done for one in other)  # other settings are another piece of work


@pytest.mark.slow
def test_a_language_of_which_hardly_a_clip_is_left_is_not_trained(recipe, monkeypatch):
    monkeypatch.chdir(recipe.parent)
    few = load(recipe.name, ["languages=[it]", "unseen={}", "training.steps.batch_size=4"])
    (found,) = work(few, lambda line: None)
    assert not found.done and "Too few clips are left to learn from" in found.problem
    assert not (recipe.parent / "runs/two/it").exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_several_runs_of_a_language_become_one(recipe, monkeypatch):
    """Each with its own seed; the mixture has the language's name, is scored, and is not made twice."""
    monkeypatch.chdir(recipe.parent)
    two = load(recipe.name, ["languages=[it]", "unseen={}", "runs=2"])
    (found,) = work(two, lambda line: None)
    assert found.done, found.problem
    runs = {name: json.loads((two.folder / name / "run.json").read_text()) for name in ("it-1", "it-2", "it")}
    assert [part["name"] for part in runs["it"]["parts"]] == ["it-1", "it-2"]
    assert [runs[name]["config"]["seed"] for name in ("it-1", "it-2")] == [1, 2]
    assert {"training", "mixture", "evaluation"} <= set(found.seconds)
    assert "| Italian (it) |" in (two.folder / "table.md").read_text()
    said: list[str] = []
    work(two, said.append)
    assert said == ["it: done already"]


def test_a_data_set_that_is_gone_is_named(tmp_path):
    with pytest.raises(UserError, match=r"data set is gone.*nowhere"):
        splits(str(tmp_path / "nowhere"))


def test_the_recipe_that_is_shipped_is_legal(monkeypatch):
    monkeypatch.chdir(ROOT)
    recipe = load(SHIPPED)
    assert recipe.name == SHIPPED.stem and len(recipe.languages) == 9
    few, some, many = (recipe.run("da", n).steps for n in (10, 400, 10**6))
    assert (few.max_steps, some.max_steps, many.max_steps) == (recipe.min_steps, 150, recipe.max_steps)
    assert few.eval_steps == 15 and recipe.run("da", 10).data[0].path == "data/tuxpaint-da"
    assert [one.language for one in outcomes(recipe)] == list(recipe.languages)
    spelled = load(SHIPPED, ["languages=[en]", "data_options=[name=english]", "evaluation=['dictionary={language}']"])
    assert spelled.scoring("en") == ("dictionary=en",) and recipe.scoring("da") == ("full_context=false",)
    assert recipe.parts("da") == ("da",) and recipe.run("da", 400).seed == 1
    three = load(SHIPPED, ["runs=3"])
    assert three.parts("da") == ("da-1", "da-2", "da-3")
    assert [(one.name, one.seed) for one in (three.run("da", 400, n) for n in (0, 2))] == [("da-1", 1), ("da-3", 3)]


@pytest.mark.parametrize(("option", "match"), [
    ("languages=[]", "each language once.*none"),
    ("languages=[da,el,da]", "each language once.*da, el, da"),
    ("languages=[da,Frnch]", "no such language|Frnch"),
    ("languages=[sv]", "not packaged in this language.*sv"),
    ("passes=0", "number of steps"),
    ("min_steps=500", "min_steps 500"),
    ("evaluation=['dictionary=x{language}']", "No dictionary of that name.*xda"),
    ("evaluation=[beem_size=5]", "unknown|no such|beem_size"),
    ("runs=0", "how many runs become one.*0.*1 to 10"), ("runs=11", "how many runs become one"),
    ("data=nowhere.yaml", "no such config.*nowhere"),
    ("unseen.es=nowhere.yaml", "no such config.*nowhere"),
    ("data_options=['sources.0.language={language}']", "Two languages would write one data set"),
    ("training.language=fr", "follows from the language.*language"),
    ("training.steps.max_steps=3", "follows from the language.*max_steps"),
    ("training.steps.learning_rate=0", "learning_rate is out of range"),
    ("training.stepps.batch_size=3", "unknown key.*stepps"),
    ("name=../x", "name of a folder"),
])
def test_what_cannot_be_is_refused_before_any_work(option, match, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=match):
        load(SHIPPED, [option])
