"""The benchmark for a GPU, on the CPU and a tiny shape: its checks pass, its rows are whole, and it stops in time."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, gpu_checks
from benchmarks.gpu_training import training_rows


def quick() -> gpu.Plan:
    return gpu.quick_plan("cpu", gpu.embedded_base_transformers())


def test_checks_pass() -> None:
    checks = list(gpu.check_rows(quick()))
    assert len(checks) == 9 and all(row["passed"] for row in checks)


def test_it_stops_when_the_time_is_up(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    assert gpu.main(["--quick", "--device", "cpu", "--seconds", "0", "--out", str(out)]) == 0
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["machine"]["torch"] == torch.__version__
    assert len(report["rows"]) == 1


def test_both_systems_are_measured() -> None:
    ours, theirs = islice(gpu.shape_rows(quick(), "tiny", (1,), detailed=False), 2)
    assert (ours["system"], theirs["system"]) == ("whisper-spaces torch", "transformers generate")
    for row in (ours, theirs):
        assert row["audio_per_second"] == pytest.approx(30 / (row["encoder_seconds"] + row["decoder_seconds"]))


def test_training_steps_are_measured() -> None:
    cropped, padded = islice(training_rows(("tiny",), 1, "cpu"), 2)
    assert (cropped["frames"], padded["frames"]) == (442, 3000)  # 4 s and 0.4 s of silence, in whole positions
    for row in (cropped, padded):
        assert row["clips_per_second"] == pytest.approx(1 / row["step_seconds"])


def test_a_wrong_result_fails_its_check() -> None:
    wanted = torch.ones(8)
    assert gpu_checks._row("logits", gpu_checks._error(wanted, wanted), 1e-4)["passed"]
    for got in (wanted * 1.01, wanted * float("nan")):
        assert not gpu_checks._row("logits", gpu_checks._error(got, wanted), 1e-4)["passed"]
