"""A training run as a job on the (local) Hub: what is refused first, what is asked for, and a run that is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest
import yaml
from hub_server import HubServer, environment
from paths import ROOT
from training_world import random_base, small_data, tiny

from feature_pipeline.settings import plain
from shared.errors import UserError
from training.config import COMPLETE
from training.jobs import Options, sent, train
from training.jobs.script import Kept

RUNS = "tester/whisper-spaces-runs"


@pytest.fixture
def config(hub, tmp_path, monkeypatch) -> Path:
    """A config in an otherwise empty working folder: a base on the Hub, and a data set that is built."""
    monkeypatch.chdir(tmp_path)
    small_data(Path("data/clips"), train=["it_priv-introsaved.flac", "it_vm-mailboxfull.flac"],
               validation=["it_vm-tmpexists.flac"])
    described = plain(tiny(("tester/base", "data/clips"), Path("runs"), name="clips"))
    path = tmp_path / "clips.yaml"
    path.write_text(yaml.safe_dump(described))
    hub.machines.run_jobs = False
    return path


def finished(hub: HubServer, config: Path, name: str = "clips") -> Path:
    """A run in the bucket as a job leaves it, with two bytes of model."""
    folder = hub.machines.create(RUNS) / name
    (folder / "model").mkdir(parents=True)
    shutil.copyfile(config, folder / "config.yaml")
    (folder / "model/weights").write_bytes(b"ab")
    (folder / f"model/{COMPLETE}").touch()
    return folder


@pytest.mark.parametrize(("changed", "told"), [
    (["name=a b"], "letters, digits"),
    (["base=BASE"], "publish it"),
    (["data.0.path=data/none"], "not built yet"),
    (["data.0.path=ABSOLUTE"], "relative to this one"),
    (["data.0.path=../clips"], "relative to this one"),
    (["out=ABSOLUTE"], "relative to this one"),
], ids=["name", "folder as base", "no data", "absolute data", "data above", "absolute out"])
def test_what_a_job_could_not_do_is_refused_before_the_hub_is_asked(changed, told, hub, config, tmp_path):
    (tmp_path / "base").mkdir()
    places = {"BASE": str(tmp_path / "base"), "ABSOLUTE": str(tmp_path / "data/clips")}
    words = [word.partition("=") for word in changed]
    with pytest.raises(UserError, match=told):
        train(config, [f"{key}={places.get(value, value)}" for key, _, value in words], Options())
    assert not hub.requests


@pytest.mark.parametrize("hours", [0, -1, float("nan"), 1000])
def test_a_time_limit_out_of_range_is_refused(hours):
    with pytest.raises(UserError, match="above 0, at most 240"):
        Options(hours=hours)


@pytest.mark.parametrize(("token", "options", "told"), [
    (None, Options(), "needs a Hugging Face token"),
    ("read_token", Options(), "may only read"),
    ("token", Options(owner="stranger"), "tester, team"),
    ("token", Options(flavor="h9000"), r"h9000.*cpu-basic \(0\.01 \$ an hour\), t4-small \(0\.40 \$ an hour\)"),
], ids=["nobody", "reader", "another's", "no such machine"])
def test_what_the_hub_would_refuse_is_refused_before_anything_is_sent(token, options, told, hub, config, monkeypatch):
    if token:
        monkeypatch.setenv("HF_TOKEN", getattr(hub, token))
    else:
        monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match=told):
        train(config, [], options)
    assert not [one for one in hub.requests if one.method != "GET"]


def test_nothing_is_sent_before_the_price_is_agreed_to(hub, config):
    lines: list[str] = []

    def no() -> None:
        raise UserError("No job was started")

    with pytest.raises(UserError, match="No job was started"):
        train(config, [], Options(hours=2), agreed=no, say=lines.append)
    assert "at most 2 h 00 min for at most 0.80 $" in lines[0] and "your token" in lines[1]
    assert not [one for one in hub.requests if one.method != "GET"]


def test_what_a_job_is_asked_for(hub, config):
    """The real client's request: machine, limit, the commit and the bucket as volumes, and what the commit holds."""
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        if line.startswith("job "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, [], Options(hours=2), say=say)
    (job,) = hub.machines.jobs
    assert job.asked["flavor"] == "t4-small" and job.asked["timeoutSeconds"] == 7200
    assert job.asked["secrets"] == {"HF_TOKEN": hub.token} and job.asked["labels"]["whisper-spaces-run"] == "clips"
    assert job.asked["command"] == ["uv", "run", "/input/job.py", "/input", "/runs/clips"]
    data, bucket = job.asked["volumes"]
    assert bucket == {"type": "bucket", "source": RUNS, "mountPath": "/runs"} and hub.machines.private[RUNS]
    repo = hub.store.repo("dataset", data["source"])
    assert repo.private and repo.branches["main"] == data["revision"]
    there = hub.read("dataset", data["source"], data["revision"])
    assert there["work/data/clips/data/train-00000-of-00001.parquet"] == Path(
        "data/clips/data/train-00000-of-00001.parquet").read_bytes()
    assert {"job.py", "config.yaml", "whisper-spaces.tar.gz", "work/data/clips/manifest.json"} <= set(there)


def test_the_same_command_watches_the_job_that_runs_and_ctrl_c_leaves_it(hub, config):
    """Ctrl-C comes with the first line of the log; a second start finds the job, and then the run it has finished."""
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        if line == "step 1":
            raise KeyboardInterrupt

    asked: list[str] = []
    for turn in (1, 2):
        if turn == 2:
            (job,) = hub.machines.jobs
        starter = threading.Thread(target=lambda: [hub.machines.wait_for_job(), hub.machines.jobs[0].says("step 1")])
        starter.start()
        with pytest.raises(KeyboardInterrupt):
            train(config, [], Options(), agreed=lambda: asked.append("yes"), say=say)
        starter.join()
    assert hub.machines.jobs == [job] and job.stage == "RUNNING" and asked == ["yes"]
    assert f"hf jobs cancel tester/{job.id}" in lines[-1]
    finished(hub, config)
    job.ends("COMPLETED")
    folder = train(config, [], Options(), say=lines.append)
    assert (folder / "model/weights").read_bytes() == b"ab" and len(hub.machines.jobs) == 1


def test_a_job_that_does_not_end_well_is_told_and_leaves_nothing(hub, config):
    starter = threading.Thread(target=lambda: [hub.machines.wait_for_job(), hub.machines.jobs[0].kill("Job timeout")])
    starter.start()
    with pytest.raises(UserError, match=r"ERROR, Job timeout.*goes on from the last checkpoint"):
        train(config, [], Options(), say=lambda line: None)
    starter.join()
    assert not Path("runs").exists()


def test_a_finished_run_is_fetched_without_a_job(hub, config):
    finished(hub, config)
    folder = train(config, [], Options(), say=lambda line: None)
    assert (folder / f"model/{COMPLETE}").is_file() and not hub.machines.jobs
    lines: list[str] = []
    assert train(config, [], Options(), say=lines.append) == folder and lines == [f"{folder} is done already"]


def test_a_run_of_other_settings_under_the_name_is_refused(hub, config):
    finished(hub, config)
    with pytest.raises(UserError, match=r"bucket holds a run with other settings.*seed differ"):
        train(config, ["seed=7"], Options())
    assert not hub.machines.jobs


def test_a_run_that_has_begun_here_is_not_begun_there(hub, config):
    Path("runs/clips/checkpoint-2").mkdir(parents=True)
    with pytest.raises(UserError, match="has begun on this machine"):
        train(config, [], Options())


def test_a_file_that_comes_short_leaves_no_run(hub, config):
    folder = finished(hub, config)
    hub.fail("resolve/clips/model/weights", drop_after=1, times=20)
    with pytest.raises(UserError, match=r"fetching the run|came short"):
        train(config, [], Options(), say=lambda line: None)
    assert (folder / "model/weights").is_file() and not Path("runs/clips").exists()


def test_a_public_place_is_refused(hub, config):
    hub.machines.create(RUNS, private=False)
    with pytest.raises(UserError, match="bucket for runs is public"):
        train(config, [], Options(), say=lambda line: None)
    hub.add("dataset", "tester/whisper-spaces-jobs", {"a": b"b"})
    with pytest.raises(UserError, match="is public"):
        train(config, [], Options(), say=lambda line: None)
    assert not hub.machines.jobs


def test_the_archive_is_the_project_and_always_the_same(tmp_path):
    first = sent._archive.__wrapped__()
    assert first == sent._archive()
    (tmp_path / "a.tar.gz").write_bytes(first)
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        names = {name.removeprefix("whisper-spaces/") for name in archive.getnames()}
    tracked = {str(path.relative_to(ROOT)) for folder in ("shared", "training") for path in (ROOT / folder).rglob("*")
               if path.is_file() and not {"__pycache__", "speakers"} & set(path.parts)}
    assert tracked | {"pyproject.toml", "requirements.txt"} <= names


def checkpoint(run: Path, step: int, whole: bool = True) -> Path:
    folder = run / f"checkpoint-{step}"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner/weights").write_text(str(step))
    if whole:
        (folder / COMPLETE).touch()
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("checkpoint-*") if (path / COMPLETE).is_file())


def test_the_bucket_always_holds_a_run_to_go_on_from(tmp_path):
    """New checkpoints come before old ones go, unfinished ones never count, and the end has the model alone."""
    run, bucket = tmp_path / "runs/a", tmp_path / "bucket/a"
    copies = Kept(run, bucket)
    assert copies.restore() == []
    checkpoint(run, 2)
    checkpoint(run, 4, whole=False)
    (run / "config.yaml").write_text("a: 1")
    copies.update()
    assert names(bucket) == ["checkpoint-2"] and (bucket / "config.yaml").read_text() == "a: 1"
    (run / "checkpoint-4" / COMPLETE).touch()
    shutil.rmtree(run / "checkpoint-2")
    copies.update()
    assert names(bucket) == ["checkpoint-4"]
    checkpoint(bucket, 6, whole=False)  # of a job that was killed while it copied
    other = Kept(tmp_path / "other", bucket)
    assert other.restore() == ["checkpoint-4"] and not (bucket / "checkpoint-6").exists()
    assert (tmp_path / "other/checkpoint-4/inner/weights").read_text() == "4"
    (run / "model").mkdir()
    (run / f"model/{COMPLETE}").touch()
    copies.finish()
    assert not list(bucket.glob("checkpoint-*")) and (bucket / f"model/{COMPLETE}").is_file()


def test_a_full_bucket_is_an_error_at_the_end(tmp_path):
    run, bucket = tmp_path / "run", tmp_path / "bucket"
    checkpoint(run, 2)
    bucket.mkdir()
    (bucket / "checkpoint-2").write_text("in the way")
    with pytest.raises(OSError):
        Kept(run, bucket).update()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_job_that_is_killed_goes_on_with_the_same_command(hub, config, tmp_path):
    """By the command: the job trains on this CPU, is taken away after its first checkpoint, and goes on from it."""
    hub.machines.run_jobs = True
    hub.add("model", "tester/base", random_base(tmp_path / "base", writes="la"))
    words = ["steps.max_steps=40", "steps.eval_steps=4"]
    command = [sys.executable, "-m", "training.jobs", config.name, *words, "--yes"]
    given = {"cwd": tmp_path, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT,
             "env": environment(hub, tmp_path / "home", PYTHONPATH=str(ROOT))}
    first = subprocess.Popen(command, **given)
    hub.machines.wait_for_job()
    bucket = hub.machines.bucket(RUNS) / "clips"
    (job,) = hub.machines.jobs
    while not names(bucket):
        assert job.stage == "RUNNING", job.lines
        threading.Event().wait(0.05)
    job.kill()
    said, _ = first.communicate(timeout=60)
    assert first.returncode == 2 and "Job timeout" in said and "a new run" in said, said
    reached = max(int(name.rsplit("-", 1)[1]) for name in names(bucket))
    assert 4 <= reached < 40
    again = subprocess.run(command, timeout=300, **given)
    assert again.returncode == 0, again.stdout
    assert "going on from checkpoint-" in again.stdout and "trying a few batches" not in again.stdout
    run = tmp_path / "runs/clips"
    assert {path.name for path in run.iterdir()} >= {"model", "run.json", "config.yaml", "history.json"}
    assert not list(run.glob("checkpoint-*")) and not list(bucket.glob("checkpoint-*"))
    steps = [entry["step"] for entry in json.loads((run / "history.json").read_text()) if "eval_wer" in entry]
    assert steps[0] == 4 and steps[-1] == 40
    lines: list[str] = []
    assert train(config, words, Options(), say=lines.append) == Path("runs/clips") and "is done already" in lines[0]


@pytest.mark.slow
def test_ctrl_c_in_the_terminal_leaves_the_job(hub, config, tmp_path):
    given = environment(hub, tmp_path / "home", PYTHONPATH=str(ROOT))
    process = subprocess.Popen([sys.executable, "-m", "training.jobs", config.name, "--yes"], cwd=tmp_path, env=given,
                               text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    hub.machines.wait_for_job().says("step 1")
    assert process.stdout is not None
    for line in process.stdout:
        if line == "step 1\n":
            break
    os.kill(process.pid, signal.SIGINT)
    said = process.stdout.read()
    assert process.wait(20) == 130 and "The job goes on" in said and hub.machines.jobs[0].stage == "RUNNING"
