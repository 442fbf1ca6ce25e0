"""The benchmark of larger checkpoints, on a tiny shape: every step is done, and a step that fails is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import shapes
from shared.checkpoint import weight_files
from shared.checkpoint.consistency import check_consistent


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> shapes.Place:
    place = shapes.Place(tmp_path_factory.mktemp("shape"), "float32")
    shapes.make("tiny", torch.float16, place.folder)
    return place


def test_a_merged_checkpoint_is_whole_and_in_the_type_of_its_base(place):
    shapes.merge(place)
    check_consistent(place.folder / "merged")
    sizes = [sum(path.stat().st_size for path in weight_files(place.folder / name)) for name in ("base", "merged")]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)


def test_a_step_says_what_it_took(place):
    row = shapes.measured("ggml", place)
    assert row["peak_mb"] > 100 and row["seconds"] > 0 and (place.folder / "ggml-model.bin").stat().st_size > 10e6


@pytest.mark.slow  # not in a process that others share: it forks
def test_a_step_that_fails_or_dies_is_told(tmp_path):
    nowhere = shapes.Place(tmp_path, "float32")
    assert "FileNotFoundError" in shapes.in_child(shapes.measured, "ggml", nowhere)["failed"]
    assert shapes.in_child(exit, 3) == {"failed": "exit code 3"}


@pytest.mark.slow
def test_every_step_is_measured(tmp_path: Path, capsys):
    out = tmp_path / "rows.json"
    assert shapes.main(["tiny", "--out", str(out)]) == 0, capsys.readouterr().out
    rows = json.loads(out.read_text(encoding="utf-8"))
    assert [row["step"] for row in rows] == list(shapes.STEPS) and all(row["peak_mb"] > 100 for row in rows)
