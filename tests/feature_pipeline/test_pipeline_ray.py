"""The same build on a local Ray cluster of two workers: the same bytes, the label check included."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import corpora
import pytest
from paths import ROOT
from speech import clips

from feature_pipeline.build import build, main
from feature_pipeline.config import Config, LabelCheck, Source, Split
from feature_pipeline.label_check import TranscribeClips
from feature_pipeline.sources.folder import Folder
from feature_pipeline.store import CHECKED, write_table
from shared.errors import UserError


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray", reason="Ray is optional: pip install 'ray[data]'")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False,
             runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}})
    yield ray
    ray.shutdown()


def config(corpus: Path, out: Path, **more) -> Config:
    return Config("small", (Source("folder", Folder(str(corpus), "en"), "mine"),), out=str(out), workers=1,
                  split=Split(test=0.2, validation=0.1), **more)


def files(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*")
            if path.is_file() and ".build" not in path.parts}


@pytest.mark.slow
def test_equal_to_the_local_build(cluster, tmp_path):
    from feature_pipeline.on_ray import run_on_ray

    corpus = corpora.folder(tmp_path / "corpus", n_rows=150)
    here = build(config(corpus, tmp_path / "here"), say=lambda line: None)
    there = build(config(corpus, tmp_path / "there"), run_on_ray, say=lambda line: None)
    assert files(here) == files(there)


@pytest.mark.slow
def test_the_label_check_equals_the_local_one(cluster, tmp_path):
    from feature_pipeline.on_ray import run_on_ray

    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for clip in clips("en"):
        shutil.copy(clip.path, corpus)
        (corpus / clip.path.with_suffix(".txt").name).write_text(clip.text)
    check = LabelCheck(listed=2)
    here = build(config(corpus, tmp_path / "here", label_check=check), say=lambda line: None)
    there = build(config(corpus, tmp_path / "there", label_check=check), run_on_ray, say=lambda line: None)
    assert files(here) == files(there) and "labels.parquet" in files(there)


@pytest.mark.slow
def test_a_stage_that_fails_there_fails_here(cluster, tmp_path):
    from feature_pipeline.on_ray import run_on_ray

    clip = clips("en")[0]
    write_table(tmp_path / "0.parquet", CHECKED, [
        {"id": "a", "text": clip.text, "language": "en", "sample_hash": "x",
         "audio": {"bytes": clip.path.read_bytes(), "path": clip.path.name}}])
    with pytest.raises(UserError, match="nowhere"):
        stage = TranscribeClips(str(tmp_path / "nowhere"), 1, Path("none"))
        list(run_on_ray(stage, [(tmp_path / "0.parquet", tmp_path / "1")]))


def test_without_ray_it_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    corpus = corpora.folder(tmp_path / "corpus", n_rows=5)
    (tmp_path / "c.yaml").write_text(
        f"name: c\nout: {tmp_path / 'out'}\nsources:\n- {{kind: folder, path: {corpus}, language: en}}\n")
    assert main([str(tmp_path / "c.yaml"), "--on", "ray"]) == 2
    assert "pip install 'ray[data]'" in capsys.readouterr().err
